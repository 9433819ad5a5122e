"""What converters have in common: taking tensors out of a network by name until nothing unknown is left."""

import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lpdseg.errors import WeightsError

KNOWN = (
    "ResNets with basic or bottleneck blocks (timm, torchvision), and ViTs with a class token and learned "
    "positions (timm, DINO, DINOv2), with or without layer scale, register tokens and SwiGLU"
)
"""What can be converted, for messages."""

_CHOSEN = ("teacher", "encoder_q", "base_encoder")
"""Which of the two networks of self-supervision is the one to use: of DINO and DINOv2, and of both MoCos."""

_HEADS = re.compile(
    r"(head|head_drop|fc|classifier|last_linear|fc_norm|projection_head|projector|prototypes|dino_head|ibot_head)\."
    r"|decoder|mask_token"
)
"""What stands behind the features of a network: classifiers, and what self-supervision needed."""


@dataclass(frozen=True)
class Converted:
    """A network as `transformers` holds it.

    **Attributes:**

    - `model_type`, `options`: of its configuration; `tensors` by their names on the hub.
    - `left_out`: tensors of the source that are no part of it.
    - `notes`: what had to be assumed or changed in form.
    - `side`: pixels per side of the images that the weights are made for.
    - `timm`: name and options by which timm builds the same network, and `used` the tensors that it takes.
    """

    model_type: str
    options: dict[str, Any]
    tensors: dict[str, Tensor]
    left_out: list[str]
    notes: list[str]
    side: int
    timm: tuple[str, dict[str, Any]]
    used: dict[str, Tensor]


def has(tensors: dict[str, Tensor], anchor: str) -> bool:
    """Whether a checkpoint holds a network with this tensor, whatever stands before its name."""
    return any(name == anchor or name.endswith(f".{anchor}") for name in tensors)


class Parts:
    """The tensors of one network inside a checkpoint, each of which is taken once."""

    def __init__(self, tensors: dict[str, Tensor], anchor: str, source: str) -> None:
        """`anchor` is the name of a tensor that only such networks have; what stands before it is taken off.

        **Raises:** `WeightsError` where several networks have it and it is not known which to use.
        """
        before = sorted({name.removesuffix(anchor) for name in tensors if f".{name}".endswith(f".{anchor}")})
        chosen = before if len(before) == 1 else [one for one in before if any(name in one for name in _CHOSEN)]
        if len(chosen) != 1:
            names = ", ".join(prefix or "one without a name" for prefix in before)
            raise WeightsError(
                f"{source} holds several networks ({names}); save the one to convert in its own file"
            )
        prefix = chosen[0]
        self.source = source
        self.left = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        self.others = sorted(name for name in tensors if not name.startswith(prefix))

    def take(self, name: str, *shape: int | None) -> Tensor:
        """A tensor that must be there; None in `shape` fits any size."""
        found = self.left.pop(name, None)
        if found is None:
            raise WeightsError(f"{self.source} lacks {name}; what can be converted: {KNOWN}")
        if shape and (
            len(shape) != found.dim() or any(a not in (None, b) for a, b in zip(shape, found.shape, strict=True))
        ):
            wanted = " x ".join("any" if side is None else str(side) for side in shape)
            held = " x ".join(map(str, found.shape))
            raise WeightsError(f"{self.source}: {name} is {held}, not {wanted}; what can be converted: {KNOWN}")
        return found

    def maybe(self, name: str, instead: Tensor) -> Tensor:
        """A tensor that stands for `instead` where it is missing."""
        return self.take(name, *instead.shape) if name in self.left else instead

    def look(self, name: str) -> Tensor:
        """A tensor that must be there, and stays."""
        found = self.left[name] = self.take(name)
        return found

    def layers(self, pattern: str, first: int = 0) -> int:
        """How many numbers, from `first` on, a pattern with one group finds among the names."""
        numbers = {int(found[1]) for name in self.left if (found := re.match(pattern, name))}
        missing = sorted(set(range(first, max(numbers, default=first) + 1)) - numbers)
        if missing:
            name = pattern.replace(r"(\d+)", str(missing[0])).replace("\\", "").rstrip(".")
            raise WeightsError(f"{self.source} lacks all of {name}; it is incomplete: get it again")
        return len(numbers)

    def finish(self) -> list[str]:
        """The names of what is left, if all of it may be.

        **Raises:** `WeightsError` where a part would be lost that the features need.
        """
        unknown = sorted(name for name in self.left if not _HEADS.match(name))
        if unknown:
            raise WeightsError(
                f"{self.source} has {len(unknown)} tensors that are not understood (the first is {unknown[0]}), so "
                f"that its features would be others; what can be converted: {KNOWN}"
            )
        return sorted([*self.left, *self.others])
