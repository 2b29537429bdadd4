"""How far each choice that a paper leaves open moves the numbers of a run."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd

from wsol_bench.common.progress import step
from wsol_bench.common.temporary import temporary_folder
from wsol_bench.errors import ConfigError
from wsol_bench.protocols.load import load_protocol
from wsol_bench.protocols.open_choices import OpenChoice, open_choices
from wsol_bench.report.analysis import numbers_of
from wsol_bench.report.compared_lines import matched_lines, results_of
from wsol_bench.report.comparisons import pair_of, paired_test
from wsol_bench.report.formatted_tables import FormattedTable, Group, TableColumn, TableLine
from wsol_bench.report.numbers import SHOWN_NUMBERS, main_number, title_of
from wsol_bench.report.tables import points
from wsol_bench.runs.experiment_config import ExperimentConfig, load_config
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.kept_maps import require_maps
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.run import run as run_experiment
from wsol_bench.runs.run_folders import VARIED
from wsol_bench.runs.schema import METHOD_KEYS
from wsol_bench.runs.stored_run import CONFIG_FILE, StoredRun

__all__ = ["Sensitivity", "sensitivity", "sensitivity_table"]

_NUMBERS = (*SHOWN_NUMBERS, "top1_cls_error", "top5_cls_error")
_COLUMNS = (
    "run", "protocol", *METHOD_KEYS, "choice", "own", "number", "value", "varied", "difference",
    "low", "high", "n",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """The numbers of a run under each choice that its protocol's paper leaves open.

    Attributes:
        run: the run.
        protocol: the name of its protocol.
        numbers: a line for each method, choice and number: ``run`` (the run's folder),
            ``protocol`` (that of the run), ``model``, ``method``, ``layer``, ``choice`` (the
            changed field with its value), ``own`` (the value of the run's protocol), ``number``,
            its ``value`` in the run and with the choice (``varied``), their ``difference`` with its
            95% interval (``low``, ``high``; paired, over the images that count in both), and the
            number ``n`` of these images. Shares are fractions.
        left_out: the choices that need new maps and were not asked for.
    """

    run: StoredRun
    protocol: str
    numbers: pd.DataFrame
    left_out: tuple[str, ...]


def sensitivity(run: StoredRun, *, new_maps: bool = False, seed: int = 0) -> Sensitivity:
    """Measure a run under each choice that its protocol's paper leaves open.

    Choices behind the maps are measured on the stored maps. A choice of the input needs new maps:
    the experiment is run again in the folder ``varied`` of the run, where it can be continued.

    Args:
        run: a finished run.
        new_maps: whether to measure choices of the input, too.
        seed: the seed of the bootstrap of biases and of random signs.

    Raises:
        ConfigError: the protocol leaves nothing open, or its file was changed since the run.
        RunError: the run is not finished, keeps no maps (``maps: none``), or its files are damaged.
    """
    run.require_finished()
    require_maps(run.identity, run.path)
    stored = run.identity.config["protocol"]
    name, changes = stored["name"], {key: stored[key] for key in stored if key != "name"}
    choices = open_choices(name, changes)
    if load_protocol(name, changes).hash != run.identity.protocol_hash:
        raise ConfigError(
            f"{run.path}: the protocol {name} was changed since the run, so that the effect of one "
            "choice cannot be told from that of the change; run the experiment again"
        )
    lines = []
    measured = [choice for choice in choices if new_maps or not choice.needs_new_maps]
    for number, choice in enumerate(measured, start=1):
        step(f"choice {number} of {len(measured)}: {choice.changed}")
        with _varied(run, choice) as varied:
            lines += list(_compared(run, varied, choice, seed))
    left_out = tuple(choice.changed for choice in choices if choice not in measured)
    table = pd.DataFrame(lines, columns=list(_COLUMNS))
    return Sensitivity(run, run.identity.protocol.name, table, left_out)


@contextmanager
def _varied(run: StoredRun, choice: OpenChoice) -> Iterator[StoredRun]:
    """The run with another value of a choice; that of stored maps is deleted afterwards."""
    protocol = {"name": run.identity.config["protocol"]["name"], **choice.changes}
    if choice.needs_new_maps:
        folder = run.path / VARIED / choice.changed
        yield run_experiment(_experiment(run, protocol), out=folder).folder
        return
    with temporary_folder() as folder:
        yield rescore(run, protocol, out=folder).folder


def _experiment(run: StoredRun, protocol: dict[str, object]) -> ExperimentConfig:
    """The experiment of a run with another protocol."""
    run.checksums.content(CONFIG_FILE)  # it is what the run wrote
    return load_config(run.path / CONFIG_FILE, changes={"protocol": protocol, "published": None})


def _compared(
    run: StoredRun, varied: StoredRun, choice: OpenChoice, seed: int
) -> Iterator[tuple[object, ...]]:
    """The lines of a choice: each number of each method in both runs, and their difference."""
    for pair, own, other in results_of(run, varied, matched_lines(run, varied)):
        own_numbers, others = numbers_of(own, run).numbers, numbers_of(other, varied).numbers
        for name in _NUMBERS:
            if name not in own_numbers or name not in others:
                continue
            compared = pair_of(own_numbers[name], others[name])
            if not len(compared.number):
                continue
            test = paired_test(compared, seed)
            values = compared.reference.value(), compared.number.value()
            facts = (test["difference"], test["low"], test["high"], test["n"])
            of_run = str(run.path), run.identity.protocol.name
            yield (*of_run, *pair.a, choice.changed, choice.own, name, *values, *facts)


def sensitivity_table(measured: Sequence[Sensitivity]) -> FormattedTable:
    """The differences of the main number, one line a choice and one column a method and layer.

    Each run has the main number of its own protocol. A star marks a difference whose 95% interval
    does not hold 0.
    """
    numbers = {
        one: one.numbers[one.numbers["number"] == main_number(one.numbers["number"].unique())]
        for one in measured
    }
    columns = list(dict.fromkeys(name for of in numbers.values() for name in _column_names(of)))
    protocols = list(dict.fromkeys(one.protocol for one in measured))
    shown = [(one.protocol, model) for one in measured for model in numbers[one]["model"].unique()]
    groups = []
    for one, of_run in numbers.items():
        for model, of_model in of_run.groupby("model", sort=False):
            title = ["no model" if model == NO_MODEL else str(model)]
            title += [one.protocol] if len(protocols) > 1 else []
            title += [str(one.run.path)] if shown.count((one.protocol, model)) > 1 else []
            groups.append(Group(", ".join(title), tuple(_lines(of_model, columns))))
    titles = dict.fromkeys(title_of(name) for of in numbers.values() for name in set(of["number"]))
    left_out = list(dict.fromkeys(choice for one in measured for choice in one.left_out))
    notes = [
        f"{' or '.join(titles)} with another choice, minus that under {' or '.join(protocols)}, in "
        "percentage points; * its paired 95% interval does not hold 0, "
        "without a correction for the number of choices. The CSV file has all numbers and "
        "intervals.",
        f"Of {_n_images(numbers.values())} images.",
    ]
    if left_out:
        notes.append(f"Not measured, since they need new maps: {'; '.join(left_out)}.")
    return FormattedTable(
        title=f"What {', '.join(protocols)} {'leaves' if len(protocols) == 1 else 'leave'} open",
        columns=(TableColumn("choice", "choice"), *(TableColumn(name, name) for name in columns)),
        groups=tuple(groups),
        notes=tuple(notes),
        group_column="model",
    )


def _n_images(numbers: Iterable[pd.DataFrame]) -> str:
    """The numbers of images that differences are of, in words."""
    counts = sorted({int(n) for of_run in numbers for n in of_run["n"]})
    return " to ".join(f"{n:,}" for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "no"


def _column_names(numbers: pd.DataFrame) -> list[str]:
    """The name of each line's column: its method, and its layer if the method has several."""
    layers = numbers.groupby(["model", "method"])["layer"].transform("nunique")
    return [
        f"{method}, {layer}" if n_layers > 1 else method
        for method, layer, n_layers in zip(numbers["method"], numbers["layer"], layers, strict=True)
    ]


def _lines(numbers: pd.DataFrame, columns: Sequence[str]) -> Iterator[TableLine]:
    """A line for each choice."""
    numbers = numbers.assign(column=_column_names(numbers))
    for (choice, own), of_choice in numbers.groupby(["choice", "own"], sort=False):
        cells = dict(zip(of_choice["column"], map(_cell, *_ends(of_choice)), strict=True))
        yield TableLine((f"{choice} (not {own})", *(cells.get(name, "-") for name in columns)))


def _ends(lines: pd.DataFrame) -> tuple[list[float], list[float], list[float]]:
    """The differences, and both ends of their intervals."""
    difference, low, high = (lines[key].tolist() for key in ("difference", "low", "high"))
    return difference, low, high


def _cell(difference: float, low: float, high: float) -> str:
    # Intervals are without the bias of maxima, and may leave out a difference of nothing.
    is_clear = low > 0 if difference > 0 else high < 0 if difference < 0 else False
    return f"{points(difference)}{'*' if is_clear else ''}"
