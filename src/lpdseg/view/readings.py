"""What a network has said of windows, kept: masks under other edits are made again without asking it.

B images, V views of each.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from lpdseg.choices import ImageMerge, Merge
from lpdseg.model.network import Network, Reading


class Readings(Network):
    """A network that answers for images which it has been shown before from memory.

    Edits act on what a network says, and never inside it, so a segmenter around this one recolours at once. Values
    are kept as they were computed: a mask from memory is the same to the bit.

    **Arguments:**

    - `network`: that is asked.
    - `most`: bytes that are kept; the readings that were longest not used go first.
    """

    def __init__(self, network: Network, most: int) -> None:
        super().__init__()
        self._network, self._most = network, most
        self._held: OrderedDict[Hashable, tuple[Reading, int]] = OrderedDict()
        self._bytes, self._about = 0, tuple[Hashable, ...]()

    @contextmanager
    def about(self, images: Sequence[Hashable]) -> Iterator[None]:
        """Names the images that are read until the block ends: B of them, whatever the number of views."""
        self._about = tuple(images)
        try:
            yield
        finally:
            self._about = ()

    def knows(self, image: Hashable) -> bool:
        """Whether it would answer without the network."""
        return image in self._held

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    @property
    def scales(self) -> int:
        """Those of the network."""
        return self._network.scales

    @property
    def stride(self) -> int:
        """That of the network."""
        return self._network.stride

    @property
    def device(self) -> torch.device:
        """That of the network."""
        return self._network.device

    @property
    def has_head(self) -> bool:
        """Whether the network has."""
        return self._network.has_head

    @property
    def has_maps(self) -> bool:
        """Whether the network has."""
        return self._network.has_maps

    @property
    def parts(self) -> tuple[int, ...] | None:
        """Those of the network."""
        return self._network.parts

    @property
    def retired(self) -> frozenset[int]:
        """Those of the network."""
        return self._network.retired

    def read(
        self,
        images: Tensor,
        levels: Collection[int],
        merge: Merge,
        image_merge: ImageMerge,
        dense: bool = False,
    ) -> Reading:
        """See `Network.read`; the network reads those images alone that are not known."""
        names = self._about
        if not names:
            return self._network.read(images, levels, merge, image_merge, dense)
        views = len(images) // len(names)
        new = [b for b, name in enumerate(names) if name not in self._held]
        found = {b: self._held[name][0] for b, name in enumerate(names) if name in self._held}
        if new:
            some = images.unflatten(0, (views, len(names)))[:, new].flatten(0, 1) if found else images
            reading = self._network.read(some, levels, merge, image_merge, dense)
            for place, b in enumerate(new):
                found[b] = _changed(reading, partial(_one, views=views, place=place))
                self._keep(names[b], found[b])
        for name in names:
            if name in self._held:
                self._held.move_to_end(name)
        return _joined([found[b] for b in range(len(names))], images.device)

    def _keep(self, name: Hashable, reading: Reading) -> None:
        size = sum(values.numel() * values.element_size() for values in _values(reading))
        self._held[name] = reading, size
        self._bytes += size
        while self._bytes > self._most and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1][1]


def _values(reading: Reading) -> list[Tensor]:
    dense = [] if reading.dense is None else [reading.dense]
    return [*reading.maps.values(), *reading.logits.values(), *dense]


def _changed(reading: Reading, change: Callable[[Tensor], Tensor]) -> Reading:
    return Reading(
        {level: change(values) for level, values in reading.maps.items()},
        {level: change(values) for level, values in reading.logits.items()},
        None if reading.dense is None else change(reading.dense),
    )


def _one(values: Tensor, views: int, place: int) -> Tensor:
    """The views of one image, in memory of their own."""
    found: Tensor = values.unflatten(0, (views, -1))[:, place].to("cpu", copy=True)
    return found


def _joined(readings: Sequence[Reading], device: torch.device) -> Reading:
    """Readings of single images as of a batch, view by view."""

    def join(parts: list[Tensor]) -> Tensor:
        return torch.stack(parts, 1).flatten(0, 1).to(device)

    first = readings[0]
    return Reading(
        {level: join([one.maps[level] for one in readings]) for level in first.maps},
        {level: join([one.logits[level] for one in readings]) for level in first.logits},
        None if first.dense is None else join([one.dense for one in readings if one.dense is not None]),
    )
