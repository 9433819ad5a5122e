"""Where a device has room, what frozen encoders gave lies there, and batches name its rows.

R items that the device holds, n images of a batch.
"""

from collections.abc import Callable
from copy import copy

import torch
from torch import Tensor

from lpdseg.training.feature_store import BLOCK
from lpdseg.training.kept_batches import KeptBatches


class KeptMaker:
    """Completes batches of `batches` on the device, without a copy from it; they are then those of `given`.

    **Arguments:**

    - `given`: batches whose store is filled.
    - `room`: bytes that the device may hold; what matters most comes first.
    - `progress`: called with items uploaded, and of how many.

    **Attributes:**

    - `batches`: the same batches but for what the device holds of them.
    - `held`: the items that it holds, without masks: uint8, R x bytes.
    """

    def __init__(
        self,
        given: KeptBatches,
        device: torch.device,
        room: int,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.batches, self.layout, store = copy(given), given.layout, given.store
        there, number = dict[str, range](), 0
        for part in store.parts:
            count = min(store.held[part], room // self.layout.nbytes - number)
            there[part] = range(number, number + count)
            number += count
        self.batches.there = there
        self.held = torch.empty((number, self.layout.nbytes), dtype=torch.uint8, device=device)
        for part, rows in there.items():
            for first in range(0, len(rows), BLOCK):
                own = rows[first : first + BLOCK]
                block = store.rows(part)[first : first + len(own), : self.layout.nbytes].copy()
                self.held[own.start : own.stop] = torch.from_numpy(block).to(device)
                progress(own.stop, number)

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch as `KeptBatches` describes it."""
        for name in [key.removesuffix(".rows") for key in batch if key.endswith(".rows")]:
            rows, places, sent = (batch.pop(f"{name}.{key}") for key in ("rows", "places", "sent"))
            values = (
                self.held.index_select(0, rows) if len(self.held) else sent.new_empty((len(rows), sent.shape[1]))
            )
            if len(places):
                values.index_copy_(0, places, sent)
            batch |= {f"{name}.{level}": one for level, one in enumerate(self.layout.unpack(values))}
        return batch
