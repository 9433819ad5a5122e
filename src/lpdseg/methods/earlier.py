"""What a training takes over from an earlier run, and what an expert has said of its prototypes since.

N training patches, C classes, k prototypes per class (at most), K in all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lpdseg.model.head import PrototypeHead
from lpdseg.model.lpd import LPD
from lpdseg.model.morphologies import Morphologies


@dataclass(frozen=True, repr=False)
class Earlier:
    """An earlier run of the same method and classes.

    - `run`: its folder, for errors; `weights`: its task's tensors by name.
    - `patches`: of each training patch its place among those of the earlier run, and the prototype for whose sake
      it has another label since, −1 for none; None where the data are others.
    - `counts_for`: K; the class that each prototype counts for since, −1 for none; empty where nothing was said.
    - `stands_in`: K; the prototype that each was merged into, or itself.
    - `places`: the new indices of prototypes that were moved, once `edit_prototypes` has found them.
    """

    run: Path
    weights: Mapping[str, Tensor]
    patches: Sequence[tuple[int, int]] | None
    counts_for: Sequence[int] = ()
    stands_in: Sequence[int] = ()
    places: dict[int, int] = field(default_factory=dict)


@torch.no_grad()
def edit_prototypes(model: LPD, morphologies: Morphologies | None, earlier: Earlier) -> None:
    """Makes the edits part of the network: what was moved becomes a prototype of its new class, what was hidden,
    merged into another or moved away retires.

    A moved one needs a retired prototype of the new class to take the place of. Where that has none, its tissue is
    left to the prototypes that are there.
    """
    head = model.head
    if not earlier.counts_for or not isinstance(head, PrototypeHead):
        return
    trained = model.bank.class_of.tolist()
    live = head.live.tolist()
    pairs = list(zip(earlier.counts_for, earlier.stands_in, strict=True))
    gone = [k for k, (c, into) in enumerate(pairs) if live[k] and (c != trained[k] or into != k)]
    places = earlier.places
    for k in gone:
        head.live[k] = False
        c, into = pairs[k]
        free = [r for r, of in enumerate(trained) if of == c and not live[r] and r not in places.values()]
        if c < 0 or into != k or not free:
            continue
        places[k] = free[0]
        head.live[free[0]] = True
        for bank in (model.bank, model.free):
            if bank is not None:
                bank.weight[free[0]] = bank.weight[k]
        if morphologies is not None:
            for values in (morphologies.means, morphologies.weights, morphologies.counts):
                values[free[0]] = values[k]
    if morphologies is not None:
        morphologies.weights[gone] = 0
        morphologies.counts[gone] = 0


@torch.no_grad()
def edit_shares(
    morphologies: Morphologies,
    model: LPD,
    earlier: Earlier,
    classes: Sequence[int],
) -> None:
    """The responsibilities of this training's patches: those of the earlier one, without what has retired.

    A patch that has another label for a prototype's sake belongs to what became of that.

    **Arguments:**

    - `classes`: of each patch the class that it shows alone, −1 where it shows others as well.
    """
    assert earlier.patches is not None
    old, gone = morphologies.shares, model.retired
    of = model.bank.class_of.tolist()
    first = [of.index(c) for c in range(len(model.bank.counts))]
    into = list(earlier.stands_in) or list(range(len(of)))
    keeps = old.new_zeros(len(first), old.shape[1], old.shape[1])
    for k, c in enumerate(of):
        if into[k] not in gone and of[into[k]] == c:
            keeps[c, k - first[c], into[k] - first[c]] = 1
    shares = old.new_zeros(len(classes), old.shape[1])
    for n, (c, (row, moved)) in enumerate(zip(classes, earlier.patches, strict=True)):
        if c >= 0 and moved >= 0:
            place = earlier.places.get(into[moved])
            if place is not None and of[place] == c:
                shares[n, place - first[c]] = 1
        elif c >= 0 and row >= 0:
            shares[n] = old[row] @ keeps[c]
    morphologies.shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-12)
