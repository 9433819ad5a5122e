"""From a run's folder to a segmenter: architecture, classes, thresholds and weights in one place."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lpdseg.checkpoint import has_checkpoint, read_shapes, read_state, read_tensors, tensors_file
from lpdseg.choices import Backend
from lpdseg.data.corrected import LearntFrom
from lpdseg.data.records import content_digest
from lpdseg.errors import CheckpointError, SettingsError, WeightsError
from lpdseg.methods.table import METHODS
from lpdseg.model.configuration import check_affordable, understood
from lpdseg.model.device import bfloat16_pays, pick_device
from lpdseg.model.encoder import Encoder
from lpdseg.model.network import Network
from lpdseg.segmenting.backends import backend_device, with_backend
from lpdseg.segmenting.edited import edited
from lpdseg.segmenting.edits import Edits, from_record
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.settings import Settings, change_section, parse_settings
from lpdseg.sharing.folder import check, is_bundle
from lpdseg.sharing.hub import local
from lpdseg.tissue import TissueClasses
from lpdseg.version import __version__

_REAL = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
"""Kinds of numbers that may stand for one another."""

_TRIED = 64
"""Side of the images that a network is tried on."""


@dataclass(frozen=True)
class TrainedOn:
    """The patches that a run has learnt from, as far as it knows.

    - `mpp`: microns per pixel; None where the data did not say.
    - `patch`: (H, W) in pixels; None in runs that were made before it was kept.
    """

    mpp: float | None
    patch: tuple[int, int] | None


def trained_on(run: Path, checkpoint: str = "best") -> TrainedOn:
    """What a run's patches were like.

    **Raises:** `CheckpointError` where there is no such checkpoint.
    """
    state = read_state(run, checkpoint)
    mpp, patch = state.get("mpp"), state.get("patch")
    return TrainedOn(None if mpp is None else float(mpp), None if patch is None else (int(patch[0]), int(patch[1])))


def about(run: Path, checkpoint: str = "best", segmenter: Segmenter | None = None) -> str:
    """What a run's model was trained on and what its masks are for: the sentence that every file of a slide holds.

    `segmenter` tells of edits under which it is used.

    **Raises:** `CheckpointError` where there is no such checkpoint.
    """
    state = read_state(run, checkpoint)
    settings, mpp = state["settings"], state.get("mpp")
    edits = None if segmenter is None else segmenter.edits_sha256
    chosen = None if segmenter is None else segmenter.calibration.offsets_data
    scale = "" if mpp is None else f" at {mpp:g} µm/px"
    return (
        f"For research only, not for diagnosis. lpdseg {__version__}, method {settings.get('method', 'lpd')}, "
        f"settings {settings.get('name', 'custom')}, weights {weights_digest(run, checkpoint)[:12]}"
        f"{'' if edits is None else f', edits {edits[:12]}'}"
        f"{'' if chosen is None else f', offsets chosen on data {chosen[:12]}'}, trained on "
        f"data {str(state['data'])[:12]}{scale} with the classes {', '.join(state['classes']['names'])}."
    )


def model_tensors(tensors: dict[str, Any], part: str = "model") -> dict[str, Any]:
    """One network's share of a training checkpoint's tensors: by default the one that prediction needs."""
    start = f"{part}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def load_segmenter(
    run: Path,
    checkpoint: str = "best",
    device: str = "auto",
    backend: Backend = "torch",
    edits: str | Path | Edits | None = None,
    as_trained: bool = False,
    weights: str | None = None,
    **changes: Any,
) -> Segmenter:
    """Reads a trained run.

    **Arguments:**

    - `run`: the folder that `train` wrote, a bundle, or one of the hub as `hf:OWNER/NAME`.
    - `checkpoint`: `best` or `last`.
    - `device`: see `pick_device`.
    - `backend`: what computes the network, see `with_backend`.
    - `edits`: what an expert says of its prototypes, see `lpdseg.segmenting.edits`; by default those that a bundle
      comes with, unless `as_trained`.
    - `weights`: the digest that its weights must have, see `weights_digest`.
    - `changes`: prediction settings to use instead of the run's own, for instance `refine="none"`.

    **Raises:** `CheckpointError` where the folder holds no such checkpoint or it is damaged; for other backends
    than PyTorch as `with_backend`; for edits as `lpdseg.segmenting.edited.edited`.
    """
    device, run = backend_device(backend, device), local(run)
    if is_bundle(run):
        check(run)
    state = read_state(run, checkpoint)
    found = content_digest(tensors_file(run, state, "weights")) if weights or backend != "torch" else ""
    if weights is not None and weights != found:
        raise CheckpointError(f"{run} has other weights by now than when this began; start again")
    settings = parse_settings(state["settings"], source=str(run))
    classes = TissueClasses.from_dict(state["classes"])
    model = described_network(run, state)()
    _fill(model, model_tensors(read_tensors(run, state, "weights")), run, device)
    calibration = Calibration(
        torch.tensor(state["thresholds"]),
        torch.tensor(state["offsets"]),
        temperature=state.get("temperature") or 1.0,  # earlier runs, and those without validation masks, have none
    )
    segmenter = make_segmenter(model, classes, settings, calibration)
    _try(segmenter, run)
    segmenter.learnt = LearntFrom.from_dict(state.get("corrected"))
    segmenter = segmenter.with_settings(**changes) if changes else segmenter
    if edits is None and not as_trained:
        edits = edits_within(run, checkpoint)
    segmenter = edited(segmenter, edits)
    return with_backend(segmenter, backend, run, found) if backend != "torch" else segmenter


def described_network(run: Path, state: dict[str, Any], part: str = "model") -> Callable[[], Network]:
    """What builds the network that a checkpoint describes, with random values, once it is known that its weights
    are of such a network: its file says how large each tensor is.

    **Arguments:**

    - `part`: `model`, which predicts, or `classifier`, the first of two stages.

    **Raises:** `CheckpointError` where the file is missing or damaged, or of another network.
    """
    settings, classes = parse_settings(state["settings"], source=str(run)), len(state["classes"]["names"])
    method, held = METHODS[settings.method], model_tensors(read_shapes(run, state), part)

    def build() -> Network:
        encoder = Encoder.from_config(state["encoder"])
        if part == "model" or method.first_stage is None:
            return method.network(encoder, settings, classes)
        return method.first_stage(encoder, settings, classes, held["bank.weight"][1])

    try:
        with understood(f"the checkpoint in {run}", CheckpointError):
            network: Any = check_affordable(build, f"the checkpoint in {run}", sum(map(math.prod, held.values())))
    except (WeightsError, SettingsError) as error:
        raise CheckpointError(f"{run} describes no network that can be used: {error}") from error
    described = {name: tuple(values.shape) for name, values in network.state_dict().items()}
    odd = next((name for name in sorted({*described, *held}) if described.get(name) != held.get(name)), None)
    if odd is not None:
        sizes = (" x ".join(map(str, one[odd])) or "1" if odd in one else "not there" for one in (held, described))
        raise CheckpointError(
            f"the weights in {run} do not fit its settings: {odd} is {next(sizes)}, and the settings say "
            f"{next(sizes)}"
        )
    return build


def load_prototypes(run: Path, checkpoint: str = "best", device: str = "auto") -> Segmenter:
    """As `load_segmenter`, around the network that holds the run's prototypes.

    It is another one only for a method of two stages, of which the first has them: it segments by its maps, with
    thresholds of 0.5, for nothing was chosen for it.

    **Raises:** `CheckpointError` as `load_segmenter`.
    """
    segmenter = load_segmenter(run, checkpoint, device, as_trained=True)
    state = read_state(run, checkpoint)
    settings = parse_settings(state["settings"], source=str(run))
    if METHODS[settings.method].first_stage is None:
        return segmenter
    model, classes = described_network(run, state, "classifier")(), segmenter.classes
    _fill(model, model_tensors(read_tensors(run, state, "weights"), "classifier"), run, device)
    settings = settings.model_copy(
        update={"predict": change_section(settings.predict, {"source": "maps"}, "predict")}
    )
    return make_segmenter(model, classes, settings, Calibration.plain(len(classes)))


def other_runs(places: Sequence[Path], channels: Sequence[str], run: Path | None) -> list[Path]:
    """Other runs to compare masks with: each place is a run, or a folder that holds some, such as a benchmark's.

    Of such a folder `run` itself, and runs that have other channels, by name, are passed over.

    **Raises:** `CheckpointError` where a place is no run and holds none that fits, or is for other classes.
    """
    found = list[Path]()
    for place in map(local, places):
        alone = has_checkpoint(place, "best")
        inside = [place] if alone else sorted(path.parents[1] for path in place.rglob("checkpoints/best.json"))
        others = {path: read_state(path, "best")["classes"] for path in inside if not _is_same(path, run)}
        fitting = [
            path for path, told in others.items() if TissueClasses.from_dict(told).channel_names == tuple(channels)
        ]
        if not fitting:
            names = ", ".join(channels)
            raise CheckpointError(f"{place} is no other run for the classes {names}, and holds none; name one")
        found += fitting
    return found


def load_others(places: Sequence[Path], than: Segmenter, run: Path | None, device: str = "auto") -> list[Segmenter]:
    """What `other_runs` finds. **Raises:** as that, and `load_segmenter`."""
    return [load_segmenter(path, device=device) for path in other_runs(places, than.classes.channel_names, run)]


def _is_same(path: Path, run: Path | None) -> bool:
    return run is not None and path.resolve() == run.resolve()


def _fill(model: Network, weights: dict[str, Tensor], run: Path, device: str) -> None:
    """Puts trained weights into a network, and it where it shall run."""
    for name, values in model.state_dict().items():
        kinds = {weights[name].dtype, values.dtype}
        if len(kinds) > 1 and not kinds <= _REAL:
            held, own = (str(one).removeprefix("torch.") for one in (weights[name].dtype, values.dtype))
            raise CheckpointError(f"the weights in {run} cannot be used: {name} is {held}, and must be {own}")
    odd = next((name for name, values in weights.items() if not values.isfinite().all()), None)
    if odd is not None:
        raise CheckpointError(f"the weights in {run} hold values that are no numbers in {odd}; train again")
    model.load_state_dict(weights)
    placed: Any = model
    placed.to(pick_device(device), memory_format=torch.channels_last).eval()


def _try(segmenter: Segmenter, run: Path) -> None:
    """Refuses a network of finite values that computes others: its masks would mean nothing."""
    images = torch.randint(256, (3, 3, _TRIED, _TRIED), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images[1], images[2] = 0, 255
    found = segmenter.observe(images)
    if not all(values.isfinite().all() for values in (found.probabilities, *found.activations.values())):
        raise CheckpointError(f"the network in {run} computes values that are no numbers; train again")


def weights_digest(run: Path, checkpoint: str = "best") -> str:
    """SHA-256 of a checkpoint's weights file, as hex digits: tells which model made a result.

    **Raises:** `CheckpointError` where there is no such checkpoint, `DataError` where its file is gone.
    """
    return content_digest(tensors_file(run, read_state(run, checkpoint), "weights"))


def edits_within(run: Path, checkpoint: str = "best") -> Edits | None:
    """The edits that a bundle comes with; None for runs, which have none of their own.

    **Raises:** `CheckpointError` where there is no such checkpoint; `DataError` for edits that are none.
    """
    told = read_state(run, checkpoint).get("edits")
    return None if told is None else from_record(told, str(run))


def make_segmenter(
    model: Network, classes: TissueClasses, settings: Settings, calibration: Calibration
) -> Segmenter:
    """A segmenter around a model in memory."""
    device = model.device
    wanted = settings.train.precision
    return Segmenter(
        model,
        classes,
        settings.predict,
        calibration,
        settings.loss.scale_weights,
        settings.model.merge,
        autocast=wanted == "bf16-mixed" or (wanted == "auto" and bfloat16_pays(device)),
    )
