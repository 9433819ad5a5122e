"""How many CPU cores this process may use, which on clusters and in containers are fewer than the machine has."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def allowed_cores(root: Path = Path("/")) -> int:
    """At least 1: the least of

    - the cores that the process is bound to (affinity, as by `taskset` and most schedulers);
    - its share of processor time (the CPU quota of control groups, version 1 or 2, its own and those above it, as
      by `docker --cpus` and Kubernetes), rounded down, so that no thread waits for time that is used up;
    - `SLURM_CPUS_PER_TASK`, which a cluster may give without binding processes.

    `root` is where `/proc` and `/sys` are.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [float(bound), *_quotas(root)]
    with suppress(KeyError, ValueError):
        limits.append(float(int(os.environ["SLURM_CPUS_PER_TASK"])))
    return max(1, int(min(limits)))


def _quotas(root: Path) -> Iterator[float]:
    """Processor time per time of each control group that the process is in, where it is limited."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    groups = root / "sys/fs/cgroup"
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        # In a container the path may be the machine's, of which only the end, or nothing, is to be seen.
        inside = Path(path.lstrip("/"))
        for place in (inside, *inside.parents):
            if number == "0":
                yield from _quota(groups / place / "cpu.max")
            elif "cpu" in controllers.split(","):
                for mount in (controllers, "cpu"):
                    folder = groups / mount / place
                    yield from _quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")


def _quota(*files: Path) -> Iterator[float]:
    """`cpu.max` holds `QUOTA PERIOD`, the older files one number each; no limit is `max` or a number below 0."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = " ".join(file.read_text(encoding="utf-8") for file in files).split()
        if quota != "max" and int(quota) > 0:
            yield int(quota) / int(period)
