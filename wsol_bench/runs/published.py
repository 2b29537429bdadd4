"""The published numbers that an experiment sets beside its own; they change no number."""

from collections.abc import Sequence
from typing import get_args

from pydantic import ValidationError

from wsol_bench.common.yaml_files import read_yaml
from wsol_bench.errors import ConfigError, did_you_mean
from wsol_bench.metrics.breakdown import By
from wsol_bench.papers.published import Published, PublishedNumber
from wsol_bench.runs.stored_run import CONFIG_FILE, StoredRun
from wsol_bench.scoring.base import Scoring

__all__ = ["published_by", "published_numbers", "require_numbers"]


def published_by(run: StoredRun) -> Published | None:
    """The published table of a run's experiment; None if it names none.

    A run that was scored again has none, since a paper's number belongs to the paper's protocol.

    Raises:
        RunError: the run's copy of its experiment is missing or damaged.
    """
    if run.identity.rescored_from is not None:
        return None
    run.checksums.content(CONFIG_FILE)  # it is what the run wrote
    content = read_yaml(run.path / CONFIG_FILE, "config").get("published")
    try:
        return Published.model_validate(content) if content else None
    except ValidationError:  # another version of this package wrote it
        return None


def published_numbers(run: StoredRun) -> Sequence[PublishedNumber]:
    """The published numbers of a run's experiment; see ``published_by``."""
    published = published_by(run)
    return () if published is None else tuple(published.numbers)


def require_numbers(published: Published | None, scoring: Scoring) -> None:
    """Raise ConfigError unless each published number is one of the results, in its range.

    Models and methods are not asked for, since an experiment may be run with fewer of them.
    """
    if published is None:
        return
    # The columns of a breakdown are no numbers.
    ranges = dict.fromkeys(scoring.number_names - {*get_args(By)}, (0.0, 1.0))
    ranges |= {metric.name: metric.range for metric in scoring.metrics}
    unit, factor = ("percent", 100) if published.unit == "percent" else ("fractions", 1)
    for place, row in enumerate(published.rows):
        for number, printed in row.numbers.items():
            where = f"published.rows.{place}.numbers"
            if number not in ranges:
                raise ConfigError(
                    f"{where}: expected numbers of the results, found {number!r}; "
                    f"{did_you_mean(number, ranges)}"
                )
            low, high = (factor * end for end in ranges[number])
            if not low <= printed <= high:
                raise ConfigError(
                    f"{where}.{number}: expected {unit} from {low:g} to {high:g}, found "
                    f"{printed:g}; 'published.unit' says whether numbers are percent or fractions"
                )
