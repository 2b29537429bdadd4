"""Data sets in the format of COCO: one JSON file of images, categories and instances."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import ImageFiles, assemble, class_table, find_images
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.findings import Finding, Kind
from wsol_bench.datasets.formats.coco import CocoFile
from wsol_bench.datasets.mask_frames import upright_masks, with_masks
from wsol_bench.datasets.masks import MaskFiles, RunLengths
from wsol_bench.datasets.per_class import per_class
from wsol_bench.datasets.recognition import Recognition, head
from wsol_bench.geometry import HALF_OPEN

__all__ = ["coco"]

# The JSON files that are looked at in a folder, and the splits that come first.
_MOST_FILES = 20
_PLACES = ("annotations", "", "train", "valid", "val", "test")
_PREFERRED = ("val", "test")
_FILE_NAME = re.compile(r'"file_name"\s*:\s*"((?:[^"\\]|\\.)*)"')


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: a JSON file with COCO's keys, in one of the usual places."""
    files = [root] if data_files.is_file(root) else []
    for place in _PLACES if data_files.is_dir(root) else ():
        files += data_files.matching(root / place, "*.json")[:_MOST_FILES]
    heads = {
        path: head(path) for path in files if path.suffix == ".json" and data_files.is_file(path)
    }
    fitting = [path for path, text in heads.items() if _is_coco(path, text)]
    needs = {"a JSON file with images, annotations and categories": bool(fitting)}
    if not fitting:
        return Recognition(needs, {})
    # Instances before keypoints, and a split for evaluation before that for training.
    path = min(fitting, key=lambda path: not any(split in path.stem for split in _PREFERRED))
    match = _FILE_NAME.search(heads[path])
    image = match[1] if match else ""
    folder = next(
        (place for place in _image_folders(path) if data_files.is_file(place / image)), None
    )
    options = {"annotations": str(path)}
    unsure = {"masks": "true  # masks beside the boxes, if the instances have segmentations"}
    if folder is None or not image:
        what = f"the folder that holds {image or 'the first image'}, which was not found"
        unsure["images"] = f"/path/to/images  # {what}"
    else:
        options["images"] = str(folder)
    others = [other.name for other in fitting if other != path]
    seen = [f"instances in {path.name}", *([f"also: {', '.join(others)}"] if others else [])]
    return Recognition(needs, options, tuple(seen), unsure, images=folder is not None)


def _is_coco(path: Path, text: str) -> bool:
    """Return whether a JSON file begins as COCO's instances do; one of captions has no boxes."""
    if path.stem.startswith(("captions", "image_info", "panoptic")):
        return False
    pairs = (("images", "file_name"), ("annotations", "bbox"))
    return any(f'"{key}"' in text and f'"{field}"' in text for key, field in pairs)


def _image_folders(annotations: Path) -> Iterator[Path]:
    """The folders in which images are looked for: ``val2017`` for ``instances_val2017.json``."""
    split = annotations.stem.removeprefix("_").rpartition("_")[2]
    for root in (annotations.parent, annotations.parent.parent):
        for place in ("", "images", split, f"images/{split}", f"{split}/images", "data"):
            yield root / place


@dataset("coco", recognize=_recognize)
def coco(
    *,
    annotations: Path,
    images: Path | None = None,
    masks: bool = False,
    cache: bool = True,
) -> Dataset:
    """COCO's instances JSON: boxes or masks, one sample for each class of an image.

    Samples come in the order of the file's images, then of their classes; the id of a sample is
    ``<file_name>/<category>``. Boxes [x, y, width, height] are half-open: x + width is the end
    behind the last pixel. A crowd (``iscrowd: 1``) is no object: it has no box, a class of which
    an image has only crowds gives no sample, and in masks its pixels are ignored. Under a protocol
    of boxes, which ignores nothing, a map that finds only a crowd is a miss.

    Args:
        annotations: path of the file, such as ``annotations/instances_val2017.json``.
        images: folder that ``file_name`` is relative to; by default it is looked for beside the
            file and its folder (``val2017``, ``images``, ...). If it is not found there, there are
            annotations only, which can score predictions.
        masks: whether to read masks, too, for protocols of pixels. Polygons and run lengths become
            masks by pycocotools (``pip install 'wsol-bench[coco]'``).
        cache: whether to keep the parsed file and the sizes from image headers for the next load.

    Raises:
        DatasetError: a value in the file is not as described, an id or a name is there twice, a
            path leaves the folder, pycocotools is missing, or every image is left out.
    """
    path = existing(annotations, "annotations")
    tables = TableCache(enabled=cache)
    content = CocoFile(path, tables)
    frame, findings = _find_images(content, images, tables)
    names = content.categories["name"].to_numpy(object)
    objects = _objects_of(content, frame)
    findings += _odd_objects(content, objects, frame)
    known = objects[(objects["image"] >= 0) & (objects["category"] >= 0)]
    known = known.assign(wnid=names[known["category"]])
    single = known[~known["crowd"] & (masks | known["x0"].notna())]
    samples, boxes = per_class(frame, single)
    findings += _without_sample(frame, known, single)
    masks_of: dict[str, MaskFiles] = {}
    if masks:
        masks_of, unmasked = _masks_of(content, samples)
        samples["keep"] &= samples["image_id"].isin(masks_of)
        samples["keep"], turned = upright_masks(samples, masks_of, tables)
        findings += unmasked + turned
    loaded = assemble(
        "coco",
        samples,
        boxes[boxes["x0"].notna()],
        class_table({name: name for name in names}),
        findings,
        convention=HALF_OPEN,
        source=str(path),
    )
    return with_masks(loaded, masks_of) if masks else loaded


