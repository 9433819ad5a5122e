import os
from pathlib import Path

import pytest
import torch

from lpdseg.cores import allowed_cores
from lpdseg.model.device import pick_device


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V1 = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16),  # no control groups at all
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "350000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 16),
        # The group's own file, and a narrower one above it.
        ({"proc/self/cgroup": "0::/a/job\n", "sys/fs/cgroup/a/job/cpu.max": "400000 100000\n"}, 4),
        (
            {
                "proc/self/cgroup": "0::/a/job\n",
                "sys/fs/cgroup/a/job/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/cpu.max": "300000 100000\n",
            },
            3,
        ),
        # The machine's path, of which the container sees nothing.
        ({"proc/self/cgroup": "0::/kube/pod1\n", "sys/fs/cgroup/cpu.max": "500000 100000\n"}, 5),
        *(
            (
                {
                    "proc/self/cgroup": V1,
                    f"sys/fs/cgroup/{mount}/cpu.cfs_quota_us": f"{quota}\n",
                    f"sys/fs/cgroup/{mount}/cpu.cfs_period_us": "100000\n",
                },
                expected,
            )
            for mount, quota, expected in (
                ("cpu,cpuacct/docker/abc", 250000, 2), ("cpu", 600000, 6), ("cpu,cpuacct", -1, 16),
                ("memory", 1, 16),
            )
        ),
        # Files that say nothing that can be understood limit nothing.
        ({"proc/self/cgroup": "nonsense\n", "sys/fs/cgroup/cpu.max": "2 1\n"}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 0\n"}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "\n"}, 16),
    ],
)  # fmt: skip
def test_quotas_of_control_groups(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert allowed_cores(tree(tmp_path, files)) == expected


def test_the_least_of_binding_and_the_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert allowed_cores(tmp_path) == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3}, raising=False)
    assert allowed_cores(tmp_path) == 2
    for odd in ("", "many", "0"):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", odd)
        assert allowed_cores(tmp_path) == (1 if odd == "0" else 2)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK")
    assert allowed_cores(tmp_path) == 1


def test_pytorch_takes_no_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    try:
        torch.set_num_threads(8)
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
        pick_device("cpu")
        assert torch.get_num_threads() == 3
        torch.set_num_threads(2)  # a choice of the program around us
        pick_device("cpu")
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "5")  # a choice of the user
        torch.set_num_threads(5)
        pick_device("cpu")
        assert torch.get_num_threads() == 5
    finally:
        torch.set_num_threads(before)


def test_nothing_else_counts_the_cores() -> None:
    """One place knows about quotas; whoever asks the machine does not."""
    import lpdseg

    root = Path(lpdseg.__file__).parent
    asking = {
        path.name
        for path in root.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in ("cpu_count", "sched_getaffinity"))
    }
    assert asking == {"cores.py", "record.py"}  # the record tells how many the machine has as well
