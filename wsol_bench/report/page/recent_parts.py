"""The tables of parts that were read last."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

import pyarrow as pa

from wsol_bench.runs.stored_run import StoredRun

__all__ = ["RecentParts"]

# People look at images that lie near each other, so a few parts serve most requests.
_MOST_BYTES = 2**28


class RecentParts:
    """Reads parts of runs, and keeps those that were asked for last; for several threads.

    Args:
        runs: the runs.
    """

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        self._runs = runs
        self._tables: OrderedDict[tuple[int, str, int], pa.Table] = OrderedDict()
        self._lock = threading.Lock()

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
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
        found = self._runs[run].arrow(table, parts=[part])
        with self._lock:
            self._tables[key] = found
            while sum(kept.nbytes for kept in self._tables.values()) > _MOST_BYTES:
                self._tables.popitem(last=False)
        return found
