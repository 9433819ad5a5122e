"""What `lpdseg doctor` says of a run of a given size on this machine."""

from typing import TYPE_CHECKING

from lpdseg.cli.machine import Finding
from lpdseg.data.dataset import cache_room, steps_per_epoch
from lpdseg.durations import duration
from lpdseg.insight.demo_time import seconds_per_step
from lpdseg.model.device import pick_device
from lpdseg.settings import Settings, load_settings
from lpdseg.training.device_room import free_memory, makes_pixels
from lpdseg.training.engine import chosen_precision

if TYPE_CHECKING:
    import torch

_GIB = 2**30


def examine_run(patches: int, size: int, epochs: float | None, preset: str | None) -> list[Finding]:
    """Steps, time and memory of a training on so many patches of `size` px; takes a few steps to find out.

    **Raises:** `SettingsError`, `torch.OutOfMemoryError`.
    """
    import torch

    # What an encoder costs does not hang on its weights, which need not be there yet.
    settings = load_settings(
        preset, ["model.weights=none", *([] if epochs is None else [f"train.epochs={epochs}"])]
    )
    train, device = settings.train, pick_device()
    steps = max(1, round(train.epochs * steps_per_epoch(patches, train.batch)))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    each = seconds_per_step(settings, size)
    shown = f"{1000 * each:.0f} ms" if each < 1 else f"{each:.1f} s"
    findings = [
        Finding(
            "run: steps", "ok", f"{steps:,}: {train.epochs:g} epochs of {patches:,} patches, {train.batch} at once"
        ),
        Finding(
            "run: time",
            "ok",
            f"about {duration(steps * each)} on {device}: {shown} a step, "
            f"{train.batch / each:.0f} patches/s, {chosen_precision(train, device)}",
            "without validation, and as long as patches come fast enough",
        ),
        Finding("run: patches", "ok", _patches(patches * 3 * size**2, settings, device)),
    ]
    if device.type == "cuda":
        peak, whole = torch.cuda.max_memory_allocated(device), torch.cuda.mem_get_info(device)[1]
        findings.append(Finding("run: device", "ok", f"{peak / _GIB:.1f} of {whole / _GIB:.0f} GiB for a step"))
    return findings


def _patches(held: int, settings: Settings, device: "torch.device") -> str:
    """What becomes of so many bytes of decoded patches."""
    told, share = f"{held / _GIB:.2f} GiB decoded; ", settings.data.device_share
    if makes_pixels(device):
        room = int(share * free_memory(device))
        beyond = f"those beyond {room / _GIB:.1f} GiB (data.device_share={share:g}) are sent with each batch"
        return told + ("they fit on the device" if held <= room else beyond)
    if not settings.data.cache:
        return f"{told}not kept (data.cache=false)"
    room = cache_room(1)
    beyond = f"those beyond {room / _GIB:.1f} GiB are read again in each epoch"
    return told + ("they fit" if held <= room else beyond)
