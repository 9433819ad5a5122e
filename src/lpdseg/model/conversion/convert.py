"""From weights as they are published to a folder that `transformers` reads, with a proof beside it."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lpdseg.alone import alone_making
from lpdseg.errors import OutputError, WeightsError
from lpdseg.files import NAME_IT, check_name, replacing_folder, write_json
from lpdseg.model.cards import CARDS, Normalisation
from lpdseg.model.conversion import resnet, vit
from lpdseg.model.conversion.parts import KNOWN, Converted, has
from lpdseg.model.conversion.proof import prove
from lpdseg.model.conversion.reading import Source, read_source
from lpdseg.model.tensor_files import save_tensors
from lpdseg.model.weights_folder import RECORD, check_normalisation, hub_id_of
from lpdseg.quiet import library
from lpdseg.version import __version__

_TOLD_BY_TENSORS = re.compile(
    r"num_classes|global_pool|img_size|patch_size|embed_dim|depth|num_heads|mlp_ratio|init_values|reg_tokens|layers"
    r"|no_embed_class|class_token|dynamic_img_(size|pad)|qkv_bias|in_chans|weight_init|fix_init|\w*drop\w*|mlp_layer"
)
"""Options of timm's networks that the tensors tell as well, or that change no feature."""


@dataclass(frozen=True)
class Conversion:
    """What was written: `told` for people, and `record`, which lies beside the weights."""

    folder: Path
    told: list[str]
    record: dict[str, Any]


def convert(
    source: str, out: Path, *, heads: int | None = None, mpp: float | None = None, of: str | None = None
) -> Conversion:
    """Writes the folder `out` for the weights at a path or of a hub id.

    **Arguments:**

    - `heads`: attention heads of a ViT, where its configuration does not say and its width does not tell.
    - `mpp`: microns per pixel of the images that it learned from, for the record.
    - `of`: the hub id that the weights are of, for the record.

    **Raises:** `OutputError` where `out` exists, or another process writes it; `WeightsError` for what cannot be
    read or converted.
    """
    check_name(out, NAME_IT)
    with alone_making(out):
        if out.exists():
            raise OutputError(f"{out} exists; name a new folder")
        found = read_source(source)
        of = of or hub_id_of(str(found.folder))
        hub = found.hub or ({"id": of} if of != str(found.folder) else {})
        record: dict[str, Any] = {"source": source, "hub": hub, "mpp": mpp, "sha256": found.sha256()}
        with replacing_folder(out) as folder:
            if _is_whole(found, source):
                record |= _as_it_is(found, folder, source)
            else:
                record |= _as_transformers(found, folder, source, heads, hub.get("id", ""))
            write_json(folder / RECORD, record | {"by": f"lpdseg {__version__}"})
    return Conversion(out, _told(record), record)


def _as_transformers(found: Source, folder: Path, source: str, heads: int | None, hub_id: str) -> dict[str, Any]:
    architecture, options, facts = _of_timm(found.config, source)
    converted = _converted(found.tensors, source, options | facts | ({"num_heads": heads} if heads else {}))
    config = library("transformers").AutoConfig.for_model(converted.model_type, **converted.options)
    network: Any = library("transformers").MODEL_FOR_BACKBONE_MAPPING[type(config)]
    config.architectures = [network.__name__]
    config.save_pretrained(folder)
    _save(converted.tensors, folder)
    notes = list(converted.notes)
    told: Normalisation | None = facts.get("normalisation")
    if told is None and hub_id in CARDS:
        told = CARDS[hub_id]
        notes.append(f"mean and sd are those of the card of {hub_id}")
    if told is None:
        notes.append("the source does not say its mean and sd: ImageNet's are taken")
    else:
        check_normalisation(found.folder / "config.json", *told, None)
        values = {"image_mean": told[0], "image_std": told[1], "rescale_factor": 1 / 255}
        write_json(folder / "preprocessor_config.json", values)
    return {
        "model_type": converted.model_type,
        "left_out": converted.left_out,
        "notes": notes,
    } | prove(converted, folder, (architecture, options) if architecture else None, source)


def _converted(tensors: dict[str, Tensor], source: str, told: dict[str, Any]) -> Converted:
    if has(tensors, vit.ANCHOR):
        return vit.convert_vit(tensors, source, told)
    if has(tensors, resnet.ANCHOR):
        return resnet.convert_resnet(tensors, source)
    some = ", ".join(sorted(tensors)[:2])
    raise WeightsError(f"{source} holds a network that is not known ({some}, …); what can be converted: {KNOWN}")


