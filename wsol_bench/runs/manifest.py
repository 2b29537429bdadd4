"""What a run is: one typed record, written when it begins and read once.

The identity is everything that decides the run's numbers: two runs of one identity have the same
rows. The rest says when and where it went.
"""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from wsol_bench.common.vocabulary import Better, Gives, Scope
from wsol_bench.errors import RunError
from wsol_bench.metrics.base import Metric
from wsol_bench.protocols.model import AnyProtocol
from wsol_bench.runs.schema import Column

__all__ = [
    "FORMAT",
    "NO_MODEL",
    "DatasetFacts",
    "Environment",
    "Identity",
    "Manifest",
    "MethodFacts",
    "MetricFacts",
    "ModelFacts",
    "NetworkFreeFacts",
    "Origin",
    "Session",
    "differences",
    "listed",
    "read_manifest",
]

# Of the folder; raised when an older reader would misread it.
FORMAT = 2

# The name of the model where there is none: maps and boxes from elsewhere alone.
NO_MODEL = "-"

# What a number depends on besides the experiment; a run is made by one of each.
_PACKAGES = ("wsol-bench", "torch", "torchvision", "numpy", "numba", "pillow")
_SHOWN = 8


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetFacts(_Record):
    """The data set of a run.

    Attributes:
        name: as configured.
        n_images: that are evaluated, with each model.
        fingerprint: digest of what is scored.
        findings: how many of each kind a loader made.
    """

    name: str
    n_images: int
    fingerprint: str
    findings: dict[str, int]


class ModelFacts(_Record):
    """A classifier of a run.

    Attributes:
        layers: its target layers.
        weights: digest of its weights.
        n_classes, classes: number of its outputs, and digest of their wnids.
        mean, std: of its preprocessing.
        source: digest of the file of its builder, or the version of the library that it is from.
    """

    layers: tuple[str, ...]
    weights: str | None = None
    n_classes: int | None = None
    classes: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    source: str | None = None


class MethodFacts(_Record):
    """A map method of a run: digest of its file, paper (or version), and what it makes maps of."""

    source: str
    paper: str
    scope: Scope


class NetworkFreeFacts(_Record):
    """Maps or boxes from elsewhere: digest of what reads them, and of what they are."""

    source: str
    gives: Gives
    fingerprint: str


class MetricFacts(_Record):
    """A metric of a run: all that a reader needs where the metric's own code is not at hand.

    Attributes:
        source: digest of its file.
        better, range, hits, paper: see ``Metric``.
        column: of a metric per map: name, type, meaning and unit of its column.
    """

    source: str
    better: Better
    range: tuple[float | None, float | None]
    hits: bool
    paper: str
    column: Column | None = None

    @classmethod
    def of(cls, metric: Metric, source: str) -> "MetricFacts":
        """The facts of a metric; an infinite bound is None, which JSON has."""
        low, high = (bound if abs(bound) < float("inf") else None for bound in metric.range)
        return cls(
            source=source,
            better=metric.better,
            range=(low, high),
            hits=metric.hits,
            paper=metric.paper,
            column=metric.column,
        )

    def metric(self, name: str) -> Metric:
        """The metric of stored columns; it cannot measure new maps."""

        def unknown(*_: object) -> float:
            raise RunError(f"metric {name!r} is known by its stored columns alone")

        low, high = self.range
        return Metric(
            name,
            unknown,
            "map",
            self.better,
            (
                float("-inf") if low is None else low,
                float("inf") if high is None else high,
            ),
            hits=self.hits,
            paper=self.paper,
            column=self.column,
        )


class Environment(_Record):
    """What a number may depend on besides the experiment and its data.

    Attributes:
        versions: of packages.
        python: its version.
        sources: digest of this package's own files.
    """

    versions: dict[str, str]
    python: str
    sources: str

    @classmethod
    def here(cls) -> "Environment":
        """That of this process."""
        versions = {name: version(name) for name in _PACKAGES}
        return cls(versions=versions, python=platform.python_version(), sources=_own_sources())


class Origin(_Record):
    """The run whose maps were scored again."""

    path: str
    started: str
    environment: Environment


