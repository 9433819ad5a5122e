"""Arrays onto a device and back, while it computes what came before."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


class Transfers:
    """Copies between this machine's memory and a device.

    With CUDA they go through pinned memory on streams of their own, and nobody waits but whoever asks for a result;
    elsewhere they are plain copies.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._streams: tuple[torch.cuda.Stream, torch.cuda.Stream] | None = None
        if device.type == "cuda":
            self._streams = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def upload(self, array: np.ndarray) -> Tensor:
        """The array there; what is computed from now on finds it."""
        here = torch.from_numpy(array)
        if self._streams is None:
            return here.to(self.device)
        up, computing = self._streams[0], torch.cuda.current_stream(self.device)
        with torch.cuda.stream(up):
            there = here.pin_memory().to(self.device, non_blocking=True)
        computing.wait_stream(up)
        there.record_stream(computing)  # its memory is free once that has used it
        return there

    def download(self, tensors: Sequence[Tensor]) -> Callable[[], list[np.ndarray]]:
        """Begins to bring tensors back; what it gives waits for them, and for nothing that is begun later."""
        if self._streams is None:
            arrays = [tensor.cpu().numpy() for tensor in tensors]
            return lambda: arrays
        down = self._streams[1]
        down.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(down):
            hosts = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
            for host, tensor in zip(hosts, tensors, strict=True):
                host.copy_(tensor, non_blocking=True)
                tensor.record_stream(down)
            arrived = torch.cuda.Event(blocking=True)  # which sleeps: the cores have files to write
            arrived.record(down)

        def fetch() -> list[np.ndarray]:
            arrived.synchronize()
            return [host.numpy() for host in hosts]

        return fetch
