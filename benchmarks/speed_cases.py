"""What the speed benchmark times: one training step and one evaluation, ours and the plain reference's.

B images, C classes, k prototypes per class.
"""

from collections.abc import Callable

import torch
import transformers
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lpdseg.losses.active import active_prototypes
from lpdseg.methods.lpd import prototype_network
from lpdseg.methods.lpd_task import LpdTask
from lpdseg.model.encoders import build_encoder
from lpdseg.model.image_encoders import FrozenTower, ImageEncoder, SelfEncoder
from lpdseg.model.lpd import LPD
from lpdseg.quiet import quiet
from lpdseg.settings import Settings, load_settings
from lpdseg.training.optimiser import build_optimiser
from reference import reference_loss

CLASSES, SIDE, BATCH = 4, 224, 10
CPU = torch.device("cpu")
DONE = 0.99
"""The share of the steps that lie behind: after the warm-up, with every loss."""

_TRANSLATION = (0.5,) * 3


def settings(k: int, *overrides: str) -> Settings:
    """The published recipe with k prototypes per class."""
    return load_settings("paper", [f"model.prototypes={k}", "loss.contrast.fill=white", *overrides])


def network(chosen: Settings, classes: int = CLASSES) -> LPD:
    """The published architecture, MiT-B1 with prototypes, at the same random weights each time."""
    torch.manual_seed(0)
    return prototype_network(build_encoder(chosen.model.encoder), chosen, classes, 0)


def swin_tower(frozen: bool = True, width: int = 96, depths: tuple[int, ...] = (2, 2, 6, 2)) -> FrozenTower:
    """An image encoder of the size of MedCLIP's: Swin-T and Linear 768 → 512, or a smaller one.

    **Arguments:**

    - `frozen`: False leaves its weights asking for gradients that nobody uses, as the published code does.
    """
    torch.manual_seed(1)
    tower = transformers.SwinModel(transformers.SwinConfig(embed_dim=width, depths=list(depths)))
    built = FrozenTower(
        tower, nn.Linear(8 * width, 512, bias=False), 512, 224, {"encoder": "random"}, _TRANSLATION, _TRANSLATION
    )
    return built.requires_grad_(not frozen)


def batch(count: int = BATCH, side: int = SIDE, classes: int = CLASSES) -> dict[str, Tensor]:
    """Noise with the labels of a usual batch: 1.7 classes per image."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.zeros(count, classes)
    for row in range(count):
        labels[row, torch.randperm(classes, generator=generator)[: 1 + (row % 10 < 7)]] = 1
    return {
        "image": torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=generator),
        "labels": labels,
    }


def task(chosen: Settings, judge: str, classes: int = CLASSES) -> LpdTask:
    """LPD's objective; `judge` is swin, tiny (a small swin), self or none (no contrast and no diversity either)."""
    model = network(chosen, classes)
    encoder: ImageEncoder | None = None
    if judge == "swin":
        encoder = swin_tower()
    elif judge == "tiny":
        encoder = swin_tower(width=24, depths=(1, 1, 1, 1))
    elif judge == "self":
        encoder = SelfEncoder(model.encoder)
    torch.manual_seed(3)
    power = chosen.predict.background_power
    return LpdTask(model, chosen.loss, chosen.model.merge, encoder, power, chosen.model.hidden_dim)


def our_step(
    built: LpdTask, chosen: Settings, precision: str, one: dict[str, Tensor], device: torch.device = CPU
) -> Callable[[], Tensor]:
    """One update as the training loop makes it; its batch is on the device."""
    with quiet():
        fabric = Fabric(accelerator=device.type, devices=1, precision=precision)  # type: ignore[arg-type]
    placed = built.to(device, memory_format=torch.channels_last)
    module, optimiser = fabric.setup(placed, build_optimiser(placed, chosen.train))

    def step() -> Tensor:
        parts = module(one, DONE)
        optimiser.zero_grad()
        fabric.backward(parts["loss"])
        optimiser.step()
        return parts["loss"].detach()

    return step


def reference_step(built: LpdTask, chosen: Settings, one: dict[str, Tensor], frozen: bool) -> Callable[[], Tensor]:
    """One update with the obvious loops, from the same parameters; `frozen`: see `swin_tower`."""
    tower = built.image_encoder if frozen else swin_tower(frozen).to(one["image"].device)
    optimiser = build_optimiser(built, chosen.train)
    images, labels = one["image"].float() / 255, one["labels"]

    def step() -> Tensor:
        power = chosen.predict.background_power
        parts = reference_loss(built.model, chosen.loss, images, labels, tower, built.contrast_head, power)
        optimiser.zero_grad()
        parts["loss"].backward()
        optimiser.step()
        return parts["loss"].detach()

    return step


def published_step(k: int, judge: str, precision: str, *changes: str) -> Callable[[], Tensor]:
    """`our_step` with the published recipe, or with changes to it."""
    off = ["loss.contrast.weight=0", "loss.diversity.weight=0"] if judge == "none" else []
    chosen = settings(k, *off, *changes)
    return our_step(task(chosen, judge), chosen, precision, batch())


def published_reference(k: int, count: int = BATCH, frozen: bool = True) -> Callable[[], Tensor]:
    """`reference_step` with the published recipe."""
    chosen = settings(k)
    return reference_step(task(chosen, "swin"), chosen, batch(count), frozen)


@torch.no_grad()
def active_pairs(model: LPD, one: dict[str, Tensor]) -> int:
    """How many (image, prototype) pairs the contrast encodes twice."""
    maps = model(one["image"].float() / 255)[model.scales - 1].maps
    bank = model.bank
    return int(active_prototypes(maps.mean((2, 3)), one["labels"], bank.class_of, bank.slots, bank.real).sum())


@torch.no_grad()
def forward_work(network: nn.Module) -> float:
    """GFLOP of the products and convolutions of one image of 224 px."""
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 3, SIDE, SIDE))
    return counter.get_total_flops() / 1e9
