"""A small data set, and batches of it that come with what a frozen encoder gave."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import pink_and_blue
from lpdseg.data.composites import Composites
from lpdseg.data.dataset import GlobalBatches, TrainingPatches
from lpdseg.data.manifest import Manifest, PatchRecord
from lpdseg.data.variants import Variants
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoders import build_encoder
from lpdseg.tissue import TissueClasses
from lpdseg.training.feature_room import open_store
from lpdseg.training.kept_batches import KeptBatches, Layout, parts_of

CLASSES = TissueClasses(("pink", "blue"))
COUNT = 36  # more than one block
KEY = "0" * 32


def draw_data(folder: Path) -> Manifest:
    """Patches of 32 px, pink, blue or both, with masks; some to validate on. A corner of each is glass."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(COUNT + 2):
        pixels, mask = pink_and_blue.draw(number, rng)
        pixels[:14, :14] = 255
        path, mask_path = folder / f"p{number}.png", folder / f"mask_{number}.png"
        Image.fromarray(pixels).save(path)
        Image.fromarray(mask).save(mask_path)
        labels = (int((mask == 0).any()), int((mask == 1).any()))
        split = "train" if number < COUNT else "valid"
        records.append(PatchRecord(path, labels, split, f"{split}{number}", mask_path, 0.5))
    return Manifest(CLASSES, tuple(records), folder)


def opened(
    data: Manifest, folder: Path, *, bound: int = 10**9, adapter: bool = False, glass: bool = True, seed: int = 0
) -> tuple[KeptBatches, Encoder, Any]:
    """Batches of a filled store, their encoder, and what keeps the store open."""
    patches = TrainingPatches(data.split("train"), seed, jitter=0.1)
    variants = Variants(patches, Composites(patches, 2), 2, epochs=3)
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", stages=3, tune="none").eval()
    shapes = encoder.encode(torch.zeros(1, 3, 32, 32))
    layout = Layout(tuple(tuple(one.shape[1:]) for one in shapes))
    store_of = open_store(folder, KEY, parts_of(variants, layout, glass), bound)
    store = store_of.__enter__()
    batches = KeptBatches(variants, layout, store, pixels=False, adapter=adapter, glass=glass)
    for block in store.todo():
        with ThreadPoolExecutor(2) as pool:
            images, masks = batches.made(block, pool)
        rows = layout.pack(encoder.encode(images.float() / 255))
        store.write(block, rows if masks is None else np.hstack([rows, masks.flatten(1).numpy()]))
    return batches, encoder, store_of


def draws(batches: KeptBatches, **share: int) -> list[Any]:
    return list(GlobalBatches(len(batches), 6, 0, 0, 9, **share))
