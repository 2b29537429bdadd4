"""The page as one file that holds all of its data."""

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from wsol_bench.common.files import write_atomically
from wsol_bench.common.progress import progress
from wsol_bench.errors import ImageError
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.columns import image_index, line_columns, model_columns
from wsol_bench.report.page.details import Details
from wsol_bench.report.page.document import page_html
from wsol_bench.report.page.map_choice import MapChoice
from wsol_bench.report.page.overview import overview
from wsol_bench.report.page.pictures import picture
from wsol_bench.report.page.sample_curves import SampleCurves
from wsol_bench.report.page.sampling import sampled
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["Written", "write_report"]

# Pixels of the longer side of a picture in the file, and the most bytes of all maps in it.
_LONGEST = 384
_MAP_BYTES = 24 * 2**20


class Written(NamedTuple):
    """What was written.

    Attributes:
        n_images: the number of images in the file, and ``n_of``, of all images of the runs.
        without_picture: why an image has no picture, for each that has none.
    """

    n_images: int
    n_of: int
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
    chosen = sampled(collection, n_images, seed)
    seen = overview(collection, source="file")
    seen |= {"n_images": len(chosen), "sampling": _how_sampled(len(chosen), seen, seed)}
    without: list[str] = []
    blocks = _blocks(collection, chosen, seen, without)
    html = page_html(seen["title"], blocks)
    write_atomically(out, (piece.encode() for piece in html))
    return Written(len(chosen), len(collection.images), without)


def _how_sampled(n_chosen: int, seen: dict[str, Any], seed: int) -> str:
    if n_chosen == seen["n_images_of_runs"]:
        return "All images of the runs are on this page."
    return (
        f"{n_chosen:,} of {seen['n_images_of_runs']:,} images are on this page, drawn by seed "
        f"{seed} so that each method's hits and misses are among them. The summary and the charts "
        "are of all images."
    )


def _blocks(
    collection: Collection,
    chosen: Int64[np.ndarray, " n"],
    seen: dict[str, Any],
    without: list[str],
) -> Iterator[tuple[str, str]]:
    """The data of the page, part by part; the reason for each missing picture is added."""
    yield "index", _json(image_index(collection, chosen))
    for number in range(len(collection.models)):
        yield f"model-{number}", _json(model_columns(collection, number, chosen))
    for number in range(len(collection.lines)):
        yield f"line-{number}", _json(line_columns(collection, number, chosen))
    details = Details(collection, MapChoice(_MAP_BYTES, len(chosen)))
    taps: list[dict[str, Any]] = [{} for _ in collection.runs]
    curves = SampleCurves(collection)
    with progress("writing", len(chosen), "images") as advance:
        for place, image in enumerate(chosen.tolist()):
            reason = ""
            try:
                jpeg = picture(Path(collection.images.paths[image]), _LONGEST)
                yield f"picture-{place}", base64.b64encode(jpeg).decode()
            except (ImageError, OSError) as error:
                reason = str(error)
                without.append(reason)
            detail = details.of(image, no_picture=reason)
            for known, new in zip(taps, detail["taps"], strict=True):
                known |= new
            yield f"image-{place}", _json({**detail, "image": place, "taps": []})
            for map in details.label_maps(image):
                curves.add(image, map)
            advance(1)
    yield "taps", _json(taps)
    seen["charts"]["thresholds"] += curves.charts()
    yield "overview", _json(seen)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