class Identity(_Record):
    """All that decides the numbers of a run.

    Attributes:
        config: the experiment, without what moves no number.
        protocol: as it was resolved.
        protocol_hash: its digest.
        dataset, models, methods, sources, metrics: by the names that results have.
        selected_on: digest of the images or the run that thresholds are selected on.
        environment: of the processes that worked on it.
        n_parts: of the whole run.
        shard: ``i/n`` where only each n-th part is in this folder.
        rescored_from: the run whose maps these are.
        merged_from: the shards that this run was put together of.
    """

    config: dict[str, Any]
    protocol: AnyProtocol
    protocol_hash: str
    dataset: DatasetFacts
    models: dict[str, ModelFacts]
    methods: dict[str, MethodFacts]
    sources: dict[str, NetworkFreeFacts]
    metrics: dict[str, MetricFacts]
    selected_on: str | None
    environment: Environment
    n_parts: int
    shard: str | None = None
    rescored_from: Origin | None = None
    merged_from: tuple[str, ...] = ()

    def digest(self) -> str:
        """What tells one identity from another."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def changed(self, now: "Identity") -> list[str]:
        """What differs in another identity; see ``differences``.

        The experiment says nothing of where its rows are from: whoever asks for it is given the run
        that was put together or scored again, too.
        """
        said = {
            name
            for name in ("rescored_from", "merged_from")
            if getattr(now, name) == Identity.model_fields[name].default
        }
        before, after = (one.model_dump(mode="json", exclude=said) for one in (self, now))
        return differences(before, after)

    @property
    def named_metrics(self) -> dict[str, bool]:
        """The metrics that the experiment asks for by name, and whether each is a share."""
        if self.config.get("metrics") is None:
            return {}
        return {name: facts.range == (0.0, 1.0) for name, facts in self.metrics.items()}

    def groups(self, model: str) -> Iterator[tuple[str, str]]:
        """The methods and layers of a model's results, in the order of the experiment."""
        for name, method in self.methods.items():
            layers = self.models[model].layers if method.scope == "layer" else ("",)
            yield from ((name, layer) for layer in layers)
        yield from ((source, "") for source in self.sources)

    @property
    def n_methods(self) -> int:
        """Number of lines of the summary."""
        return sum(len(list(self.groups(model))) for model in self.models)

    def parts_by_model(self, parts: Sequence[int]) -> dict[str, list[int]]:
        """Numbers of parts by the name of their model."""
        names = list(self.models)
        n_each = self.n_parts // len(names)
        by_model: dict[str, list[int]] = {name: [] for name in names}
        for number in parts:
            by_model[names[number // n_each]].append(number)
        return by_model


class Session(_Record):
    """A process that worked on a run.

    Attributes:
        started, ended: when; ``ended`` is None where it did not get to its end.
        host: the machine.
        engine, device, threads, ...: what the engine says of where the work is done.
        parts: how many it made.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    started: str
    host: str
    engine: str
    ended: str | None = None
    parts: int | None = None


class Manifest(_Record):
    """The record of a run.

    Attributes:
        format: of the folder.
        version: of this package, by which it was written.
        identity: all that decides its numbers.
        started, finished: when; ``finished`` is None until it is.
        failed: why it ended without being finished.
        sessions: the processes that worked on it.
    """

    format: int = FORMAT
    version: str
    identity: Identity
    started: str
    finished: str | None = None
    failed: str | None = None
    sessions: tuple[Session, ...] = ()

    @classmethod
    def begin(cls, identity: Identity, started: str) -> "Manifest":
        """That of a new run."""
        return cls(version=version("wsol-bench"), identity=identity, started=started)


def read_manifest(path: Path) -> Manifest:
    """The record in a run folder's manifest.json.

    Raises:
        RunError: it cannot be read, or was written by another version of this package in another
            format; the message says which, and what to do.
    """
    file = path / "manifest.json"
    if not file.is_file():
        raise RunError(f"{path} is no run folder: it holds no manifest.json")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{file} cannot be read: expected a mapping, found {type(content).__name__}")
    if content.get("format") != FORMAT:
        raise RunError(_of_another_format(path, content))
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise RunError(f"{file} cannot be read: {key}: {first['msg']}") from error


def _of_another_format(path: Path, content: Mapping[str, Any]) -> str:
    if "deleted" in content:
        return f"the run in {path} was being deleted; delete the folder, or run there again"
    written = content.get("version") or (content.get("versions") or {}).get("wsol-bench")
    by = f"wsol_bench {written}" if isinstance(written, str) else "another version of wsol_bench"
    found = content.get("format", 1)
    advice = "run the experiment again (--force writes in its place)"
    if isinstance(written, str) and written != version("wsol-bench"):
        advice += f", or read it with that version: pip install wsol-bench=={written}"
    return (
        f"{path} was written by {by} in format {found}; this is wsol_bench "
        f"{version('wsol-bench')}, which reads format {FORMAT}. {advice[0].upper()}{advice[1:]}"
    )


@lru_cache(maxsize=1)
def _own_sources() -> str:
    """Digest of this package's code and protocols: a commit of docs makes no other run."""
    content = hashlib.sha256()
    for name, file in sorted(_walk(files("wsol_bench"), "")):
        content.update(f"{name}\n".encode())
        content.update(file.read_bytes())
    return content.hexdigest()[:16]


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _walk(entry, f"{name}/")
        elif entry.name.endswith((".py", ".yaml")):
            yield name, entry


def differences(
    before: BaseModel | Mapping[str, Any], now: BaseModel | Mapping[str, Any]
) -> list[str]:
    """One line for each value that differs: its key, and both values."""
    first, second = (dict(_flat(_plain(tree))) for tree in (before, now))
    return [
        f"{key}: {first.get(key, '(nothing)')} -> {second.get(key, '(nothing)')}"
        for key in dict.fromkeys([*first, *second])
        if first.get(key, ...) != second.get(key, ...)
    ]


def listed(changed: Sequence[str]) -> str:
    """The first differences, each on a line of its own."""
    more = f"\n  and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    return "".join(f"\n  {line}" for line in changed[:_SHOWN]) + more


def _plain(tree: BaseModel | Mapping[str, Any]) -> Any:
    """Numbers are compared as they come back from a file."""
    text = tree.model_dump_json() if isinstance(tree, BaseModel) else json.dumps(dict(tree))
    return json.loads(text)


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings and lists, by dotted key."""
    if isinstance(value, dict) and value:
        items = list(value.items())
    elif isinstance(value, list) and value:
        items = list(enumerate(value))
    else:
        yield key, value
        return
    for name, item in items:
        yield from _flat(item, f"{key}.{name}" if key else str(name))
