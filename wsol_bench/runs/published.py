"""The published numbers that an experiment sets beside its own; they change no number."""

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from wsol_bench.common.yaml_files import read_yaml
from wsol_bench.runs.experiment_config import PublishedNumber
from wsol_bench.runs.stored_run import CONFIG_FILE, StoredRun

__all__ = ["published_by"]


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
