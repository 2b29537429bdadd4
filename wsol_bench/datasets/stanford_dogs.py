"""The data set Stanford Dogs: 120 breeds of ImageNet, with boxes."""

from pathlib import Path
from typing import Literal

import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, assemble, class_table, find_images
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.findings import Kind, findings_of
from wsol_bench.datasets.folders import look_up, scan
from wsol_bench.datasets.formats.file_names import image_id_of, stays_below
from wsol_bench.datasets.formats.matlab import read_mat, texts_of
from wsol_bench.datasets.formats.xml import read_xml_files, xml_findings
from wsol_bench.datasets.recognition import Recognition, n_files
from wsol_bench.datasets.synsets import WNID, resolve_names
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import INCLUSIVE

__all__ = ["stanford_dogs"]


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: images, annotations, and the list of the test images if it is there."""
    needs = {name: data_files.is_dir(root / name) for name in ("Images", "Annotation")}
    needs["Images/<wnid>-<name>"] = bool(data_files.matching(root, "Images/n[0-9]*-*"))
    seen = []
    if all(needs.values()):
        seen = [f"{n_files(root / 'Images', IMAGE_SUFFIXES)} images in Images"]
    split = "test" if data_files.is_file(root / "test_list.mat") else "all"
    return Recognition(needs, {"root": str(root), "split": split}, tuple(seen), wnids=True)


@dataset("stanford_dogs", recognize=_recognize)
def stanford_dogs(
    *, root: Path, split: Literal["train", "test", "all"] = "test", cache: bool = True
) -> Dataset:
    """Stanford Dogs (Khosla et al., 2011): 120 breeds of ImageNet, one box a dog.

    The split "test" has 8,580 images, "train" 12,000. Images are sorted by id
    (``n02085620_10074``); a class is the wnid in the name of its folder, so that networks of
    ImageNet know it. Corners are 0-based and inclusive, as those of ImageNet, from which they come.

    Args:
        root: folder with Images, Annotation, and train_list.mat and test_list.mat (lists.tar).
        split: "test", "train", or "all" images in the folders, without a list.
        cache: whether to keep the parsed XML files and the sizes from image headers for the next
            load.

    Raises:
        DatasetError: a folder or list is missing or malformed, or every image is left out.
    """
    root = existing(root, "root")
    folder = existing(root / "Images", "root")
    annotations = existing(root / "Annotation", "root")
    classes = _classes(folder)
    files = _in_folders(folder) if split == "all" else _in_list(root / f"{split}_list.mat")
    tables = TableCache(enabled=cache)
    listed = pd.DataFrame({"file": sorted(files)}, dtype="str")
    listed["image_id"] = listed["file"].map(image_id_of).astype("str")
    listed["label"] = listed["file"].str.partition("-")[0]
    listed = listed.sort_values("image_id", ignore_index=True)
    images, findings = find_images(folder, listed, tables)
    # The file of an image has the image's name without its extension.
    names = images["file"].str.replace(r"\.[^./]+$", "", regex=True)
    found = look_up(annotations, names.tolist())
    xml = found.assign(stem=images["image_id"], folder="")[found["bytes"] >= 0]
    objects = read_xml_files(annotations, xml, tables)
    findings += xml_findings(objects)
    unannotated = images["image_id"][~images["image_id"].isin(objects["image_id"])]
    findings += findings_of(Kind.NO_ANNOTATION, unannotated, "no annotation file")
    images["keep"] &= ~images["image_id"].isin(objects["image_id"][objects["error"] != ""])
    sizes = objects.drop_duplicates("image_id").set_index("image_id")
    for side in ("width", "height"):
        images[f"annotated_{side}"] = sizes[side].reindex(images["image_id"]).fillna(0).to_numpy()
    objects = objects[objects["xmin"].notna()]
    place = pd.Index(images["image_id"]).get_indexer(objects["image_id"])
    labels = images["label"].to_numpy(object)[place]
    objects = objects.assign(image=place, wnid=resolve_names(objects["name"], labels, classes))
    corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), CORNERS, strict=True))
    return assemble(
        "stanford_dogs",
        images,
        objects.rename(columns=corners),
        classes,
        findings,
        convention=INCLUSIVE,
        source=f"split {split!r} of {root}",
    )


def _classes(folder: Path) -> pd.DataFrame:
    """The table of the classes, from the names of their folders: ``n02085620-Chihuahua``."""
    words = {}
    for folder_name in data_files.names_in(folder):
        wnid, _, name = folder_name.partition("-")
        if WNID.fullmatch(wnid) and name and data_files.is_dir(folder / folder_name):
            words[wnid] = name.replace("_", " ")
    if not words:
        raise DatasetError(f"{folder}: expected folders such as n02085620-Chihuahua, found none")
    return class_table(words)


def _in_folders(folder: Path) -> list[str]:
    """The paths of all images in the classes' folders."""
    return [str(file) for file in scan(folder, IMAGE_SUFFIXES, wanted=())["file"] if "/" in file]


def _in_list(path: Path) -> list[str]:
    """The paths of the images in a list, train_list.mat or test_list.mat.

    Raises:
        DatasetError: the list is missing or malformed, or a path leaves the folder.
    """
    path = existing(path, "split")
    try:
        files = texts_of(read_mat(path, ["file_list"])["file_list"])
    except ValueError as error:
        raise DatasetError(f"{path}: file_list: {error}") from error
    for file in files:
        if not stays_below(file) or not WNID.fullmatch(file.partition("-")[0]):
            raise DatasetError(
                f"{path}: file_list: expected paths such as n02085620-Chihuahua/n02085620_1.jpg, "
                f"found {file[:80]!r}"
            )
    repeated = pd.Series(files)[pd.Series(files).duplicated()]
    if len(repeated):
        raise DatasetError(f"{path}: file_list: found {repeated.iloc[0]!r} twice")
    return files
