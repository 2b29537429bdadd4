"""A small ImageNet in every layout, and helpers for tests of the data set loaded from it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.io import savemat

from wsol_bench.datasets import Dataset

TENCH, BIRD, MACHINE = "n01440764", "n02012849", "n03126707"
# Two classes of the same name, as in the real set; IDs in another order than the sorted wnids.
CLASSES = {TENCH: ("tench, Tinca tinca", 449), BIRD: ("crane", 429), MACHINE: ("crane", 3)}


def name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08}"


# number: (class, (width, height), 0-based inclusive boxes)
WORLD = {
    2: (MACHINE, (50, 40), [(0, 0, 49, 39)]),
    3: (TENCH, (50, 40), [(5, 6, 20, 30), (25, 6, 49, 39)]),
    7: (BIRD, (30, 60), [(1, 2, 3, 4)]),
    10: (TENCH, (64, 48), [(10, 10, 10, 10)]),
}
LINES = 12
BLACKLIST = (3, 9)


def annotation(
    wnid: str, size: tuple[int, int] | None, boxes: list[Any], *, filename: str = "%s"
) -> str:
    shape = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    objects = "".join(
        f"<object><name>{wnid}</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for box in boxes
    )
    return f"<annotation><filename>{filename}</filename>{shape}{objects}</annotation>"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def picture(path: Path, size: tuple[int, int] = (50, 40), mode: str = "RGB", **save: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 90 if mode == "L" else None).save(path, **{"format": "JPEG", **save})
    return path


def write_images(folder: Path, *, by_class: bool = False, suffix: str = "JPEG") -> None:
    for number, (wnid, size, _) in WORLD.items():
        place = folder / wnid if by_class else folder
        picture(place / f"{name(number)}.{suffix}", size)


def write_xml(folder: Path, *, by_class: bool = False) -> None:
    for number, (wnid, size, boxes) in WORLD.items():
        place = folder / wnid if by_class else folder
        write(place / f"{name(number)}.xml", annotation(wnid, size, boxes))


def write_solution(path: Path) -> None:
    rows = [
        f"{name(number)},{' '.join(' '.join(map(str, (wnid, *box))) for box in boxes)} \n"
        for number, (wnid, _, boxes) in reversed(WORLD.items())
    ]
    write(path, "ImageId,PredictionString\n" + "".join(rows))


def write_mapping(path: Path) -> None:
    write(path, "".join(f"{wnid} {words}\n" for wnid, (words, _) in CLASSES.items()))


def write_devkit(folder: Path, *, table: str) -> None:
    ids = [CLASSES[WORLD[n][0]][1] if n in WORLD else 3 for n in range(1, LINES + 1)]
    write(folder / "ILSVRC2012_validation_ground_truth.txt", "".join(f"{n}\n" for n in ids))
    blacklist = "".join(f"{n}\n" for n in BLACKLIST)
    write(folder / "ILSVRC2014_clsloc_validation_blacklist.txt", blacklist)
    if table == "meta.mat":
        write_meta(folder / table)
    elif table:
        rows = [f'{number},{wnid},0,"{words}"\n' for wnid, (words, number) in CLASSES.items()]
        write(folder / table, "ilsvrc2012_id,wnid,sorted_index,words\n" + "".join(rows))


def write_meta(path: Path) -> None:
    fields = "ILSVRC2012_ID WNID words gloss num_children children wordnet_height num_train_images"
    inner = {"n00001740": ("entity", 1001), "n00021939": ("artifact", 1100)}
    synsets = np.zeros((len(CLASSES) + len(inner), 1), [(key, object) for key in fields.split()])
    for row, (wnid, (words, number)) in zip(synsets[:, 0], (CLASSES | inner).items(), strict=True):
        children = np.array([[1.0, 2.0]]) if wnid in inner else np.zeros((1, 0))
        row["ILSVRC2012_ID"], row["WNID"], row["words"] = float(number), wnid, words
        row["gloss"], row["num_children"], row["children"] = "gloss", children.size, children
        row["wordnet_height"], row["num_train_images"] = 0.0, 1300.0
    savemat(path, {"synsets": synsets})


def kaggle(root: Path) -> Path:
    inner = root / "ILSVRC"
    write_images(inner / "Data/CLS-LOC/val")
    write_xml(inner / "Annotations/CLS-LOC/val")
    lines = [f"{name(number)} {line}\n" for line, number in enumerate(reversed(WORLD), start=1)]
    write(inner / "ImageSets/CLS-LOC/val.txt", "".join(lines))
    write_mapping(root / "LOC_synset_mapping.txt")
    write_solution(root / "LOC_val_solution.csv")
    return root


def kaggle_inner_folder(root: Path) -> Path:
    return kaggle(root) / "ILSVRC"


def tars(root: Path, images: str = "val", xml: str = "ILSVRC2012_bbox_val_v3/val") -> Path:
    write_images(root / images)
    write_xml(root / xml)
    write_devkit(root / "ILSVRC2012_devkit_t12/data", table="meta.mat")
    return root


def torchvision(root: Path) -> Path:
    write_images(root / "val", by_class=True)
    write_xml(root / "annotations")
    return root


def annotations_only(root: Path) -> Path:
    write_solution(root / "LOC_val_solution.csv")
    rows = [f"{name(number)}.JPEG,{size[0]},{size[1]}\n" for number, (_, size, _) in WORLD.items()]
    write(root / "image_sizes.csv", "file,width,height\n" + "".join(rows))
    write_devkit(root, table="synsets.csv")
    return root


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "kaggle": kaggle,
    "kaggle, the inner folder as root": kaggle_inner_folder,
    "tars": tars,
    "tars, folders as unpacked": lambda root: tars(root, "ILSVRC2012_img_val", "bbox_val"),
    "tars, both unpacked in one folder": lambda root: tars(root, "val", "val"),
    "tars, everything flat in the root": lambda root: tars(root, "", ""),
    "tars, images in the root": lambda root: tars(root, "", "bbox/val"),
    "torchvision": torchvision,
    "annotations only": annotations_only,
}


def kinds(loaded: Dataset) -> Counter[str]:
    return Counter(finding.kind for finding in loaded.findings)


def the_finding(loaded: Dataset, kind: str) -> str:
    (finding,) = [finding for finding in loaded.findings if finding.kind == kind]
    return f"{finding.image_id}: {finding.detail}"


def xml_of(root: Path, number: int) -> Path:
    return root / f"ILSVRC/Annotations/CLS-LOC/val/{name(number)}.xml"


def image_of(root: Path, number: int) -> Path:
    return root / f"ILSVRC/Data/CLS-LOC/val/{name(number)}.JPEG"


def sample(loaded: Dataset, number: int) -> Any:
    return loaded.select([name(number)])[0]


def same(first: Dataset, second: Dataset) -> bool:
    pd.testing.assert_frame_equal(first.images, second.images)
    pd.testing.assert_frame_equal(first.classes, second.classes)
    return (
        first.findings == second.findings
        and np.array_equal(first.boxes, second.boxes)
        and first.box_labels.tolist() == second.box_labels.tolist()
    )
