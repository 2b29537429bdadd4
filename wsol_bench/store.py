"""The run folder: the only place that writes results, and the only one that reads them.

<folder>/manifest.json          the resolved experiment and all else that decides its numbers; times
<folder>/config.yaml            the resolved experiment
<folder>/classes.parquet        wnid, words and ILSVRC2012_ID of the data set's classes
<folder>/{images,rows,curves,maps,costs}/    one Parquet part a shard, written whole or not at all
<folder>/tables/                what is derived from the above
"""

import json
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from wsol_bench.errors import RunError
from wsol_bench.evaluate import Tables
from wsol_bench.files import locked, write_atomically

__all__ = ["RunFolder", "differences", "environment", "listed"]

# What a number depends on besides the experiment; a run is made by one of each.
_PACKAGES = ("wsol-bench", "torch", "torchvision", "numpy", "numba", "pillow")
_LOCK = ".lock"
_TEXT, _INT, _REAL = pa.string(), pa.int64(), pa.float64()
# The tables of a part in the order in which they are written: the images say that it is done. Every
# part has all columns, with lines or without, so that any reader takes a folder for one table.
_TABLES = {
    "maps": pa.schema(
        dict.fromkeys(("model", "method", "layer", "image_id"), _TEXT)
        | {"rank": _INT, "scale": _REAL, "height": _INT, "width": _INT, "map": pa.binary()}
    ),
    "curves": pa.schema(
        dict.fromkeys(("model", "method", "layer", "image_id"), _TEXT)
        | dict.fromkeys(("hits", "foreground", "background"), pa.binary())
    ),
    "costs": pa.schema(
        dict.fromkeys(("model", "method", "layer"), _TEXT)
        | dict.fromkeys(("n_images", "forward", "backward", "head"), _INT)
        | {"seconds": _REAL, "reason": _TEXT}
    ),
    "rows": pa.schema(
        dict.fromkeys(("model", "method", "layer", "protocol", "protocol_hash", "image_id"), _TEXT)
        | {"rank": _INT, "class": _TEXT}
        | dict.fromkeys(("score", "x0", "y0", "x1", "y1", "iou"), _REAL)
        | dict.fromkeys(("peak_x", "peak_y", "energy"), _REAL)
        | dict.fromkeys(("insertion", "deletion", "masked_score"), _REAL)
        | {"status": _TEXT}
    ),
    "images": pa.schema(
        dict.fromkeys(("model", "image_id", "path"), _TEXT)
        | {"height": _INT, "width": _INT, "label": _TEXT, "blacklisted": pa.bool_()}
        | {"n_label_boxes": _INT, "boxes": pa.list_(_REAL)}
        | {"masks": pa.list_(_TEXT), "ignore": _TEXT, "held_out": pa.bool_()}
        | {"status": _TEXT, "reason": _TEXT, "label_rank": _INT, "label_score": _REAL}
    ),
}
# All that a run may hold.
_FOLDERS = (*_TABLES, "tables", "figures", "predictions", "rescored")
_SHOWN = 8


