import pytest
import torch

from lpdseg.errors import SettingsError
from lpdseg.model.device import pick_device


def test_the_cpu_is_always_there() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device().type in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize("name", ["cpu:3", "meta", "xpu", "vulkan", "hpu", "gpu", "cuda:x", "", "cuda:99", "mps:1"])
def test_other_devices_are_an_error_in_one_sentence(name: str) -> None:
    with pytest.raises(SettingsError, match="device") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


def test_float32_on_a_gpu_is_not_rounded_to_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    torch.backends.cuda.matmul.allow_tf32 = True
    pick_device("cuda")
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
