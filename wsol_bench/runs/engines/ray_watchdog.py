"""The program that ends a Ray cluster whose driver was killed; it runs in a process of its own.

Ray's own processes end with the driver, except for two agents, which can wait forever for each
other's end. ``python ray_watchdog.py FOLDER`` remembers every process of Ray whose command line
names the cluster's temporary folder, and what these start. When its standard input ends, as it does
however the driver ends, it kills those that are left, and deletes the folder. It imports no other
module of this package, so that it starts at once and stays small.
"""

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["Process", "is_of_ray", "main", "of_cluster", "processes"]

# How often the processes are listed, and how long those that were killed are waited for.
_EVERY_S = 2.0
_PATIENCE_S = 5.0


class Process(NamedTuple):
    """A process as the system lists it.

    Attributes:
        pid: its number.
        parent: the number of its parent.
        start: when it started, in ticks; a later process of the same number has another.
        is_alive: whether it has not ended yet.
        command: its command line.
    """

    pid: int
    parent: int
    start: int
    is_alive: bool
    command: bytes


def processes() -> list[Process]:
    """All processes, as Linux lists them in /proc."""
    listed = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # pid (name) state parent ...; the name may hold anything, and the 22nd is the start
            words = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            command = (folder / "cmdline").read_bytes()
            is_alive = words[0] not in {b"Z", b"X"}
            listed.append(
                Process(int(folder.name), int(words[1]), int(words[19]), is_alive, command)
            )
    return listed


def of_cluster(folder: str, all_processes: list[Process]) -> set[tuple[int, int]]:
    """Number and start of each process of a cluster, and of what they started.

    Args:
        folder: the temporary folder of the cluster, which is this cluster's alone.
        all_processes: the processes of the machine.
    """
    own = os.getpid()
    named = {
        one.pid
        for one in all_processes
        if folder.encode() in one.command and is_of_ray(one.command) and one.pid != own
    }
    while more := {
        one.pid for one in all_processes if one.parent in named and one.pid not in {*named, own}
    }:
        named |= more
    return {(one.pid, one.start) for one in all_processes if one.pid in named}


def is_of_ray(command: bytes) -> bool:
    """Return whether a command line runs a program of Ray, not one that only reads its files."""
    program = [word for word in command.split(b"\0") if not word.startswith(b"-")][:2]
    return any(b"/ray/" in word for word in program)


def main(folder: str) -> None:
    """Wait until standard input ends, then end the cluster; see the module's text."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # these are for the driver
    remembered: set[tuple[int, int]] = set()
    while True:
        all_processes = processes()
        alive = {(one.pid, one.start) for one in all_processes if one.is_alive}
        remembered = (remembered & alive) | (of_cluster(folder, all_processes) & alive)
        if select.select([sys.stdin], [], [], _EVERY_S)[0]:
            break
    give_up = time.monotonic() + _PATIENCE_S
    while remembered and time.monotonic() < give_up:
        for pid, _ in remembered:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        all_processes = processes()
        alive = {(one.pid, one.start) for one in all_processes if one.is_alive}
        remembered = (remembered | of_cluster(folder, all_processes)) & alive
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
