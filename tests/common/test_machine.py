"""The cores and the shared memory that a process may use."""

import os
from pathlib import Path

import pytest

from wsol_bench.common import machine
from wsol_bench.common.machine import free_shared_memory, usable_cores


def system(folder: Path, files: dict[str, str]) -> Path:
    """A folder that holds files of cgroups."""
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def old(quota: int) -> dict[str, str]:
    return {"cpu/cpu.cfs_quota_us": f"{quota}\n", "cpu/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "400000 100000\n"}, 4),
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 64),
        ({"cpu.max": ""}, 64),
        ({"cpu.max": "nonsense 3\n"}, 64),
        ({"cpu.max": "100000 0\n"}, 64),
        (old(-1), 64),
        (old(300000), 3),
    ],
)
def test_a_container_leaves_the_cores_of_its_quota(monkeypatch, tmp_path, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    assert usable_cores(system(tmp_path, files)) == expected


def test_the_affinity_of_the_process_counts(tmp_path):
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)


def test_shared_memory_is_that_of_its_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_SHARED", tmp_path)
    status = os.statvfs(tmp_path)
    assert free_shared_memory() == pytest.approx(status.f_bavail * status.f_frsize, rel=0.01)
    monkeypatch.setattr(machine, "_SHARED", tmp_path / "none")
    assert free_shared_memory() is None
