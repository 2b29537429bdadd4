"""The leaderboard of runs: methods are ranked where data set, protocol and images are the same."""

import os
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsol_bench.common.progress import progress
from wsol_bench.errors import RunError, WsolBenchError
from wsol_bench.papers.published import PublishedNumber
from wsol_bench.report.numbers import main_number
from wsol_bench.report.result_lines import (
    ComparableResults,
    ResultLine,
    ShownNumber,
    read_lines,
    require_number,
)
from wsol_bench.runs.findings import shard_findings
from wsol_bench.runs.manifest import MANIFEST
from wsol_bench.runs.published import published_numbers
from wsol_bench.runs.run_folders import EXTENSION, VARIED, require_folder_of_runs
from wsol_bench.runs.stored_run import PART_TABLES, StoredRun

__all__ = ["Leaderboard", "Place", "Ranking", "leaderboard"]

# Folders of a run in which no other finished run lies, or none that is a result of its own.
_NO_RUNS = {*PART_TABLES, "tables", EXTENSION, VARIED}


@dataclass(frozen=True, eq=False)
class Place:
    """A line of a ranking.

    Attributes:
        rank: the rank from 1; equal numbers have the same. None for baselines, for sanity checks,
            and for methods without the number.
        line: the line.
    """

    rank: int | None
    line: ResultLine


@dataclass(frozen=True, eq=False)
class Ranking:
    """Methods that may be ranked.

    Attributes:
        of: what their numbers are of.
        main: the name of the number by which they are ranked.
        places: the lines, best first; those without the number last.
        published: the numbers of papers that the runs' experiments name, which are not ranked.
    """

    of: ComparableResults
    main: str
    places: tuple[Place, ...]
    published: tuple[PublishedNumber, ...]

    @property
    def main_number(self) -> ShownNumber:
        """The number by which they are ranked, of any line."""
        return next(
            place.line.numbers[self.main]
            for place in self.places
            if self.main in place.line.numbers
        )


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """The rankings of the runs below some folders.

    Attributes:
        rankings: the rankings.
        left_out: the runs that are not in it, each with the reason, in one line.
    """

    rankings: tuple[Ranking, ...]
    left_out: tuple[str, ...]


def leaderboard(
    folders: Sequence[Path], *, number: str | None = None, seed: int = 0
) -> Leaderboard:
    """Rank the methods of all finished runs below folders.

    Methods are ranked among those with the same data set, protocol and evaluated images. A run that
    is there several times, as a copy, below two folders or behind links, counts once. Unfinished
    and damaged runs, those of other versions, and shards are left out.

    Args:
        folders: the folders that are searched.
        number: the number to rank by. By default the first that a protocol defines of top-1
            localization error, GT-known error, MaxBoxAccV2, MaxBoxAcc and PxAP.
        seed: the seed of the bootstrap of intervals, which only the number to rank by has.

    Raises:
        ConfigError: a folder does not exist, or no run has the number.
        RunError: no finished run is found.
    """
    left_out: list[str] = []
    runs = list(_runs_below(folders, left_out))
    if not runs:
        raise RunError(_nothing_to_rank(folders, left_out))
    lines, published = _read(runs, left_out, number, seed)
    if not lines:
        without = [f"{run.path}: no image was evaluated" for run in runs]
        raise RunError(_nothing_to_rank(folders, left_out or without))
    if number is not None:
        require_number(number, lines, "--number")
    groups: dict[ComparableResults, list[ResultLine]] = {}
    for line in lines:
        groups.setdefault(line.of, []).append(line)
    rankings = []
    for of, group in groups.items():
        main = number or main_number({name for line in group for name in line.numbers})
        if not any(main in line.numbers for line in group):
            left_out.append(f"{of.sentence} No run has the number {main!r}.")
            continue
        models = dict.fromkeys((line.run, line.model) for line in group)
        papers = dict.fromkeys(
            paper for run, model in models for paper in published[run] if paper.model == model
        )
        rankings.append(Ranking(of, main, _places(group, main), tuple(papers)))
    rankings.sort(key=lambda one: (one.of.dataset, one.of.protocol, -one.of.n_images, one.of))
    return Leaderboard(tuple(rankings), tuple(left_out))


