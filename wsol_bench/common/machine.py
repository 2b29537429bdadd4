"""The part of a machine that this process may use: cores, and memory that processes share."""

import os
import shutil
from pathlib import Path

__all__ = ["free_shared_memory", "usable_cores"]

_SHARED = Path("/dev/shm")


def usable_cores(root: Path = Path("/")) -> int:
    """The number of CPU cores that this process may use, at least 1.

    A container or a batch system gives fewer than the machine has: by the affinity of the process,
    or by a share of time (cgroups), which is rounded down.

    Args:
        root: the folder that holds the system's folders.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, *(int(share) for share in _shares(root / "sys/fs/cgroup"))))


def _shares(cgroup: Path) -> list[float]:
    """The cores' worth of time that cgroups leave to a container; all of them first."""
    shares = [float(os.cpu_count() or 1)]
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = [word for file in files for word in (cgroup / file).read_text().split()]
            quota, period = float(words[0]), float(words[1])
        except (OSError, ValueError, IndexError):  # no limit ("max"), or no such file
            continue
        if quota > 0 and period > 0:
            shares.append(quota / period)
    return shares


def free_shared_memory() -> int | None:
    """The bytes that are free where processes share memory; None where that has no folder."""
    try:
        return shutil.disk_usage(_SHARED).free
    except OSError:
        return None