def _of_timm(config: dict[str, Any], source: str) -> tuple[str | None, dict[str, Any], dict[str, Any]]:
    """What a configuration of timm says: the architecture, its options, and facts of the weights.

    Older ones hold the facts at their top.
    """
    options, facts = config.get("model_args") or {}, config.get("pretrained_cfg", config)
    if not isinstance(options, dict) or not isinstance(facts, dict):
        raise WeightsError(
            f"{source}: its config.json is none of timm; get it again, or name the file of weights alone"
        )
    odd = [key for key, value in options.items() if not _TOLD_BY_TENSORS.fullmatch(key) and value]
    if odd:
        raise WeightsError(
            f"{source}: its config.json sets {odd[0]} = {options[odd[0]]}, which is not understood; what can be "
            f"converted: {KNOWN}"
        )
    size = options.get("img_size", facts.get("input_size"))
    known: dict[str, Any] = {"img_size": size[-1] if isinstance(size, list) and size else size}
    if "mean" in facts and "std" in facts:
        try:
            known["normalisation"] = tuple(tuple(map(float, facts[key])) for key in ("mean", "std"))
        except (TypeError, ValueError, OverflowError) as error:
            raise WeightsError(f"{source}: mean and std of its config.json are no numbers; correct them") from error
    return config.get("architecture"), options, known


def _as_it_is(found: Source, folder: Path, source: str) -> dict[str, Any]:
    """The same network with its tensors as safetensors.

    **Raises:** `WeightsError` where it holds safetensors already.
    """
    if found.files[0].suffix == ".safetensors":
        raise WeightsError(f"{source} is a folder of transformers with safetensors already; use it as it is")
    for name in ("config.json", "preprocessor_config.json"):
        if (found.folder / name).is_file():
            shutil.copyfile(found.folder / name, folder / name)
    _save(found.tensors, folder)
    again = load_file(folder / "model.safetensors")
    if again.keys() != found.tensors.keys() or not all(
        map(torch.equal, again.values(), (found.tensors[k] for k in again))
    ):
        raise WeightsError(f"{folder} does not hold what was written there; look after the disk")
    return {
        "model_type": found.config.get("model_type", "medclip"),
        "parameters": sum(values.numel() for values in again.values()),
        "left_out": [],
        "notes": [],
        "proof": {"how": "read again, and every tensor is equal bit by bit"},
    }


def _is_whole(found: Source, source: str) -> bool:
    """Whether tensors have the names by which they are read already: those of transformers, or of MedCLIP."""
    kind = found.config.get("model_type")
    if kind is None or has(found.tensors, vit.ANCHOR) or has(found.tensors, resnet.ANCHOR):
        return "vision_model.projection_head.weight" in found.tensors
    if kind not in library("transformers").CONFIG_MAPPING:
        raise WeightsError(
            f"{source} is a network of the type {kind!r}, which needs code of its own that is not run; what can be "
            f"converted: {KNOWN}"
        )
    return True


def _save(tensors: dict[str, Tensor], folder: Path) -> None:
    """Tensors that share memory, which the format refuses, get their own."""
    own, taken = {}, set[int]()
    for name, values in tensors.items():
        memory = values.untyped_storage()
        alone = values.is_contiguous() and memory.nbytes() == values.nbytes and memory.data_ptr() not in taken
        own[name] = values if alone else values.clone(memory_format=torch.contiguous_format)
        taken.add(memory.data_ptr())
    try:
        save_tensors(own, folder / "model.safetensors", {"format": "pt"})
    except SafetensorError as error:  # the system's own words, such as that no space is left
        raise OutputError(
            f"cannot write the weights into {folder.parent}: {error}; choose another folder"
        ) from error


def _told(record: dict[str, Any]) -> list[str]:
    lines = [f"{record['model_type']}, {record['parameters'] / 1e6:.1f} million parameters"]
    if record["left_out"]:
        some = ", ".join(record["left_out"][:3]) + (", …" if len(record["left_out"]) > 3 else "")
        lines.append(f"left out: {len(record['left_out'])} tensors behind the features ({some})")
    proof = record["proof"]
    lines += [*(f"note: {note}" for note in record["notes"]), f"proof: {proof['how']}"]
    if "first" in proof:
        first = ", ".join(f"{value:.5g}" for value in proof["first"])
        lines.append(f"features of {proof['image']}: {first}, …; mean {proof['mean']:.5g}, sd {proof['sd']:.5g}")
    return lines
