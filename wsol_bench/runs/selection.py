"""The selection of thresholds: on held-out images, or on another run such as ImageNetV2's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from wsol_bench.common.files import digest
from wsol_bench.errors import ConfigError
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.differences import known_differences
from wsol_bench.runs.identity import ON_RUN, Identity
from wsol_bench.runs.results import methods_of
from wsol_bench.runs.schema import METHOD_KEYS, SELECTION
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["SelectionRun", "selection_digest", "selection_run"]


@dataclass(frozen=True, eq=False)
class SelectionRun:
    """The run that thresholds are selected on.

    Attributes:
        path: its folder.
        identity: its identity.
        table: the accuracy of each of its methods at each threshold; see ``SELECTION``.
    """

    path: Path
    identity: Identity
    table: pd.DataFrame

    @property
    def digest(self) -> str:
        """The digest of the run's identity."""
        return self.identity.digest()

    def require_same(self, identity: Identity) -> None:
        """Raise ConfigError unless this run has the networks and methods of another run.

        A threshold of another network, or of another method of the same name, does not apply.

        Args:
            identity: the identity of the run whose thresholds are selected.
        """
        where = f"select_on: the run in {self.path}"
        selected = self.identity
        if _choices(selected.protocol) != _choices(identity.protocol):
            raise ConfigError(
                f"{where} was scored by {selected.protocol.name}, but this run is scored by "
                f"{identity.protocol.name}; only 'select_on' may differ between the two protocols"
            )
        if selected.config.get("precision") != identity.config.get("precision"):
            raise ConfigError(
                f"{where} has the precision {selected.config.get('precision')}, but this run has "
                f"{identity.config.get('precision')}; they must be equal"
            )
        if options := _other_options(selected, identity):
            raise ConfigError(
                f"{where} has another method {options!r} than this run: its options differ"
            )
        pairs: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = (
            ("model", identity.models, selected.models),
            ("method", identity.methods, selected.methods),
            ("method", _network_free_code(identity), _network_free_code(selected)),
        )
        for kind, needed, available in pairs:
            for name, facts in needed.items():
                if name not in available:
                    raise ConfigError(f"{where} has no {kind} {name!r}, which this run has")
                if known_differences(available[name], facts):
                    raise ConfigError(
                        f"{where} has another {kind} {name!r} than this run; thresholds apply only "
                        f"to the same {kind}"
                    )


def selection_run(protocol: Protocol) -> SelectionRun | None:
    """The run that a protocol selects thresholds on; None if the protocol names none.

    Raises:
        ConfigError: the run has no thresholds to select, or is one shard of a run.
        RunError: the run is not finished, or cannot be read.
    """
    if protocol.selection is None or protocol.selection.run is None:
        return None
    folder = StoredRun(protocol.selection.run)
    folder.require_finished()
    if (shard := folder.identity.shard) is not None:
        raise ConfigError(
            f"select_on: expected a whole run, found shard {shard} of one in {folder.path}, whose "
            "thresholds would be those of a part of its images; merge the shards and name that run"
        )
    lines = []
    for method in methods_of(folder):
        for number in method.numbers():
            if number.best is not None:
                names = {name: method.names[name] for name in METHOD_KEYS}
                lines.append({**names, "number": number.name, "means": number.means().tolist()})
    if not lines:
        raise ConfigError(
            f"select_on: the run in {folder.path} has no thresholds to select: it was scored by "
            f"{folder.identity.protocol.name}"
        )
    return SelectionRun(folder.path, folder.identity, pd.DataFrame(lines, columns=SELECTION.names))


def selection_digest(protocol: Protocol, run: SelectionRun | None) -> str | None:
    """The word ``run`` or ``images`` with a digest of that which thresholds are selected on.

    It is None if they are selected on neither. The path of the run or of the list does not enter
    it, since what lies there may change.
    """
    if run is not None:
        return f"{ON_RUN}{run.digest}"
    if protocol.selection is None or not protocol.selection.listed:
        return None
    listed = "\n".join(sorted(protocol.selection.listed))
    return f"images {digest(listed.encode())}"


def _choices(protocol: Protocol) -> dict[str, Any]:
    """A protocol without its names and without what its thresholds are selected on."""
    content = protocol.model_dump(mode="json", exclude={"name", "paper"}, exclude_none=True)
    content.get("box", {}).get("threshold", {}).pop("select_on", None)
    return content


def _network_free_code(identity: Identity) -> dict[str, dict[str, str]]:
    """The digest of the code of each network-free method, by name."""
    return {name: {"source": facts.source} for name, facts in identity.sources.items()}


def _other_options(selected: Identity, identity: Identity) -> str | None:
    """The label of a method that both runs have with different options; None if no method does.

    Only a label hides the options; without a label they are part of the method's name.
    """
    before, now = (
        {method["label"]: method for method in run.config["methods"] if method.get("label")}
        for run in (selected, identity)
    )
    for label, method in now.items():
        if label in before and before[label] != method:
            return str(label)
    return None
