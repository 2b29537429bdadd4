"""The page as one file that holds all of its data."""

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wsol_bench.common.files import write_atomically
from wsol_bench.common.progress import progress
from wsol_bench.errors import DatasetError
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.columns import image_index, line_columns, model_columns
from wsol_bench.report.page.details import Details
from wsol_bench.report.page.document import page_html
from wsol_bench.report.page.map_choice import MapChoice
from wsol_bench.report.page.overview import overview
from wsol_bench.report.page.pictures import picture, why_no_picture
from wsol_bench.report.page.sample_curves import SampleCurves
from wsol_bench.report.page.sampling import Sample, sampled
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["Written", "write_report"]

# Pixels of the longer side of a picture in the file, and the most bytes of all maps in it.
_LONGEST = 384
_MAP_BYTES = 24 * 2**20


class Written(NamedTuple):
    """A report that was written.

    Attributes:
        n_images: the number of images in the file.
        without_picture: why an image has no picture, for each that has none.
    """

    n_images: int
    without_picture: list[str]


def write_report(
    runs: Sequence[StoredRun], out: Path, *, n_images: int = 500, seed: int = 0
) -> Written:
    """Write the page of runs as one HTML file, which opens from a disk, without a network.

    Args:
        runs: finished runs.
        out: the file.
        n_images: the largest number of images in the file; see ``sampling``.
        seed: seed of the sample, of resamples, and of the random signs of paired tests.

    Raises:
        RunError: a run is not finished or damaged, or the runs differ in the ground truth.
        OSError: the file cannot be written.
    """
    collection = Collection(runs, seed=seed)
    sample = sampled(collection, n_images, seed)
    seen = overview(collection, source="file")
    seen |= {"n_images": len(sample.images), "sampling": _how_sampled(sample, seen, seed)}
    without: list[str] = []
    html = page_html(seen["title"], _blocks(collection, sample, seen, without))
    write_atomically(out, (piece.encode() for piece in html))
    return Written(len(sample.images), without)


def _how_sampled(sample: Sample, seen: dict[str, Any], seed: int) -> str:
    n_chosen, n_of = len(sample.images), seen["n_images_of_runs"]
    if n_chosen == n_of:
        return "All images of the runs are on this page."
    whose = (
        "so that hits and misses of every method are among them"
        if sample.complete
        else "but too few for hits and misses of every method to be among them"
    )
    return (
        f"{n_chosen:,} of {n_of:,} images are on this page, drawn by seed {seed}, {whose}. The "
        "summary and the charts are of all images, unless a chart says otherwise."
    )


def _blocks(
    collection: Collection, sample: Sample, seen: dict[str, Any], without: list[str]
) -> Iterator[tuple[str, str]]:
    """The data of the page, part by part; the reason for each missing picture is added."""
    chosen = sample.images
    yield "overview", _json(seen)
    yield "index", _json(image_index(collection, chosen))
    for number in range(len(collection.models)):
        yield f"model-{number}", _json(model_columns(collection, number, chosen))
    for number in range(len(collection.lines)):
        yield f"line-{number}", _json(line_columns(collection, number, chosen))
    unbiased = [chosen[sample.unbiased]] * len(collection.models)
    curves = SampleCurves(collection, unbiased)
    details = Details(collection, MapChoice(_MAP_BYTES, len(chosen)))
    taps: list[dict[str, Any]] = [{} for _ in collection.runs]
    with progress("writing", len(chosen), "images") as advance:
        for place, image in enumerate(chosen.tolist()):
            path = collection.images.paths[image]
            reason = why_no_picture(path)
            try:
                if not reason:
                    jpeg = picture(Path(path), _LONGEST)
                    yield f"picture-{place}", base64.b64encode(jpeg).decode()
            except (DatasetError, OSError) as error:
                reason = str(error)
            without += [reason] if reason else []
            detail = details.of(image, no_picture=reason, watch=curves.add)
            for known, new in zip(taps, detail["taps"], strict=True):
                known |= new
            yield f"image-{place}", _deflated({**detail, "image": place, "taps": []})
            advance(1)
    yield "taps", _json(taps)
    yield "curves", _json(curves.charts())


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _deflated(value: Any) -> str:
    """JSON, deflated and in base64: the rows of many methods are much alike."""
    return base64.b64encode(zlib.compress(_json(value).encode(), 6)).decode()
