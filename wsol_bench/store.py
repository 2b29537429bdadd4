"""The run folder: the only place that writes results, and the only one that reads them.

<folder>/config.yaml            the resolved experiment
<folder>/manifest.json          versions, device, fingerprints, protocol, times, state
<folder>/classes.parquet        wnid, words and ILSVRC2012_ID of the data set's classes
<folder>/{images,rows,maps}/    one Parquet part a shard, each written whole or not at all
<folder>/tables/                what is derived from the above
"""

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from wsol_bench.errors import RunError
from wsol_bench.evaluate import Tables
from wsol_bench.files import write_atomically

__all__ = ["RunFolder", "environment"]

_PACKAGES = ("wsol-bench", "torch", "torchvision", "numpy", "pandas", "pillow", "scikit-image")


class RunFolder:
    """A run on disk.

    Args:
        path: of the folder; it must hold a run (``RunFolder.create`` starts one).

    Raises:
        RunError: the folder holds no run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "manifest.json").is_file():
            raise RunError(f"{path} is no run folder: it holds no manifest.json")

    @classmethod
    def create(
        cls,
        path: Path,
        config: Mapping[str, Any],
        manifest: Mapping[str, Any],
        classes: pd.DataFrame,
    ) -> "RunFolder":
        """Start a run in an empty or new folder; RunError where one is in the way."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(f"{path} exists and is not empty; choose another folder with --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error}; choose another with --out") from error
        write_atomically(
            path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False).encode()
        )
        _write_table(path / "classes.parquet", classes)
        state = {**manifest, "started": _now(), "finished": None}
        write_atomically(path / "manifest.json", json.dumps(state, indent=2).encode())
        return cls(path)

    @property
    def manifest(self) -> dict[str, Any]:
        """What the run's numbers depend on; ``finished`` is null until it is."""
        try:
            content: dict[str, Any] = json.loads((self.path / "manifest.json").read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / 'manifest.json'} cannot be read: {error}") from error
        return content

    def require_finished(self) -> None:
        """Raise RunError where the run did not get to its end."""
        if self.manifest.get("finished") is None:
            raise RunError(f"the run in {self.path} is not finished; its numbers would be partial")

    def write_part(self, index: int, tables: Tables) -> None:
        """Write the tables of one shard. The images come last: they say that the shard is done."""
        for name in ("maps", "rows", "images"):
            _write_table(self.path / name / f"{index:05d}.parquet", getattr(tables, name))

    def finish(self, summary: pd.DataFrame, files: Mapping[str, str]) -> None:
        """Write the derived tables and mark the run as finished."""
        write_atomically(self.path / "tables/summary.csv", summary.to_csv(index=False).encode())
        for name, text in files.items():
            write_atomically(self.path / "tables" / name, text.encode())
        state = {**self.manifest, "finished": _now()}
        write_atomically(self.path / "manifest.json", json.dumps(state, indent=2).encode())

    def read(self, table: str) -> pd.DataFrame:
        """One of ``images``, ``rows``, ``maps`` (all parts, in order) or ``classes``."""
        files = sorted((self.path / table).glob("*.parquet"))
        try:
            if table == "classes":
                return pd.read_parquet(self.path / "classes.parquet")
            parts = [part for part in map(pd.read_parquet, files) if len(part)]
        except (OSError, ValueError) as error:  # pyarrow's errors are among these
            raise RunError(f"{self.path}: the {table} cannot be read: {error}") from error
        if not parts:
            raise RunError(f"{self.path} holds no {table}; the run did not get that far")
        return pd.concat(parts, ignore_index=True)


def environment() -> dict[str, Any]:
    """What a number may depend on besides the configuration."""
    return {
        "versions": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
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


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_atomically(path, table.to_parquet(index=False))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
