"""The published numbers that an experiment sets beside its own; they change no number."""

from collections.abc import Sequence
from typing import get_args

from pydantic import TypeAdapter, ValidationError

from wsol_bench.common.yaml_files import read_yaml
from wsol_bench.errors import ConfigError, did_you_mean
from wsol_bench.metrics.breakdown import By
from wsol_bench.runs.experiment_config import PublishedNumber
from wsol_bench.runs.stored_run import CONFIG_FILE, StoredRun
from wsol_bench.scoring.base import Scoring

__all__ = ["published_by", "require_numbers"]


def published_by(run: StoredRun) -> Sequence[PublishedNumber]:
    """The published numbers of a run's experiment.

    A run that was scored again has none, since a paper's number belongs to the paper's protocol.

    Raises:
        RunError: the run's copy of its experiment is missing or damaged.
    """
    if run.identity.rescored_from is not None:
        return ()
    run.checksums.content(CONFIG_FILE)  # it is what the run wrote
    content = read_yaml(run.path / CONFIG_FILE, "config")
    try:
        listed: list[PublishedNumber] = TypeAdapter(list[PublishedNumber]).validate_python(
            content.get("published") or []
        )
    except ValidationError:  # another version of this package wrote them
        return ()
    return listed


def require_numbers(published: Sequence[PublishedNumber], scoring: Scoring) -> None:
    """Raise ConfigError unless each published number is one of the results, in its range.

    Models and methods are not asked for, since an experiment may be run with fewer of them.
    """
    # The columns of a breakdown are no numbers.
    ranges = dict.fromkeys(scoring.number_names - {*get_args(By)}, (0.0, 1.0))
    ranges |= {metric.name: metric.range for metric in scoring.metrics}
    for place, one in enumerate(published):
        where = f"published.{place}"
        if one.number not in ranges:
            raise ConfigError(
                f"{where}.number: expected a number of the results, found {one.number!r}; "
                f"{did_you_mean(one.number, ranges)}"
            )
        low, high = ranges[one.number]
        if not low <= one.value <= high:
            raise ConfigError(
                f"{where}.value: expected {one.number} from {low:g} to {high:g}, found "
                f"{one.value:g}; percent are written as fractions"
            )
