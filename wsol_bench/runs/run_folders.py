"""Folders of runs, known from the names of their files alone.

Nothing here needs pandas or torch, so that a folder that holds no run is told within a second.
"""

import difflib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wsol_bench.common.files import contents
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.runs.differences import known_differences, listed

__all__ = [
    "EXTENSION",
    "FORMAT",
    "MANIFEST",
    "VARIED",
    "begun_extension",
    "names_in",
    "other_run",
    "require_folder_of_runs",
    "require_place",
    "require_run",
    "require_run_or_nothing",
    "runs_below",
]

# The file that makes a folder that of a run.
MANIFEST = "manifest.json"
# The folder of the same run with more images, while it is made (``runs.extension``).
EXTENSION = ".extended"
# Below a run: runs of its experiment under other choices of the input (``report.sensitivity``).
VARIED = "varied"
# The format of a run folder; it is raised when an older reader would misread the folder.
FORMAT = 3

# A search for runs ends at this depth and after this many folders, since a disk may be slow.
_DEEPEST, _MOST_FOLDERS = 3, 500
# The most runs that a message names.
_SHOWN = 3


def require_run(path: Path) -> None:
    """Raise RunError unless a folder holds a run; the message says which one may be meant."""
    if not (path / MANIFEST).is_file():
        raise RunError(f"{path} is no run folder: {_what_is_there(path)}")


def require_folder_of_runs(path: Path) -> None:
    """Raise ConfigError unless there is a folder; whether it holds runs is not looked up."""
    if not path.is_dir():
        raise ConfigError(
            f"{path}: expected a folder with runs, found no such folder; {_nearest(path)}"
        )


def require_run_or_nothing(path: Path) -> None:
    """Raise RunError if a folder holds something else than a run."""
    if (path / MANIFEST).is_file():
        return
    if any(not name.startswith(".") for name in os.listdir(path)):
        raise RunError(f"{path} is not empty and holds no run; choose another folder with --out")


def require_place(path: Path, deciding: Mapping[str, Any], shard: str | None) -> None:
    """Raise RunError if a folder cannot become, or go on with, a run of an experiment.

    Only what is known at once is compared: the experiment. Data and networks may differ, too, which
    is found later. The number of images may differ, since a run can be extended.

    Args:
        path: the folder of the run, which may not exist.
        deciding: the keys of the experiment that decide its numbers.
        shard: ``i/n``; None for the whole run.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise RunError(f"{path} is a file; choose a folder with --out")
    require_run_or_nothing(path)
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            return
        stored = manifest["identity"]
        before = {"config": {**stored["config"], "limit": None}, "shard": stored["shard"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # as one of another format, it is reported when it is read
    now = {"config": {**deciding, "limit": None}, "shard": shard}
    if changed := known_differences(before, now):
        raise other_run(path, changed)


def other_run(path: Path, changed: Sequence[str]) -> RunError:
    """The error about a folder that holds another run, with the values that differ."""
    return RunError(
        f"{path} holds another run. These values differ (in the folder -> now):"
        f"{listed(changed)}\n"
        "choose another folder with --out, or delete that run with --force"
    )


def runs_below(path: Path) -> list[Path]:
    """The folders of runs below a folder, as far as a short search finds them, by their names."""
    found: list[Path] = []
    folders, n_seen = [path], 0
    for _ in range(_DEEPEST):
        below: list[Path] = []
        for folder in folders:
            below += _folders_in(folder)
        below = below[: _MOST_FOLDERS - n_seen]
        n_seen += len(below)
        runs = [folder for folder in below if (folder / MANIFEST).is_file()]
        found += runs
        folders = [folder for folder in below if folder not in runs]
    return sorted(found)


def begun_extension(path: Path) -> str:
    """The text that says how to finish a begun extension of a run; "" if there is none."""
    try:
        begun = json.loads((path / EXTENSION / MANIFEST).read_text(encoding="utf-8"))
        n_images = int(begun["identity"]["dataset"]["n_images"])
        before = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if before.get("id") == begun["id"]:  # it is done, but for the removal of its folder
            return ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    config = ["wsol-bench", "run", str(path / EXTENSION / "config.yaml"), "--out", str(path)]
    return (
        f"{path} was being extended to {n_images} images when that was interrupted; what follows "
        f"is of the run before. To go on: {shlex.join(config)}"
    )


def names_in(path: Path) -> tuple[list[str], list[str]]:
    """The models and the methods of a run by their names in the results; empty if it is no run."""
    try:
        identity = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["identity"]
        return list(identity["models"]), [*identity["methods"], *identity["sources"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return [], []


def _what_is_there(path: Path) -> str:
    """The end of a message: the things that are there instead of a run, and which may be meant."""
    if not path.exists():
        return f"it does not exist; {_nearest(path)}"
    if path.is_file():
        if path.suffix in {".yaml", ".yml"}:
            command = f"wsol-bench run {shlex.quote(str(path))}"
            return f"it is a file; a run of an experiment is made by: {command}"
        return f"it is a file{_of_run(path)}"
    if runs := runs_below(path):
        if len(runs) == 1:
            return f"it holds {_listed(runs)}; name that folder"
        return (
            f"it holds {_listed(runs)}. Name one of them; all of them are ranked by: "
            f"wsol-bench leaderboard {shlex.quote(str(path))}"
        )
    return f"it holds no {MANIFEST}{_of_run(path) or f'; it holds {contents(path)}'}"


def _of_run(path: Path) -> str:
    """The run that a file or folder is part of, as the end of a message; "" for none."""
    above = [folder for folder in path.parents if (folder / MANIFEST).is_file()]
    return f"; did you mean {above[0]}, the run that it is part of?" if above else ""


def _nearest(path: Path) -> str:
    """The end of a message: the folders beside one that does not exist."""
    parent = next(folder for folder in path.absolute().parents if folder.is_dir())
    shown = next((folder for folder in path.parents if folder.is_dir()), parent)
    first = path.absolute().relative_to(parent).parts[0]
    names = [folder.name for folder in _folders_in(parent)]
    if near := difflib.get_close_matches(first, names, n=1):
        meant = shown / near[0] / Path(*path.absolute().relative_to(parent).parts[1:])
        return f"did you mean {meant if meant.exists() else shown / near[0]}?"
    if runs := [shown / run.relative_to(parent) for run in runs_below(parent)]:
        return f"{shown} holds {_listed(runs)}"
    return f"{shown} holds {contents(parent)}"


def _folders_in(folder: Path) -> Iterator[Path]:
    """The folders in a folder, but hidden ones, by name; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return
    yield from (folder / name for name in names if not name.startswith("."))


def _listed(runs: Sequence[Path]) -> str:
    """The first of some runs and how many there are."""
    more = f" and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else ""
    noun = "the run" if len(runs) == 1 else f"{len(runs)} runs:"
    return f"{noun} {', '.join(map(str, runs[:_SHOWN]))}{more}"
