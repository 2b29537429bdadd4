"""A Ray cluster: an existing one, or one on this machine for as long as an evaluation lasts."""

import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from wsol_bench.common.machine import usable_cores
from wsol_bench.common.temporary import temporary_folder
from wsol_bench.errors import ConfigError
from wsol_bench.runs.engines import ray_watchdog

__all__ = ["connected"]

# Ray's sockets lie this deep below its temporary folder, and a path of a socket has a limit.
_SOCKET = "/wsol_bench-12345678/session_2000-01-01_00-00-00_000000_1234567/sockets/plasma_store"
_LONGEST_PATH = 103  # the limit of macOS; Linux allows 107


@contextmanager
def connected(address: str | None, n_actors: int | None) -> Iterator[tuple[int, int]]:
    """Connect to Ray or start it; yield the number of its GPUs and of its CPU cores.

    A cluster that this process starts ends with it, even if it is killed.

    Args:
        address: the address of a cluster; None to start Ray on this machine, unless this process is
            connected already.
        n_actors: the number of actors that a started Ray must have room for.

    Raises:
        ConfigError: Ray cannot be used here or at the address.
    """
    import ray

    with ExitStack() as stack:
        if not ray.is_initialized():
            try:
                _require_reachable(address)
                options = {"address": address} if address else stack.enter_context(_local(n_actors))
                stack.callback(ray.shutdown)
                with _own_handler(signal.SIGTERM):
                    ray.init(**options, log_to_driver=False, configure_logging=False)
            except (OSError, RuntimeError, ValueError) as error:  # ConnectionError among these
                where = f"at {address}" if address else "on this machine"
                raise ConfigError(f"Ray {where} cannot be used: {error}") from error
        resources = ray.cluster_resources()
        yield int(resources.get("GPU", 0)), max(1, int(resources.get("CPU", 1)))


@contextmanager
def _own_handler(number: signal.Signals) -> Iterator[None]:
    """Keep this process's handler of a signal; Ray's prints the stack and aborts the process."""
    handler = signal.getsignal(number)
    yield
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and handler is not None:
        signal.signal(number, handler)


@contextmanager
def _local(n_actors: int | None) -> Iterator[dict[str, object]]:
    """The options of a Ray on this machine, with a temporary folder and a watchdog of its own."""
    parent = tempfile.gettempdir()
    if len(parent + _SOCKET) > _LONGEST_PATH:
        parent = "/tmp"
    with temporary_folder(Path(parent)) as folder, _watched(folder):
        yield {
            "address": "local",
            # One actor for each core that this process may use, which may be fewer than there are.
            "num_cpus": max(n_actors or 0, usable_cores()),
            "include_dashboard": False,
            "_temp_dir": str(folder),
        }


@contextmanager
def _watched(folder: Path) -> Iterator[None]:
    """Have the processes of the cluster with this folder end with this process."""
    if not sys.platform.startswith("linux"):  # elsewhere processes are not listed in /proc
        yield
        return
    command = [sys.executable, "-I", "-S", ray_watchdog.__file__, str(folder)]
    # At the end its standard input is closed, which is its sign, and its own end is waited for.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        yield


def _require_reachable(address: str | None) -> None:
    """Raise OSError if nobody listens at ``host:port``; Ray itself would try for many minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and "/" not in host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()
