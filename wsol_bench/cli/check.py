"""Commands that check before a run: doctor (an experiment), check (a map method or a metric)."""

import contextlib
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsol_bench.cli.completion import names_to_check
from wsol_bench.cli.output import print_line
from wsol_bench.cli.process import print_message
from wsol_bench.cli.shared_options import ExperimentFile, Overrides, pairs_of
from wsol_bench.common.harmless import printable
from wsol_bench.common.progress import step
from wsol_bench.errors import ConfigError

if TYPE_CHECKING:
    from wsol_bench.contracts.verdict import Verdict
    from wsol_bench.methods.base import MapMethod

__all__ = ["check", "doctor"]


def doctor(config: ExperimentFile, overrides: Overrides = None) -> None:
    """Check an experiment and its data before it is run.

    Reads the experiment file, the annotations, the weights and some of the images. Prints what is
    odd about the data, which images a run would skip and why, and whether the order of each model's
    classes is plausible. Writes only to the cache folder. The exit code is 1 if a run would stop.
    """
    step(f"reading {config.name}")
    from wsol_bench.runs.doctor import diagnose
    from wsol_bench.runs.experiment_config import load_config

    for line in diagnose(load_config(config, overrides or [])):
        print_line(line)
    words = ["wsol-bench", "run", str(config)]
    words += [part for override in overrides or [] for part in ("--set", override)]
    print_message(f"Nothing that would stop a run was found. To run it: {shlex.join(words)}")


def check(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="Names as an experiment has them: grad_cam, mean_iou, my_module:my_cam.",
            autocompletion=names_to_check,
            show_default=False,
        ),
    ],
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="KEY=VALUE",
            help="Option of the methods or metrics, such as samples=4. May be repeated.",
        ),
    ] = None,
) -> None:
    """Check that a map method or a metric keeps its contract.

    Runs the method on small networks, or the metric on drawn maps; nothing is downloaded or
    written. Prints a line for each clause: passed, WARNING with what is odd, FAILED with what was
    expected and found, or - if the clause does not apply. The exit code is 1 if a clause failed.
    """
    step(f"checking {', '.join(names)}")
    passed = []
    for name in names:
        passed += (
            _check_metric(name, options) if _is_metric(name) else _check_methods(name, options)
        )
    if not all(passed):
        sys.exit(1)


def _is_metric(name: str) -> bool:
    """Return whether a name is a metric's; ConfigError if no metric or map method has it."""
    from wsol_bench.common.catalog import METRICS, require_method_or_metric
    from wsol_bench.common.registry import import_object
    from wsol_bench.metrics.base import Metric

    if Path(name).suffix in {".yaml", ".yml"}:
        doctor = shlex.join(["wsol-bench", "doctor", name])
        raise ConfigError(
            f"{name}: expected a map method or a metric, found a file. An experiment is checked "
            f"by: {doctor}"
        )
    if ":" in name:
        return isinstance(import_object(name, "map method or metric"), Metric)
    require_method_or_metric(name)
    return name in METRICS


def _check_metric(name: str, options: list[str] | None) -> list[bool]:
    """Check the metric of a name; return a list of one bool: whether it keeps its contract."""
    from wsol_bench.contracts.metric import check_metric
    from wsol_bench.metrics.base import metrics

    metric = metrics.get(name).with_options(_values_of(options), f"metrics.{name}")
    return [_print_verdicts(metric.name, check_metric(metric))]


def _check_methods(name: str, options: list[str] | None) -> list[bool]:
    """Check the map methods of a name (several with ``seeds``); return whether each one passed."""
    from wsol_bench.contracts.map_method import check_map_method

    return [
        _print_verdicts(method.name, check_map_method(method)) for method in _methods(name, options)
    ]


def _values_of(options: list[str] | None) -> dict[str, Any]:
    """The values of ``key=value`` options, each in YAML."""
    from wsol_bench.common.yaml_files import parse_yaml

    pairs = [option.partition("=") for option in pairs_of(options)]
    return {key: parse_yaml(value, f"--option {key}") for key, _, value in pairs}


def _methods(name: str, options: list[str] | None) -> "list[MapMethod]":
    """The map methods that an experiment makes of a name."""
    from wsol_bench.runs.experiment_config import load_config
    from wsol_bench.runs.methods import build_methods

    # Only the methods of this experiment are built; its other keys make it valid.
    content = {"name": "check", "dataset": "shapes", "protocol": "gradcam-2017"}
    changes = [f"methods.0.{option}" for option in pairs_of(options)]
    experiment = load_config({**content, "models": ["shapes_net"], "methods": [name]}, changes)
    methods, network_free = build_methods(experiment)
    if network_free:
        raise ConfigError(
            f"{network_free[0].name!r} needs no network, so it has no contract to check: expected "
            "a map method that uses a network, or a metric; wsol-bench list methods and list "
            "metrics name them"
        )
    return list(methods)


def _print_verdicts(name: str, verdicts: "Iterable[Verdict]") -> bool:
    """Print verdicts as they come, then their counts; return False if a clause failed."""
    counts = dict.fromkeys((True, False, None), 0)
    # A reason that several clauses share is said once: for the first that failed, and behind all
    # others for those that were not checked.
    failures = dict[str, str]()
    unchecked = dict[str, list[str]]()
    start = time.perf_counter()
    output = sys.stdout
    print(f"{printable(name)}:")
    # Standard output is for the verdicts: what a method prints goes elsewhere.
    with contextlib.redirect_stdout(sys.stderr):
        for verdict in verdicts:
            counts[verdict.ok] += 1
            detail = verdict.detail
            if verdict.ok is None and detail:
                unchecked.setdefault(detail, []).append(verdict.clause)
                continue
            if verdict.ok is False:
                first = failures.setdefault(detail, verdict.clause)
                detail = detail if first == verdict.clause else f"the same as for: {first}"
            line = f"  {verdict.word:7} {verdict.clause}{f': {detail}' if detail else ''}"
            with contextlib.redirect_stdout(output):
                print_line(line, hanging=8)
    for reason, clauses in unchecked.items():
        several = len(clauses) > 1
        concerned = f"{len(clauses)} clauses" if several else clauses[0]
        print_line(f"  -       {concerned}: {reason}", hanging=8)
        for clause in clauses if several else ():
            print_line(f"          - {clause}")
    seconds = time.perf_counter() - start
    print(
        f"{printable(name)}: {counts[True]} passed, {counts[False]} failed, {counts[None]} not "
        f"applicable or not checked, in {seconds:.1f} s"
    )
    return not counts[False]
