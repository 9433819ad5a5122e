"""Where there is no GPU: work under which everything fails for which the host would wait for one.

Tensors of the CPU can be read at once, so it is asked at each operation whether it would read one of a device, or
copy to it from memory that is not pinned.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_stack
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import lpdseg
from lpdseg.evaluation import counts, sampled
from lpdseg.losses import active, diversity
from lpdseg.training import optimiser

_SOURCE = str(Path(lpdseg.__file__).parent)
_READS = {
    "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "nonzero_numpy", "bincount", "histc", "masked_select",
    "_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive",
}  # fmt: skip
"""Operations whose result, or its shape, is read by the host."""

_COPIES = {"cpu", "numpy", "tolist", "item", "tensor", "as_tensor", "from_numpy", "pin_memory"}
"""Calls of which operations show nothing on the CPU: from a device, or to it from memory that is not pinned."""


class WaitedError(AssertionError):
    """The host would wait here."""


class _Watch:
    """Counts what is waited for, and fails where that is more than is allowed.

    **Arguments:**

    - `beside`: functions of the project in which, and in all that they call, there may be any number.
    - `allowed`: how often, by the function of the project that waits.
    """

    def __init__(self, beside: Collection[str], allowed: Mapping[str, int]) -> None:
        self.beside, self.allowed, self.seen, self.harmless = beside, Counter(allowed), Counter[str](), 0

    def waits(self, name: str) -> None:
        if self.harmless:
            return
        frames = [frame for frame, _ in walk_stack(None) if str(frame.f_code.co_filename).startswith(_SOURCE)]
        if any(frame.f_code.co_name in self.beside for frame in frames):
            return
        function, file = frames[0].f_code.co_name, Path(frames[0].f_code.co_filename).name
        self.seen[function] += 1
        if self.seen[function] > self.allowed[function]:
            raise WaitedError(f"{name} in {function}, {file}:{frames[0].f_lineno}")


class _Operations(TorchDispatchMode):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name.strip("_").startswith(("index", "unsafe_index")) and any(
            isinstance(one, Tensor) and one.dtype in {torch.bool, torch.uint8}
            for one in (args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ())
        )
        counts = name == "repeat_interleave" and (kwargs or {}).get("output_size") is None
        if name in _READS or masks or counts:
            self.watch.waits(f"{name} by a mask" if masks else name)
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in _COPIES or (name == "to" and "cpu" in (*args[1:], *kwargs.values())):
            self.watch.waits(name)
        # On the CPU it looks whether indices are in range, which it cannot on a GPU.
        harmless = name == "one_hot" and (len(args) > 1 or "num_classes" in kwargs)
        self.watch.harmless += harmless
        try:
            return func(*args, **kwargs)
        finally:
            self.watch.harmless -= harmless


@contextmanager
def never_waiting(beside: Collection[str] = (), **allowed: int) -> Iterator[Counter[str]]:
    """What is done inside may wait as often as `allowed` by each function of the project; gives how often it did.

    Not asked are functions that are named in `beside`, and what they call.

    **Raises:** `WaitedError`, with the operation and the line of the project from which it comes.
    """
    watch = _Watch(beside, allowed)
    with _Operations(watch), _Calls(watch):
        yield watch.seen


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the project do on the CPU what it does where the host runs ahead of the device."""
    ahead: Callable[[torch.device], bool] = lambda _: True  # noqa: E731
    for module in (active, counts, diversity, optimiser, sampled):
        monkeypatch.setattr(module, "runs_ahead", ahead)
