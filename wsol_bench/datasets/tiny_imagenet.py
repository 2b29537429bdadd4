"""The data set Tiny ImageNet: 200 classes of ImageNet at 64 x 64 pixels."""

from pathlib import Path
from typing import Literal

import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, assemble, class_table, find_images
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.findings import Finding, Kind, findings_of
from wsol_bench.datasets.folders import scan
from wsol_bench.datasets.formats.file_names import image_id_of
from wsol_bench.datasets.formats.lists import read_columns
from wsol_bench.datasets.formats.text import malformed
from wsol_bench.datasets.recognition import Recognition, n_files, n_lines
from wsol_bench.datasets.synsets import WNID
from wsol_bench.geometry import INCLUSIVE

__all__ = ["tiny_imagenet"]

# Width and height in pixels of the images that all boxes were drawn on.
SIDE = 64


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: the archive as it unpacks."""
    listing = root / "val" / "val_annotations.txt"
    has_val, has_train = data_files.is_file(listing), data_files.is_dir(root / "train")
    split = "val" if has_val or not has_train else "train"
    needs = {
        "wnids.txt": data_files.is_file(root / "wnids.txt"),
        "val/val_annotations.txt, or train": split == "train" or has_val,
    }
    seen = []
    if all(needs.values()):
        seen = [f"{n_lines(root / 'wnids.txt')} classes in wnids.txt"]
        if split == "val":
            images = n_files(root / "val" / "images", IMAGE_SUFFIXES)
            seen += [f"{images} images in val/images, {n_lines(listing)} boxes"]
    options = {"root": str(root), "split": split}
    return Recognition(needs, options, tuple(seen), wnids=True)


@dataset("tiny_imagenet", recognize=_recognize)
def tiny_imagenet(
    *, root: Path, split: Literal["train", "val"] = "val", cache: bool = True
) -> Dataset:
    """Tiny ImageNet (tiny-imagenet-200.zip): 200 classes of ImageNet at 64 x 64 pixels.

    The split "val" has 10,000 images, "train" 100,000; the test images have no boxes. Images are
    sorted by id (the file's stem). Corners are 0-based and inclusive, from 0 to 63: a box whose
    corners are equal is one pixel. They are rescaled for images of another size. The training
    images are those in a class's folder of images and those in its boxes file, which may be
    missing.

    Args:
        root: folder with wnids.txt, words.txt, train and val.
        split: "val" or "train".
        cache: whether to keep the sizes read from image headers for the next load.

    Raises:
        DatasetError: a file is missing or malformed, or every image is left out.
    """
    root = existing(root, "root")
    wnids = _read_wnids(existing(root / "wnids.txt", "root"))
    if split == "val":
        folder = root / "val" / "images"
        listing = existing(root / "val" / "val_annotations.txt", "root")
        boxes = read_columns(listing, ("file", "wnid", *CORNERS), numbers=4, separator="\t")
        listed, odd_classes = boxes, []
    else:
        folder = existing(root / "train", "root")
        boxes = pd.concat([_read_train(folder, wnid) for wnid in wnids], ignore_index=True)
        listed = pd.concat([boxes, *(_images_of(folder, wnid) for wnid in wnids)])
        odd_classes = _classes_without_images(wnids, listed, folder)

    listed = listed.drop_duplicates("file").rename(columns={"wnid": "label"})
    listed = listed.assign(image_id=listed["file"].map(image_id_of))
    listed = listed.sort_values("image_id", ignore_index=True)[["image_id", "file", "label"]]
    images, findings = find_images(folder, listed, TableCache(enabled=cache))
    unlisted = images["image_id"][~images["file"].isin(boxes["file"])]
    findings += findings_of(Kind.NO_ANNOTATION, unlisted, "no line in the boxes of its class")
    boxes = boxes.assign(image=pd.Index(images["file"]).get_indexer(boxes["file"]))
    return assemble(
        "tiny_imagenet",
        images.assign(annotated_width=SIDE, annotated_height=SIDE),
        boxes[boxes["image"] >= 0],
        class_table(_read_words(root / "words.txt", wnids)),
        findings + odd_classes,
        convention=INCLUSIVE,
        source=f"split {split!r} of {root}",
    )


def _read_wnids(path: Path) -> list[str]:
    """The wnids of the classes, in the file's order."""
    wnids = read_columns(path, ("wnid",), key="wnid")["wnid"].tolist()
    for line, wnid in enumerate(wnids, start=1):
        if not WNID.fullmatch(wnid):  # the wnid becomes the name of a folder
            raise malformed(path, line, "a wnid, n and 8 digits", wnid)
    return wnids


def _read_words(path: Path, wnids: list[str]) -> dict[str, str]:
    """The words of the classes, by wnid; the file holds the words of all synsets of WordNet."""
    words = dict(zip(wnids, wnids, strict=True))
    table = read_columns(path, ("wnid", "words"), separator="\t", optional=True)
    table = table[table["wnid"].isin(wnids)]
    return words | dict(zip(table["wnid"], table["words"], strict=True))


def _read_train(folder: Path, wnid: str) -> pd.DataFrame:
    """The boxes of a class's training images: file, wnid and the corners; none without a file."""
    path = folder / wnid / f"{wnid}_boxes.txt"
    boxes = read_columns(path, ("file", *CORNERS), numbers=4, separator="\t", optional=True)
    return boxes.assign(file=f"{wnid}/images/" + boxes["file"], wnid=wnid)


def _images_of(folder: Path, wnid: str) -> pd.DataFrame:
    """The files in the folder of a class's training images: file, wnid."""
    images = folder / wnid / "images"
    if not data_files.is_dir(images):
        return pd.DataFrame({"file": [], "wnid": []}, dtype="str")
    files = scan(images, IMAGE_SUFFIXES, nested=False, wanted=())["file"]
    return pd.DataFrame({"file": f"{wnid}/images/" + files, "wnid": wnid}, dtype="str")


def _classes_without_images(wnids: list[str], listed: pd.DataFrame, folder: Path) -> list[Finding]:
    """Findings of the classes of wnids.txt that have neither an image nor a box."""
    present = set(listed["wnid"])
    lacking = [wnid for wnid in wnids if wnid not in present]
    return [
        Finding(Kind.MISSING_FILE, "", f"no image and no box of class {wnid} in {folder / wnid}")
        for wnid in lacking
    ]