def _find_images(content: CocoFile, images: Path | None, tables: TableCache) -> ImageFiles:
    """The images that exist, with their position in the file; all of them if there is no folder."""
    listed = content.images.rename(
        columns={"width": "annotated_width", "height": "annotated_height"}
    )
    listed = listed.assign(image_id=listed["file"], position=np.arange(len(listed)))
    folder = None if images is None else existing(images, "images")
    if folder is None and len(listed):
        first = listed["file"].iloc[0]
        folders = _image_folders(content.path)
        folder = next((place for place in folders if data_files.is_file(place / first)), None)
    if folder is None:
        sizes = content.images[["width", "height"]]
        return ImageFiles(listed.assign(path="", keep=True, **sizes), [])
    return find_images(folder, listed, tables)


def _objects_of(content: CocoFile, frame: pd.DataFrame) -> pd.DataFrame:
    """The objects, whose image is its position in ``frame``: -1 if it is not there, -2 if nowhere.

    Args:
        content: the file.
        frame: table of ``ImageFiles``.
    """
    objects = content.objects
    place = pd.Index(frame["position"]).get_indexer(objects["image"])
    return objects.assign(image=np.where(objects["image"] < 0, -2, place))


def _odd_objects(content: CocoFile, objects: pd.DataFrame, frame: pd.DataFrame) -> list[Finding]:
    """Findings of objects of no known image, of no category, or without a box."""
    findings = []
    strays = objects["entry"][objects["image"] == -2]
    if len(strays):
        text = (
            f"{len(strays)} annotations are of images that {content.path.name} does not list, the "
            f"first is annotations[{strays.iloc[0]}]; left out"
        )
        findings.append(Finding(Kind.BAD_ANNOTATION, "", text))
    placed = objects[objects["image"] >= 0]
    ids = frame["image_id"].to_numpy(object)
    for kind, rows, text in (
        (Kind.UNKNOWN_CLASS, placed["category"] < 0, "of a category that the file does not list"),
        (Kind.ODD_BOX, placed["x0"].isna() & ~placed["crowd"], "without a box"),
    ):
        for image, entry in placed.loc[rows, ["image", "entry"]].itertuples(index=False):
            detail = f"annotations[{entry}] is {text}; object left out"
            findings.append(Finding(kind, ids[image], detail))
    return findings


def _without_sample(
    frame: pd.DataFrame, known: pd.DataFrame, single: pd.DataFrame
) -> list[Finding]:
    """Findings of the images, and of the classes in images, that give no sample."""
    keep = frame["keep"].to_numpy(np.bool_)
    ids = frame["image_id"].to_numpy(object)
    idle = np.setdiff1d(np.flatnonzero(keep), known["image"])
    findings = [Finding(Kind.NO_LABEL, ids[image], "no annotation; left out") for image in idle]
    pairs = known[["image", "wnid"]].drop_duplicates()
    counted = pd.MultiIndex.from_frame(single[["image", "wnid"]])
    idle_pairs = pairs[~pd.MultiIndex.from_frame(pairs).isin(counted) & keep[pairs["image"]]]
    of_single = pd.MultiIndex.from_frame(known.loc[~known["crowd"], ["image", "wnid"]])
    for image, name in idle_pairs.itertuples(index=False):
        boxless = (image, name) in of_single
        reason = "no object with a box" if boxless else "nothing but crowds (iscrowd: 1)"
        findings.append(Finding(Kind.NO_LABEL, f"{ids[image]}/{name}", f"{reason}; left out"))
    return findings


def _masks_of(
    content: CocoFile, samples: pd.DataFrame
) -> tuple[dict[str, MaskFiles], list[Finding]]:
    """The masks by sample, of those that are known; findings of the other samples."""
    table = content.masks()
    keys = pd.MultiIndex.from_arrays(
        [table["image"], content.categories["name"].to_numpy(object)[table["category"]]]
    )
    place = keys.get_indexer(pd.MultiIndex.from_frame(samples[["position", "label"]]))
    sizes = content.images[["height", "width"]].to_numpy(np.int64).tolist()
    masks, findings = {}, []
    columns = ["image", "counts", "ignore", "problem"]
    rows = table.loc[place, columns].itertuples(index=False, name=None)
    kept = samples["keep"].tolist()
    for sample, keep, row in zip(samples["image_id"], kept, rows, strict=True):
        image, counts, ignore, problem = row
        if not problem and not RunLengths(*sizes[image], counts).n_object:
            problem = "its segmentations have no pixel"
        if not problem:
            foreground = RunLengths(*sizes[image], counts)
            ignored = RunLengths(*sizes[image], ignore) if ignore else None
            masks[sample] = MaskFiles((foreground,), ignored)
        elif keep:
            findings.append(Finding(Kind.BAD_ANNOTATION, sample, f"{problem}; left out"))
    return masks, findings