class RunFolder:
    """A run on disk.

    Args:
        path: of the folder; it must hold a run (``RunFolder.writing`` starts one).

    Raises:
        RunError: the folder holds no run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "manifest.json").is_file():
            raise RunError(f"{path} is no run folder: it holds no manifest.json")

    @classmethod
    @contextmanager
    def writing(
        cls,
        path: Path,
        identity: Mapping[str, Any],
        config: Mapping[str, Any],
        classes: pd.DataFrame,
        *,
        force: bool = False,
    ) -> Iterator["RunFolder"]:
        """Start a run, or take up the one that is there; no other process can meanwhile.

        Args:
            path: of the folder: new, empty, or a run of the same identity.
            identity: all that decides the numbers.
            config: the resolved experiment, with what decides none.
            classes: of the data set.
            force: delete the run that is there first.

        Raises:
            RunError: the folder holds something else, or a run of another identity; another
                process writes there; a file cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error}; choose another with --out") from error
        has_run = (path / "manifest.json").is_file()
        if not has_run and any(not name.startswith(".") for name in os.listdir(path)):
            raise RunError(f"{path} exists and is not empty; choose another folder with --out")
        holder = f"process {os.getpid()} on {socket.gethostname()}, since {_now()}"
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(path / _LOCK, holder))
            except BlockingIOError as error:
                raise RunError(
                    f"{path} is being written by {error}; wait for it, stop it, or choose another "
                    "folder with --out"
                ) from None
            except OSError as error:
                raise RunError(
                    f"{path} cannot be locked ({error}); choose a folder elsewhere with --out"
                ) from error
            try:
                cls._prepare(path, identity, config, classes, force=force)
                yield cls(path)
            except OSError as error:  # the disk is full, or gone
                raise RunError(
                    f"{error}. {path} keeps what is done; the same run goes on there"
                ) from error

    @classmethod
    def _prepare(
        cls,
        path: Path,
        identity: Mapping[str, Any],
        config: Mapping[str, Any],
        classes: pd.DataFrame,
        *,
        force: bool,
    ) -> None:
        manifest = path / "manifest.json"
        state: dict[str, Any] = {}
        if manifest.is_file():
            state = {"deleted": None} if force else cls(path).manifest
        if "deleted" in state:
            # What is left if this is interrupted is no run, and goes the next time.
            _write_json(manifest, {"deleted": _now()})
            for name in _FOLDERS:
                if (path / name).exists():
                    shutil.rmtree(path / name)
            state = {}
        if state:
            changed = differences({key: state.get(key) for key in identity}, identity)
            if changed:
                raise RunError(
                    f"{path} holds another run; in the folder and now:{listed(changed)}\n"
                    "choose another folder with --out, or delete that run with --force"
                )
        else:
            # Numbers are compared as they come back from the file.
            state = {**json.loads(json.dumps(identity)), "started": _now(), "finished": None}
            state["sessions"] = []
            _write_json(manifest, state)
        if state["finished"] is not None:
            return
        for folder in (path, *(path / name for name in (*_TABLES, "tables"))):
            for leftover in folder.glob(".*.tmp"):  # of a process that was killed
                leftover.unlink(missing_ok=True)
        # After the manifest: a folder without one holds no run.
        text = yaml.safe_dump(dict(config), sort_keys=False)
        write_atomically(path / "config.yaml", text.encode())
        write_atomically(path / "classes.parquet", classes.to_parquet(index=False))

    @classmethod
    def unfinished(cls, parent: Path, identity: Mapping[str, Any]) -> Path | None:
        """The newest run below ``parent`` that has this identity and did not get to its end."""
        for manifest in sorted(parent.glob("*/manifest.json"), reverse=True):
            try:
                state = cls(manifest.parent).manifest
            except RunError:
                continue
            same = not differences({key: state.get(key) for key in identity}, identity)
            if state.get("finished") is None and same:
                return manifest.parent
        return None

    @property
    def manifest(self) -> dict[str, Any]:
        """What the run's numbers depend on; ``finished`` is null until it is."""
        try:
            content: dict[str, Any] = json.loads((self.path / "manifest.json").read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / 'manifest.json'} cannot be read: {error}") from error
        return content

    def update_manifest(self, **changes: Any) -> None:
        """Set keys of the manifest."""
        _write_json(self.path / "manifest.json", {**self.manifest, **changes})

    def begin_session(self, **facts: Any) -> None:
        """Note that a process works on the run from now on, and where."""
        session = {"started": _now(), "ended": None, "host": socket.gethostname(), **facts}
        self.update_manifest(sessions=[*self.manifest["sessions"], session])

    def require_finished(self) -> None:
        """Raise RunError where the run did not get to its end."""
        if self.manifest.get("finished") is None:
            raise RunError(
                f"the run in {self.path} is not finished; its numbers would be partial. The "
                "command that started it goes on with it"
            )

    def parts(self) -> list[int]:
        """Numbers of the parts that are done."""
        done = [{file.stem for file in (self.path / name).glob("*.parquet")} for name in _TABLES]
        return sorted(int(name) for name in set.intersection(*done) if name.isdecimal())

    def parts_by_model(self) -> dict[str, list[int]]:
        """The same, by name of their model: a run as a whole may be too large for the memory."""
        manifest = self.manifest
        names = list(manifest["models"])
        n_each = manifest["n_parts"] // len(names)
        parts: dict[str, list[int]] = {name: [] for name in names}
        for number in self.parts():
            parts[names[number // n_each]].append(number)
        return parts

    def write_part(self, number: int, tables: Tables) -> None:
        """Write the tables of one shard, also in place of what is there."""
        self._part("images", number).unlink(missing_ok=True)  # not done until all are new
        for name, schema in _TABLES.items():
            frame = getattr(tables, name)
            table = (
                pa.Table.from_pandas(frame, schema, preserve_index=False)
                if len(frame)
                else schema.empty_table()
            )
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink)
            write_atomically(self._part(name, number), sink.getvalue().to_pybytes())

    def link_part(self, number: int, other: "RunFolder") -> None:
        """Take over a part of another run, without a copy where the disk allows it."""
        self._part("images", number).unlink(missing_ok=True)
        for name in _TABLES:
            source, target = other._part(name, number), self._part(name, number)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError:
                write_atomically(target, source.read_bytes())

    def read_part(
        self, table: str, number: int, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """One part of ``images``, ``rows``, ``curves``, ``maps`` or ``costs``."""
        return self._read(self._part(table, number), columns)

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        parts: Sequence[int] | None = None,
    ) -> pd.DataFrame:
        """``classes``, or one of the tables of parts: all parts or some."""
        if table == "classes":
            return self._read(self.path / "classes.parquet", columns)
        numbers = self.parts() if parts is None else parts
        tables = [self.read_part(table, number, columns) for number in numbers]
        if not tables:
            tables = [_TABLES[table].empty_table().to_pandas()]
        return pd.concat(tables, ignore_index=True)

    def finish(self, summary: pd.DataFrame, files: Mapping[str, str]) -> None:
        """Write the derived tables and mark the run as finished."""
        write_atomically(self.path / "tables/summary.csv", summary.to_csv(index=False).encode())
        for name, text in files.items():
            write_atomically(self.path / "tables" / name, text.encode())
        self.update_manifest(finished=_now())

    def end_session(self, n_parts: int) -> None:
        """Note that the process of the last session is through, and how many parts it made."""
        sessions = self.manifest["sessions"]
        sessions[-1] = {**sessions[-1], "ended": _now(), "parts": n_parts}
        self.update_manifest(sessions=sessions)

    def _part(self, table: str, number: int) -> Path:
        return self.path / table / f"{number:06d}.parquet"

    def _read(self, path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
        try:
            table = pd.read_parquet(path, columns=None if columns is None else list(columns))
        except (OSError, ValueError) as error:  # pyarrow's errors are among these
            raise RunError(f"{path} cannot be read: {error}") from error
        return table


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line for each value that differs: its key, and both values."""
    first, second = (dict(_flat(json.loads(json.dumps(dict(tree))))) for tree in (before, now))
    return [
        f"{key}: {first.get(key, '(nothing)')} -> {second.get(key, '(nothing)')}"
        for key in dict.fromkeys([*first, *second])
        if first.get(key, ...) != second.get(key, ...)
    ]


def listed(changed: Sequence[str]) -> str:
    """The first differences, each on a line of its own."""
    more = f"\n  and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    return "".join(f"\n  {line}" for line in changed[:_SHOWN]) + more


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings and lists, by dotted key."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list) and value:
        items = enumerate(value)
    else:
        yield key, value
        return
    for name, item in items:
        yield from _flat(item, f"{key}.{name}" if key else str(name))


def environment() -> dict[str, Any]:
    """What a number may depend on besides the experiment and its data."""
    return {
        "versions": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "git_revision": _git_revision(),
    }


def _git_revision() -> str | None:
    """Revision of the checkout the package runs from, "+" if changed; None outside one."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+"]
    try:
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True,
            check=False,
        )
        if tracked.returncode != 0:
            return None
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=2).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
