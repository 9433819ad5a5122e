"""Dense CRF: time per image, and agreement with sums over all pairs of pixels and with pydensecrf where installed.

python benchmarks/crf.py [--image REGION.png] [--exact]

Crops of 224 x 224 are cut from the image, or made up; their labels are guessed from smoothed colour and noise.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lpdseg.maps.crf import dense_crf

LABELS, SIDE, CROPS = 5, 224, 8


def noise(channels: int, cell: int, generator: torch.Generator) -> Float[Tensor, "C H W"]:
    coarse = torch.randn(1, channels, SIDE // cell + 2, SIDE // cell + 2, generator=generator)
    return F.interpolate(coarse, (SIDE, SIDE), mode="bilinear")[0]


def made_up_crops(generator: torch.Generator) -> UInt8[Tensor, "B 3 H W"]:
    colours = torch.tensor([[230, 190, 210], [170, 90, 160], [100, 60, 140], [240, 235, 240], [200, 130, 180]])
    crops = []
    for _ in range(CROPS):
        region = noise(len(colours), 14, generator).argmax(0)
        texture = 12 * noise(1, 3, generator) + 8 * torch.randn(3, SIDE, SIDE, generator=generator)
        crops.append((colours[region].permute(2, 0, 1) + texture).clamp(0, 255).byte())
    return torch.stack(crops)


def crops_of(path: Path, generator: torch.Generator) -> UInt8[Tensor, "B 3 H W"]:
    """Crops with something in them: those that vary most of forty drawn at random."""
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    drawn = []
    for _ in range(5 * CROPS):
        y, x = (int(torch.randint(0, size - SIDE, (), generator=generator)) for size in pixels.shape[1:])
        drawn.append(pixels[:, y : y + SIDE, x : x + SIDE])
    return torch.stack(sorted(drawn, key=lambda crop: -float(crop.float().std()))[:CROPS])


def guess(crop: UInt8[Tensor, "3 H W"], generator: torch.Generator) -> Float[Tensor, "L H W"]:
    """Negative log probabilities such as a network's coarse maps give: blurred, and wrong in places."""
    coarse = F.avg_pool2d(crop[None].float(), 16)
    blurred = F.interpolate(coarse, (SIDE, SIDE), mode="bilinear")[0]
    standard = (blurred - blurred.mean((1, 2), keepdim=True)) / blurred.std((1, 2), keepdim=True)
    taste = torch.randn(LABELS, 3, generator=generator)
    score = noise(LABELS, 16, generator) + 0.7 * torch.einsum("lc,chw->lhw", taste, standard)
    return -(2.5 * score).log_softmax(0)


def exact(unary: Float[Tensor, "L H W"], crop: UInt8[Tensor, "3 H W"]) -> Float[Tensor, "L H W"]:
    """The same inference with every pair of pixels, a few thousand pairs at a time."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    place = torch.stack([y, x], -1).reshape(-1, 2).float()
    features = torch.cat([place / 10, crop.reshape(3, -1).T.float() / 20], 1)
    half = features.square().sum(1) / 2

    def bilateral(values: Float[Tensor, "N L"]) -> Float[Tensor, "N L"]:
        rows = []
        for part in torch.arange(len(features)).split(16):
            power = torch.addmm(-half, features[part], features.T).sub_(half[part, None])
            rows.append(power.clamp_(-50, 0).exp_() @ values)
        return torch.cat(rows)

    squares = (torch.arange(SIDE)[:, None] - torch.arange(SIDE)).square()
    axis = F.threshold(torch.exp(-squares / (2 * 15**2)), 1e-15, 0.0)

    def gaussian(values: Float[Tensor, "N L"]) -> Float[Tensor, "N L"]:
        return torch.einsum("yh,xw,hwl->yxl", axis, axis, values.view(SIDE, SIDE, -1)).flatten(0, 1)

    kernels = [(30, gaussian), (50, bilateral)]
    scales = [apply(torch.ones(SIDE * SIDE, 1)).rsqrt() for _, apply in kernels]
    score = -unary.reshape(LABELS, -1).T
    q = score.softmax(1)
    for _ in range(5):
        q = F.threshold(q, 1e-15, 0.0)
        message = sum(c * scale * apply(scale * q) for (c, apply), scale in zip(kernels, scales, strict=True))
        q = (score + message).softmax(1)
    return q.T.reshape(unary.shape)


def pydensecrf(unary: Float[Tensor, "L H W"], crop: UInt8[Tensor, "3 H W"]) -> Float[Tensor, "L H W"]:
    from pydensecrf.densecrf import DenseCRF2D

    crf = DenseCRF2D(SIDE, SIDE, LABELS)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(LABELS, -1).numpy()))
    crf.addPairwiseGaussian(sxy=15, compat=30)
    crf.addPairwiseBilateral(sxy=10, srgb=20, rgbim=np.ascontiguousarray(crop.permute(1, 2, 0).numpy()), compat=50)
    return torch.from_numpy(np.array(crf.inference(5))).reshape(unary.shape)


def timed(call: Callable[[], object], repeats: int = 3) -> float:
    """The best of a few runs, in milliseconds."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return min(times)


def agreement(a: Float[Tensor, "B L H W"], b: Float[Tensor, "B L H W"]) -> str:
    same = (a.argmax(1) == b.argmax(1)).float().mean()
    return f"{100 * same:.2f} % of pixels equal, mean |ΔQ| {(a - b).abs().mean():.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="an H&E region, larger than 224 x 224")
    parser.add_argument("--exact", action="store_true", help="compare with all pairs of pixels (minutes)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = crops_of(options.image, generator) if options.image else made_up_crops(generator)
    unary = torch.stack([guess(crop, generator) for crop in images])

    result = Table("what", "one core", title=f"{SIDE} x {SIDE}, {LABELS} labels, 5 iterations")
    alone = [timed(lambda i=i: dense_crf(unary[i : i + 1], images[i : i + 1])) for i in range(CROPS)]
    result.add_row("one image", f"{np.mean(alone):.0f} ms ({min(alone):.0f} to {max(alone):.0f})")
    result.add_row(f"batch of {CROPS}, per image", f"{timed(lambda: dense_crf(unary, images)) / CROPS:.0f} ms")
    ours = dense_crf(unary, images)
    result.add_row("changed by the CRF", agreement(ours, (-unary).softmax(1)))
    try:
        theirs = torch.stack([pydensecrf(u, crop) for u, crop in zip(unary, images, strict=True)])
    except ImportError:
        theirs = None
    if theirs is not None:
        spent = [timed(lambda i=i: pydensecrf(unary[i], images[i])) for i in range(CROPS)]
        result.add_row("pydensecrf, one image", f"{np.mean(spent):.0f} ms ({min(spent):.0f} to {max(spent):.0f})")
        result.add_row("ours and pydensecrf", agreement(ours, theirs))
    if options.exact:
        pairs = torch.stack([exact(u, crop) for u, crop in zip(unary[:3], images[:3], strict=True)])
        result.add_row("ours and all pairs, 3 images", agreement(ours[:3], pairs))
        if theirs is not None:
            result.add_row("pydensecrf and all pairs, 3 images", agreement(theirs[:3], pairs))
    Console(width=110).print(result)


if __name__ == "__main__":
    main()
