"""Thresholds that are selected on another run, such as ImageNetV2's for ILSVRC."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from wsol_bench.errors import ConfigError
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.folder import SELECTION, RunFolder
from wsol_bench.runs.manifest import Identity
from wsol_bench.runs.results import methods_of

__all__ = ["Selected", "selected_on"]


@dataclass(frozen=True, eq=False)
class Selected:
    """The run that thresholds are selected on.

    Attributes:
        path: of its folder.
        identity: of it.
        table: the accuracy of each of its methods at each threshold; see ``SELECTION``.
    """

    path: Path
    identity: Identity
    table: pd.DataFrame

    @property
    def digest(self) -> str:
        """The digest of the run's identity, which tells it from another run."""
        return self.identity.digest()

    def require_same(self, identity: Identity) -> None:
        """Raise ConfigError where a run has networks or methods that this one does not have.

        A threshold of another network, or of another method under the same name, is not this one's.
        """
        where = f"select_on: the run in {self.path}"
        theirs = self.identity
        if _maps_rule(theirs.protocol) != _maps_rule(identity.protocol):
            raise ConfigError(
                f"{where} was scored by {theirs.protocol.name}, which is not "
                f"{identity.protocol.name} on other images"
            )
        if theirs.config.get("precision") != identity.config.get("precision"):
            raise ConfigError(f"{where} has another precision than this run")
        if options := _other_options(theirs, identity):
            raise ConfigError(f"{where} has another method {options!r} than this run")
        pairs: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = (
            ("model", identity.models, theirs.models),
            ("method", identity.methods, theirs.methods),
            ("method", {name: one.source for name, one in identity.sources.items()},
             {name: one.source for name, one in theirs.sources.items()}),
        )  # fmt: skip
        for kind, ours, others in pairs:
            for name, facts in ours.items():
                if name not in others:
                    raise ConfigError(f"{where} has no {kind} {name!r}")
                if others[name] != facts:
                    raise ConfigError(f"{where} has another {kind} {name!r} than this run")


def _other_options(theirs: Identity, ours: Identity) -> str | None:
    """The name of a method that both runs have, with other options; None where there is none.

    A label hides the options, which otherwise are in the name.
    """
    labeled = [
        {one["label"]: one for one in identity.config["methods"] if one.get("label")}
        for identity in (theirs, ours)
    ]
    for label, mine in labeled[1].items():
        if label in labeled[0] and labeled[0][label] != mine:
            return str(label)
    return None


def selected_on(protocol: Protocol) -> Selected | None:
    """The run that a protocol selects thresholds on; None where it names none.

    Raises:
        ConfigError: it names a folder that holds no finished run with thresholds.
        RunError: the run cannot be read.
    """
    if protocol.selection is None or protocol.selection.run is None:
        return None
    folder = RunFolder(protocol.selection.run)
    folder.require_finished()
    lines = []
    for method in methods_of(folder):
        for number in method.numbers():
            if number.best is not None:
                names = {name: method.names[name] for name in ("model", "method", "layer")}
                lines.append({**names, "number": number.name, "means": number.means().tolist()})
    if not lines:
        raise ConfigError(
            f"select_on: the run in {folder.path} has no thresholds to select: it was scored by "
            f"{folder.identity.protocol.name}"
        )
    return Selected(folder.path, folder.identity, pd.DataFrame(lines, columns=SELECTION.names))


def _maps_rule(protocol: Protocol) -> dict[str, Any]:
    """A protocol without its names and without what thresholds are selected on."""
    content = protocol.model_dump(mode="json", exclude={"name", "paper"}, exclude_none=True)
    content.get("box", {}).get("threshold", {}).pop("select_on", None)
    return content
