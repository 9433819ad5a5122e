"""ResNets as timm and torchvision name them → `resnet` of `transformers`, whose strides are in the same places."""

import torch
from torch import Tensor

from lpdseg.model.conversion.parts import Converted, Parts

ANCHOR = "layer1.0.conv1.weight"
"""A tensor that all ResNets have."""


def convert_resnet(tensors: dict[str, Tensor], source: str) -> Converted:
    """Kind of block, depths and widths by the tensors.

    **Raises:** `WeightsError` for other stems, and for grouped, wide or squeezing blocks.
    """
    parts = Parts(tensors, ANCHOR, source)
    whole, out = dict(parts.left), {}
    last = 3 if "layer1.0.conv3.weight" in whole else 2

    def layer(convolution: str, norm: str, ours: str, *shape: int | None) -> int:
        """A convolution with its batch norm; returns its width."""
        weight = out[f"{ours}.convolution.weight"] = parts.take(convolution, *shape)
        for name in ("weight", "bias", "running_mean", "running_var"):
            out[f"{ours}.normalization.{name}"] = parts.take(f"{norm}.{name}", len(weight))
        counted = parts.maybe(f"{norm}.num_batches_tracked", torch.tensor(0))
        out[f"{ours}.normalization.num_batches_tracked"] = counted
        return len(weight)

    stem = width = layer("conv1.weight", "bn1", "embedder.embedder", None, 3, 7, 7)
    depths: list[int] = []
    widths: list[int] = []
    for stage in range(parts.layers(r"layer(\d+)\.", first=1)):
        depths.append(parts.layers(rf"layer{stage + 1}\.(\d+)\."))
        widths.append(len(parts.look(f"layer{stage + 1}.0.conv{last}.weight")))
        inner = widths[-1] // 4 if last == 3 else widths[-1]
        for block in range(depths[-1]):
            theirs, ours = f"layer{stage + 1}.{block}", f"encoder.stages.{stage}.layers.{block}"
            if block == 0 and (stage > 0 or width != widths[-1]):
                shape = widths[-1], width, 1, 1
                layer(f"{theirs}.downsample.0.weight", f"{theirs}.downsample.1", f"{ours}.shortcut", *shape)
            shapes = [(inner, width, 3, 3), (inner, inner, 3, 3)]
            if last == 3:
                shapes = [(inner, width, 1, 1), (inner, inner, 3, 3), (widths[-1], inner, 1, 1)]
            for number, shape in enumerate(shapes):
                names = f"{theirs}.conv{number + 1}.weight", f"{theirs}.bn{number + 1}"
                layer(*names, f"{ours}.layer.{number}", *shape)
            width = widths[-1]
    left_out = parts.finish()
    options = {
        "embedding_size": stem,
        "hidden_sizes": widths,
        "depths": depths,
        "layer_type": "bottleneck" if last == 3 else "basic",
        "downsample_in_bottleneck": False,  # the stride is in the 3 x 3, as in torchvision
    }
    channels = [width // 4 if last == 3 else width for width in widths]
    timm = "resnet50" if last == 3 else "resnet18", {"layers": depths, "channels": channels}
    used = {name: value for name, value in whole.items() if name not in left_out}
    return Converted("resnet", options, out, left_out, [], 224, timm, used)
