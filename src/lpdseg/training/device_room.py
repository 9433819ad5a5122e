"""How much of a device's memory holds what would otherwise be sent to it again and again."""

import torch
from torch import Tensor


def makes_pixels(device: torch.device) -> bool:
    """Whether batches are made on the device, whose pixels may differ from those made here by 1 of 255."""
    return device.type == "cuda"


def free_memory(device: torch.device) -> int:
    """Bytes of a CUDA device that nobody has taken."""
    return torch.cuda.mem_get_info(device)[0]


class DeviceRoom:
    """What `data.device_share` leaves: training comes first, then validation.

    **Attributes:**

    - `there`: whether the device holds anything.
    - `left`: bytes, of those that are free now.
    """

    def __init__(self, device: torch.device, share: float) -> None:
        self.device, self.there = device, makes_pixels(device)
        self.left = int(share * free_memory(device)) if self.there else 0

    def place(self, *tensors: Tensor) -> list[Tensor]:
        """The same on the device, if there is room for all of them; otherwise in memory from which it is sent."""
        nbytes = sum(tensor.nbytes for tensor in tensors)
        if nbytes <= self.left:
            self.left -= nbytes
            return [tensor.to(self.device) for tensor in tensors]
        return [tensor.pin_memory() if self.device.type == "cuda" else tensor for tensor in tensors]
