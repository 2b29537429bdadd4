"""The tables of parts that were read last."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Sequence

import pyarrow as pa

from wsol_bench.runs.stored_run import StoredRun

__all__ = ["RecentParts"]

# People look at images that lie near each other, so a few parts serve most requests. An image is in
# a part of each model: those of three networks with ten methods of large maps fit.
_MOST_BYTES = 3 * 2**27
# Parts that are read at a time: meanwhile, a part of large maps takes several times its size.
_AT_A_TIME = 2


class RecentParts:
    """Reads parts of runs, and keeps those that were asked for last; for several threads.

    Args:
        runs: the runs.
    """

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        self._runs = runs
        self._tables: OrderedDict[tuple[int, str, int], pa.Table] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()
        # Who asks for a part that another thread reads waits for that one.
        self._reading: defaultdict[tuple[int, str, int], threading.Lock] = defaultdict(
            threading.Lock
        )
        self._readers = threading.Semaphore(_AT_A_TIME)

    def table(self, run: int, table: str, part: int) -> pa.Table:
        """The table of a part.

        Args:
            run: the position of the run.
            table: ``rows`` or ``maps``.
            part: the number of the part.

        Raises:
            RunError: the file is missing or damaged.
        """
        key = (run, table, part)
        with self._lock:
            reading = self._reading[key]
        with reading:
            found = self._kept(key)
            if found is None:
                with self._readers:
                    found = self._runs[run].arrow(table, parts=[part])
                self._keep(key, found)
        return found

    def _kept(self, key: tuple[int, str, int]) -> pa.Table | None:
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
            return self._tables.get(key)

    def _keep(self, key: tuple[int, str, int], table: pa.Table) -> None:
        """Keep a table, and drop those that were asked for the longest time ago if there are many.

        The table itself stays, however large it is.
        """
        with self._lock:
            self._tables[key] = table
            self._n_bytes += table.nbytes
            while self._n_bytes > _MOST_BYTES and len(self._tables) > 1:
                self._n_bytes -= self._tables.popitem(last=False)[1].nbytes
