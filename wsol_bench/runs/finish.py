"""The end of a run: the check that enough images were evaluated, and the derived tables."""

from collections import Counter

import pandas as pd

from wsol_bench.common.harmless import csv_text
from wsol_bench.errors import DatasetError, RunError
from wsol_bench.metrics.seeds import over_seeds
from wsol_bench.report.tables import markdown
from wsol_bench.runs.findings import findings_of_run
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.results import summarize_run
from wsol_bench.runs.schema import FAILED, ImageStatus

__all__ = ["finish", "require_evaluated"]


def finish(folder: RunFolder) -> pd.DataFrame:
    """Summarize a run whose parts are all done, and mark the run as finished."""
    summary = summarize_run(folder)
    if folder.manifest.finished is None:
        findings = [finding.sentence for finding in findings_of_run(folder.identity, summary)]
        table = markdown(summary, folder.identity.named_metrics, findings)
        files = {"summary.md": table}
        if len(seeds := over_seeds(summary)):
            files["seeds.csv"] = csv_text(seeds)
        folder.finish(summary, files)
    return summary


def require_evaluated(folder: RunFolder, max_failed: float, *, whole: bool) -> None:
    """Raise an error if too many images of a run could not be evaluated; the run keeps its parts.

    Args:
        folder: the run.
        max_failed: the largest share of images, in [0, 1], that may fail.
        whole: whether this is a whole run. A whole run needs an image that was evaluated; a shard
            may lack one, so that a run passes if all of its shards do.

    Raises:
        RunError: more images failed than are allowed.
        DatasetError: no image of a whole run was evaluated.
    """
    counts: Counter[str] = Counter()
    examples = []  # for each part, its first image that was not evaluated; failed ones first
    for number in folder.parts():
        images = folder.read_part("images", number, ["image_id", "status", "reason"])
        counts.update(images["status"])
        images = images[images["status"] != ImageStatus.EVALUATED]
        failed = images[images["status"].isin(FAILED)]
        examples += (failed if len(failed) else images)[:1].to_dict(orient="records")
    n_failed = sum(counts[status] for status in FAILED)
    n_tried = n_failed + counts[ImageStatus.EVALUATED]
    error: RunError | DatasetError | None = None
    if n_failed > max_failed * n_tried:
        first = next(example for example in examples if example["status"] in FAILED)
        error = RunError(
            f"{n_failed} of {n_tried} images could not be evaluated, more than max_failed "
            f"({max_failed:g}) allows; the first is {first['image_id']}: {first['reason']}\n"
            f"{folder.path} keeps the finished parts. Mend the files and run the experiment there "
            "again, which repeats the parts that these images are in, or allow more with --set "
            "max_failed=..."
        )
    elif whole and not counts[ImageStatus.EVALUATED]:
        totals = ", ".join(f"{n} {status}" for status, n in counts.most_common())
        advice = ""
        if counts.keys() == {ImageStatus.UNKNOWN_CLASS}:
            advice = (
                ". If an output is a class of the data set under another name, list the classes as "
                "the data set names them, one a line in the order of the outputs, in a file and "
                "name it with the model's 'classes:'"
            )
        error = DatasetError(
            f"no image could be evaluated ({totals}); the first: {examples[0]['reason']}{advice}"
        )
    folder.update(failed=str(error) if error and n_failed else None)
    if error:
        raise error
