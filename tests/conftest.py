"""What every test runs under: annotated shapes are checked, one thread, no deadline for drawn examples."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import pink_and_blue

if TYPE_CHECKING:
    from drawn_slide import DrawnSource
    from lpdseg.model.lpd import LPD
    from lpdseg.segmenting.segmenter import Segmenter

install_import_hook(
    [
        "lpdseg.data.augment",
        "lpdseg.data.check",
        "lpdseg.data.check_masks",
        "lpdseg.data.check_problems",
        "lpdseg.data.check_seen",
        "lpdseg.data.composites",
        "lpdseg.data.dataset",
        "lpdseg.data.mask_values",
        "lpdseg.data.patches",
        "lpdseg.data.synthetic.dataset",
        "lpdseg.data.synthetic.layout",
        "lpdseg.data.synthetic.noise",
        "lpdseg.data.synthetic.painting",
        "lpdseg.data.synthetic.patch",
        "lpdseg.data.synthetic.stain",
        "lpdseg.data.synthetic.subtypes",
        "lpdseg.evaluation",
        "lpdseg.export",
        "lpdseg.insight.atlas",
        "lpdseg.insight.atlas_page",
        "lpdseg.insight.atlas_patches",
        "lpdseg.insight.atlas_regions",
        "lpdseg.insight.atlas_sheet",
        "lpdseg.insight.coverage",
        "lpdseg.insight.evidence",
        "lpdseg.insight.information",
        "lpdseg.insight.paper",
        "lpdseg.insight.pictures",
        "lpdseg.insight.prototypes",
        "lpdseg.insight.ranks",
        "lpdseg.insight.sample",
        "lpdseg.insight.subtypes",
        "lpdseg.insight.survey",
        "lpdseg.insight.usage",
        "lpdseg.losses",
        "lpdseg.maps",
        "lpdseg.methods",
        "lpdseg.model",
        "lpdseg.pictures",
        "lpdseg.segmenting",
        "lpdseg.slides",
        "lpdseg.training.optimiser",
        "lpdseg.training.regions",
        "lpdseg.workflows",
    ],
    "beartype.beartype",
)
torch.set_num_threads(1)
hypothesis.settings.register_profile("tests", deadline=None, max_examples=30)
hypothesis.settings.load_profile("tests")


class PooledBackbone(nn.Module):
    """Maximum pooling and a 1 x 1 convolution per scale: cheap, and it commutes with flips."""

    def __init__(self, widths: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.strides = strides
        self.config = SimpleNamespace(model_type="resnet")
        self.mixers = nn.ModuleList(nn.Conv2d(3, width, 1) for width in widths)

    def forward(self, pixels: Tensor) -> SimpleNamespace:
        pooled = [F.max_pool2d(pixels, stride) for stride in self.strides]
        return SimpleNamespace(feature_maps=[mix(part) for mix, part in zip(self.mixers, pooled, strict=True)])


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What frozen encoders give goes to a folder of the tests, not into the home of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LPDSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def tiny_lpd() -> Callable[..., "LPD"]:
    """A builder of small LPD models: `counts` prototypes per class, one scale per width."""

    def build(
        counts: tuple[int, ...] = (2, 3),
        widths: tuple[int, ...] = (4, 5, 6),
        strides: tuple[int, ...] = (4, 8, 16),
        seed: int = 0,
        head: int = 0,
    ) -> "LPD":
        from lpdseg.model.encoder import Encoder
        from lpdseg.model.lpd import LPD

        torch.manual_seed(seed)
        encoder = Encoder(PooledBackbone(widths, strides), widths, mean=(0.5,) * 3, std=(0.25,) * 3)
        return LPD(encoder, counts, width=8, hidden=7, temperature=0.07, head=head)

    return build


SMALL = (
    "model.encoder=resnet18", "model.stages=3", "model.prototypes=2", "model.prototype_dim=16",
    "model.hidden_dim=8", "loss.scale_weights=[0,0.1,1]", "predict.fusion=[0,0.4,0.6]", "predict.refine=none",
    "train.batch=4", "train.epochs=2", "train.validations=2", "train.precision=32-true", "train.log_every=1",
    "train.lr=1e-3", "train.lr_warmup=0", "data.stain_jitter=0", "predict.background=none",
    "loss.contrast.weight=0.1", "loss.diversity.weight=0.5", "loss.composite.weight=0",
    "loss.morphology.encoder=stain",
)  # fmt: skip
"""All losses of the method, and nothing of the recommended recipe that would slow a test down."""


@pytest.fixture(scope="session")
def small_settings() -> tuple[str, ...]:
    """Overrides that make a training of seconds."""
    return SMALL


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pink and blue patches of 32 px in the layout of BCSS-WSSS: 12 to train on, 4 with masks; only to read."""
    folder = tmp_path_factory.mktemp("patches")
    rng = np.random.default_rng(0)
    for name in ("train", "valid/img", "valid/mask"):
        (folder / name).mkdir(parents=True)
    for number in range(16):
        pixels, mask = pink_and_blue.draw(number, rng)
        image = Image.fromarray(pixels)
        label = f"{int((mask == 0).any())}{int((mask == 1).any())}"
        if number < 12:
            image.save(folder / "train" / f"t{number % 3}_{number}[{label}].png")
        else:
            image.save(folder / "valid" / "img" / f"v{number % 2}_{number}.png")
            Image.fromarray(mask).save(folder / "valid" / "mask" / f"v{number % 2}_{number}.png")
    return folder


@pytest.fixture(scope="session")
def small_run(small_data: Path, small_settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on `small_data`; only to read."""
    from lpdseg.api import train

    run = tmp_path_factory.mktemp("runs") / "small"
    train(small_data, run, classes="pink,blue", overrides=small_settings, device="cpu")
    return run


@pytest.fixture(scope="session")
def prototype_run(
    small_data: Path, small_settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished run on `small_data` whose masks are made of prototypes, two of each class; only to read."""
    from lpdseg.api import train

    run = tmp_path_factory.mktemp("runs") / "prototypes"
    taught = ("loss.composite.weight=1", "model.head_width=8", "predict.gate=none", "predict.offsets=false")
    taught += ("loss.morphology.weight=0",)  # which would retire what these few patches have no use for
    train(small_data, run, classes="pink,blue", overrides=(*small_settings, *taught), device="cpu")
    return run


@pytest.fixture
def drawn() -> Callable[..., "DrawnSource"]:
    """A builder of slides that need no file: size, and the options of `DrawnView`."""
    from drawn_slide import DrawnSource, DrawnView

    def build(width: int, height: int, seed: int = 0, damaged: int | None = None) -> "DrawnSource":
        return DrawnSource(DrawnView((width, height), seed, damaged))

    return build


@pytest.fixture
def segmenter(tiny_lpd: Callable[..., "LPD"]) -> "Segmenter":
    """A small network with random weights; two classes and background."""
    from lpdseg.sections import PredictSettings
    from lpdseg.segmenting.segmenter import Calibration, Segmenter
    from lpdseg.tissue import TissueClasses

    settings = PredictSettings(fusion=(0.0, 0.4, 0.6), refine="none", background="glass")
    classes = TissueClasses(("a", "b"), background=2)
    return Segmenter(tiny_lpd().eval(), classes, settings, Calibration.plain(2), (0.0, 0.1, 1.0), "mean")