def _nothing_to_rank(folders: Sequence[Path], left_out: Sequence[str]) -> str:
    """The message about folders without a run that can be ranked."""
    places = ", ".join(map(str, folders))
    if not left_out:
        return (
            f"{places}: expected runs in the folder or below it, found none. A run is a folder "
            f"with a {MANIFEST}, as 'wsol-bench run' writes it (below results/ unless --out names "
            "another folder)"
        )
    reasons = "".join(f"\n  {reason}" for reason in left_out[:3])
    more = f"\n  and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return (
        f"{places}: expected finished runs with evaluated images, found {len(left_out)} that are "
        f"left out:{reasons}{more}"
    )


def _runs_below(folders: Sequence[Path], left_out: list[str]) -> Iterator[StoredRun]:
    """The finished runs below folders; a reason for each other run."""
    for folder in folders:
        require_folder_of_runs(folder)
    for path in _run_folders(folders, left_out):
        try:
            run = StoredRun(path)
            run.require_finished()
        except (WsolBenchError, OSError) as error:
            left_out.append(_one_line(path, error))
            continue
        if shards := shard_findings(run.identity, 0):
            left_out.append(
                f"{path}: {shards[0].text.partition(',')[0]}; 'wsol-bench merge' joins shards"
            )
            continue
        yield run


def _run_folders(folders: Sequence[Path], left_out: list[str]) -> Iterator[Path]:
    """The folders below some folders, and themselves, that hold a manifest, each once.

    Links are followed after all the rest, so that a run has its own path if it is below a folder,
    and where they lead back to has been searched.
    """

    def note(error: OSError) -> None:
        left_out.append(_one_line(Path(error.filename or "."), error))

    searched: set[str] = set()
    waiting = deque(folders)
    while waiting:
        for path, names, files in os.walk(waiting.popleft(), onerror=note):
            real = os.path.realpath(path)
            if real in searched:
                names.clear()
                continue
            searched.add(real)
            names.sort()
            if MANIFEST in files:
                names[:] = [name for name in names if name not in _NO_RUNS]
                yield Path(path)
            below = (Path(path) / name for name in names)
            waiting.extend(link for link in below if link.is_symlink())


def _one_line(path: Path, error: Exception) -> str:
    """Why a run is left out, in a line that begins with its folder."""
    text = " ".join(str(error).split())
    return text if text.startswith(str(path)) else f"{path}: {text}"


def _read(
    runs: Sequence[StoredRun], left_out: list[str], number: str | None, seed: int
) -> tuple[list[ResultLine], dict[StoredRun, Sequence[PublishedNumber]]]:
    """The lines of all runs that have numbers, and the published numbers of each run."""

    def with_interval(names: Collection[str]) -> Collection[str]:
        return [number or main_number(names)]

    read: dict[str, StoredRun] = {}
    lines: list[ResultLine] = []
    published: dict[StoredRun, Sequence[PublishedNumber]] = {}
    with progress("reading", sum(run.identity.n_methods for run in runs), "methods") as advance:
        for run in runs:
            if other := read.get(run.manifest.id):
                left_out.append(f"{run.path}: the same run as {other.path}, which is counted once")
                advance(run.identity.n_methods)
                continue
            try:
                of_run = list(
                    read_lines(run, intervals=with_interval, seed=seed, advance=lambda _: None)
                )
                published[run] = published_numbers(run)
            except (WsolBenchError, OSError) as error:
                left_out.append(_one_line(run.path, error))
            else:
                read[run.manifest.id] = run
                lines += [line for line in of_run if line.numbers]
            advance(run.identity.n_methods)
    return lines, published


def _places(lines: Sequence[ResultLine], main: str) -> tuple[Place, ...]:
    """The lines in order, with their ranks: numbers that read the same have the same rank."""
    having = [line for line in lines if main in line.numbers]
    sign = 1 if having[0].numbers[main].column.better == "lower" else -1

    def order(line: ResultLine) -> tuple[float, str, str, str]:
        return sign * line.numbers[main].value.value, line.model, line.method, line.layer

    places: list[Place] = []
    n_ranked, rank, shown = 0, 0, ""
    for line in sorted(having, key=order):
        if line.kind != "method":
            places.append(Place(None, line))
            continue
        n_ranked += 1
        text = line.numbers[main].value.text
        if text != shown:
            rank, shown = n_ranked, text
        places.append(Place(rank, line))
    places += [Place(None, line) for line in lines if main not in line.numbers]
    return tuple(places)
