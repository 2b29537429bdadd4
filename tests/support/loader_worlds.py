"""A small data set in the real format of every loader: four images of two classes, five boxes.

The tests of the loaders' contract disturb one thing in such a folder, for every loader in the same
way. All images are 40 x 30, and ``BOXES`` are the half-open boxes that every loader must find.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from wsol_bench.datasets import Dataset, datasets

WIDTH, HEIGHT = 40, 30
BOXES = [
    [(1, 2, 11, 22)],
    [(2, 2, 12, 22)],
    [(3, 2, 13, 22), (0, 0, 40, 30)],
    [(4, 2, 14, 22)],
]
# With these a devkit's files number the images, also if one is missing.
OFFICIAL = tuple(f"ILSVRC2012_val_{number:08}" for number in range(1, 5))
WNIDS = ("n01440764", "n02012849")
NAMES = ("finch", "jay")
FORMATS = {
    "JPEG": "JPEG", "jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF",
    "tif": "TIFF",
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """A data set of one loader.

    Attributes:
        name: name of the loader and of the layout.
        write: writes the files: root, stems of the image files, their extension.
        options: the loader's options, from the root.
        image_id: id of an image of a class (0 or 1), from the stem and the extension.
        image: path of an image file in the root, in the same way; "" if there are no image files.
        suffix: the usual extension of the image files.
        annotation: path of the XML file of an image, or of the file with a line for it.
        begin: beginning of the image's line, by its number (from 1), if it has a line.
        required: lists that must be there, and must not be empty.
        optional: lists that may be missing or empty.
        stems: the usual stems of the image files.
    """

    name: str
    write: Callable[[Path, Sequence[str], str], None]
    options: Callable[[Path], dict[str, Any]]
    image_id: str
    image: str
    suffix: str
    annotation: str
    begin: str = ""
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    stems: tuple[str, ...] = ("img_1", "img_2", "img_3", "img_4")

    def load(self, root: Path) -> Dataset:
        """The data set, read from the files and not from the cache."""
        return datasets.get(self.name.partition(",")[0])(**self.options(root), cache=False)

    def place(self, pattern: str, index: int, stem: str, suffix: str) -> str:
        """A path, id or beginning of a line of an image."""
        kind = index // 2
        return pattern.format(
            stem=stem, suffix=suffix, wnid=WNIDS[kind], name=NAMES[kind], kind=kind + 1,
            number=index + 1,
        )  # fmt: skip


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def picture(
    path: Path,
    *,
    format: str | None = None,
    mode: str = "RGB",
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Path:
    """An image of noise, most of whose bytes are pixels; of the size of the image it replaces."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        with Image.open(path) as replaced:
            size = replaced.size
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    format = format or FORMATS[path.suffix[1:]]
    Image.fromarray(pixels).convert(mode).save(path, format=format)
    return path


def _pictures(
    root: Path,
    pattern: str,
    stems: Sequence[str],
    suffix: str,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> None:
    for index, stem in enumerate(stems):
        kind = index // 2
        place = pattern.format(stem=stem, suffix=suffix, wnid=WNIDS[kind], name=NAMES[kind])
        picture(root / place, size=size)


def _xml(path: Path, name: str, boxes: Sequence[Sequence[int]], first: int) -> None:
    objects = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x0 + first}</xmin>"
        f"<ymin>{y0 + first}</ymin><xmax>{x1 - 1 + first}</xmax><ymax>{y1 - 1 + first}</ymax>"
        "</bndbox></object>\n"
        for x0, y0, x1, y1 in boxes
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    put(path, f"<annotation>\n<filename>%s</filename>\n{size}\n{objects}</annotation>\n")


def _inclusive(box: Sequence[int], separator: str) -> str:
    x0, y0, x1, y1 = box
    return separator.join(map(str, (x0, y0, x1 - 1, y1 - 1)))


def _solution(path: Path, stems: Sequence[str]) -> None:
    lines = []
    for index, (stem, boxes) in enumerate(zip(stems, BOXES, strict=True)):
        groups = [f"{WNIDS[index // 2]} {_inclusive(box, ' ')}" for box in boxes]
        lines.append(f"{stem},{' '.join(groups)} \n")
    put(path, "ImageId,PredictionString\n" + "".join(lines))


def _mapping(path: Path) -> None:
    put(path, f"{WNIDS[0]} house finch, linnet\n{WNIDS[1]} jay\n")


def _kaggle(root: Path, stems: Sequence[str], suffix: str) -> None:
    _pictures(root, "ILSVRC/Data/CLS-LOC/val/{stem}.{suffix}", stems, suffix)
    for index, stem in enumerate(stems):
        path = root / f"ILSVRC/Annotations/CLS-LOC/val/{stem}.xml"
        _xml(path, WNIDS[index // 2], BOXES[index], 0)
    lines = [f"{stem} {number}\n" for number, stem in enumerate(stems, start=1)]
    put(root / "ILSVRC/ImageSets/CLS-LOC/val.txt", "".join(lines))
    _mapping(root / "LOC_synset_mapping.txt")
    _solution(root / "LOC_val_solution.csv", stems)


def _devkit(folder: Path, stems: Sequence[str]) -> None:
    order = sorted(range(4), key=lambda index: stems[index])
    put(folder / "ILSVRC2012_validation_ground_truth.txt",
        "".join(f"{(449, 3)[index // 2]}\n" for index in order))  # fmt: skip
    put(folder / "ILSVRC2014_clsloc_validation_blacklist.txt", "1\n")
    put(folder / "synsets.csv",
        f'ilsvrc2012_id,wnid,sorted_index,words\n449,{WNIDS[0]},0,"house finch, linnet"\n'
        f"3,{WNIDS[1]},1,jay\n")  # fmt: skip


def _tars(root: Path, stems: Sequence[str], suffix: str) -> None:
    _pictures(root, "ILSVRC2012_img_val/{stem}.{suffix}", stems, suffix)
    for index, stem in enumerate(stems):
        _xml(root / f"ILSVRC2012_bbox_val_v3/val/{stem}.xml", WNIDS[index // 2], BOXES[index], 0)
    _devkit(root / "ILSVRC2012_devkit_t12/data", stems)


def _torchvision(root: Path, stems: Sequence[str], suffix: str) -> None:
    _pictures(root, "val/{wnid}/{stem}.{suffix}", stems, suffix)
    for index, stem in enumerate(stems):
        _xml(root / f"annotations/{stem}.xml", WNIDS[index // 2], BOXES[index], 0)


def _annotations_only(root: Path, stems: Sequence[str], suffix: str) -> None:
    _solution(root / "LOC_val_solution.csv", stems)
    rows = [f"{stem}.{suffix},{WIDTH},{HEIGHT}\n" for stem in stems]
    put(root / "image_sizes.csv", "file,width,height\n" + "".join(rows))
    _devkit(root, stems)


def _tiny(root: Path, stems: Sequence[str], suffix: str) -> None:
    put(root / "wnids.txt", f"{WNIDS[1]}\n{WNIDS[0]}\n")
    put(root / "words.txt", f"{WNIDS[0]}\thouse finch, linnet\n{WNIDS[1]}\tjay\n")
    _pictures(root, "val/images/{stem}.{suffix}", stems, suffix, (64, 64))
    _pictures(root, "train/{wnid}/images/{stem}.{suffix}", stems, suffix, (64, 64))
    lines: dict[str, list[str]] = {"val": [], WNIDS[0]: [], WNIDS[1]: []}
    for index, stem in enumerate(stems):
        for box in BOXES[index]:
            wnid, corners = WNIDS[index // 2], _inclusive(box, "\t")
            lines["val"].append(f"{stem}.{suffix}\t{wnid}\t{corners}\n")
            lines[wnid].append(f"{stem}.{suffix}\t{corners}\n")
    put(root / "val/val_annotations.txt", "".join(lines["val"]))
    for wnid in WNIDS:
        put(root / f"train/{wnid}/{wnid}_boxes.txt", "".join(lines[wnid]))


def _cub(root: Path, stems: Sequence[str], suffix: str) -> None:
    _pictures(root, "images/{name}/{stem}.{suffix}", stems, suffix)
    columns = {
        "classes": [f"{number} {name}" for number, name in enumerate(NAMES, start=1)],
        "images": [f"{i + 1} {NAMES[i // 2]}/{stem}.{suffix}" for i, stem in enumerate(stems)],
        "image_class_labels": [f"{i + 1} {i // 2 + 1}" for i in range(4)],
        "train_test_split": [f"{i + 1} 0" for i in range(4)],
        "bounding_boxes": [
            f"{i + 1} {x0:.1f} {y0:.1f} {x1 - x0:.1f} {y1 - y0:.1f}"
            for i in range(4)
            for x0, y0, x1, y1 in BOXES[i][:1]
        ],
    }
    for name, rows in columns.items():
        put(root / f"{name}.txt", "".join(f"{row}\n" for row in rows))


def _voc(root: Path, stems: Sequence[str], suffix: str) -> None:
    _pictures(root, "JPEGImages/{stem}.{suffix}", stems, suffix)
    for index, stem in enumerate(stems):
        _xml(root / f"Annotations/{stem}.xml", NAMES[index // 2], BOXES[index], 1)
    put(root / "ImageSets/Main/val.txt", "".join(f"{stem}\n" for stem in stems))


def _coco(root: Path, stems: Sequence[str], suffix: str) -> None:
    _pictures(root, "val2017/{stem}.{suffix}", stems, suffix)
    images = [
        {"id": 10 * index, "file_name": f"{stem}.{suffix}", "width": WIDTH, "height": HEIGHT}
        for index, stem in enumerate(stems)
    ]
    annotations = [
        {
            "id": number,
            "image_id": 10 * index,
            "category_id": 7 + index // 2,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "iscrowd": 0,
            "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
        }
        for number, (index, (x0, y0, x1, y1)) in enumerate(
            (index, box) for index, boxes in enumerate(BOXES) for box in boxes
        )
    ]
    categories = [{"id": 7 + kind, "name": name} for kind, name in enumerate(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    put(root / "annotations/instances_val2017.json", text)


def _yolo(root: Path, stems: Sequence[str], suffix: str) -> None:
    _pictures(root, "images/val/{stem}.{suffix}", stems, suffix)
    put(root / "data.yaml", f"val: images/val\nnames: [{', '.join(NAMES)}]\n")
    for index, stem in enumerate(stems):
        lines = [
            f"{index // 2} {(x0 + x1) / 2 / WIDTH:.6f} {(y0 + y1) / 2 / HEIGHT:.6f} "
            f"{(x1 - x0) / WIDTH:.6f} {(y1 - y0) / HEIGHT:.6f}\n"
            for x0, y0, x1, y1 in BOXES[index]
        ]
        put(root / f"labels/val/{stem}.txt", "".join(lines))


def _photographs(root: Path, stems: Sequence[str], suffix: str) -> None:
    _pictures(root, "{stem}.{suffix}", stems, suffix)
    for index, stem in enumerate(stems):
        _xml(root / f"{stem}.xml", NAMES[index // 2], BOXES[index], 1)


def _rows(stems: Sequence[str], suffix: str) -> pd.DataFrame:
    rows = [
        (f"{NAMES[index // 2]}/{stem}.{suffix}", NAMES[index // 2], *box)
        for index, stem in enumerate(stems)
        for box in BOXES[index]
    ]
    return pd.DataFrame(rows, columns=["image", "label", "x0", "y0", "x1", "y1"])


def _table(root: Path, stems: Sequence[str], suffix: str) -> None:
    _pictures(root, "{name}/{stem}.{suffix}", stems, suffix)
    _rows(stems, suffix).to_csv(root / "boxes.csv", index=False)


def _parquet(root: Path, stems: Sequence[str], suffix: str) -> None:
    _pictures(root, "{name}/{stem}.{suffix}", stems, suffix)
    _rows(stems, suffix).to_parquet(root / "boxes.parquet", index=False)


def _metadata(root: Path, stems: Sequence[str], suffix: str, *, masks: bool) -> None:
    ids = [f"test/{NAMES[index // 2]}/{stem}.{suffix}" for index, stem in enumerate(stems)]
    _pictures(root, "dataset/OpenImages/test/{name}/{stem}.{suffix}", stems, suffix)
    folder = root / "metadata/OpenImages/test"
    put(folder / "image_ids.txt", "".join(f"{name}\n" for name in ids))
    labels = [f"{name},{index // 2}\n" for index, name in enumerate(ids)]
    put(folder / "class_labels.txt", "".join(labels))
    put(folder / "image_sizes.txt", "".join(f"{name},{WIDTH},{HEIGHT}\n" for name in ids))
    lines = []
    for index, (name, stem) in enumerate(zip(ids, stems, strict=True)):
        for number, box in enumerate(BOXES[index]):
            mask = f"test/{NAMES[index // 2]}/{stem}_m{number}.png"
            lines.append(f"{name},{mask},\n" if masks else f"{name},{_inclusive(box, ',')}\n")
            if masks:
                picture(root / "dataset/OpenImages" / mask, mode="L")
    put(folder / "localization.txt", "".join(lines))


def _boxes(root: Path, stems: Sequence[str], suffix: str) -> None:
    _metadata(root, stems, suffix, masks=False)


def _masks(root: Path, stems: Sequence[str], suffix: str) -> None:
    _metadata(root, stems, suffix, masks=True)


_METADATA: dict[str, Any] = {
    "options": lambda root: {
        "metadata": root / "metadata/OpenImages/test",
        "images": root / "dataset/OpenImages",
    },
    "image_id": "test/{name}/{stem}.{suffix}",
    "image": "dataset/OpenImages/test/{name}/{stem}.{suffix}",
    "suffix": "jpg",
    "annotation": "metadata/OpenImages/test/localization.txt",
    "begin": "test/{name}/{stem}.{suffix},",
    "required": (
        "metadata/OpenImages/test/image_ids.txt",
        "metadata/OpenImages/test/class_labels.txt",
    ),
    "optional": (
        "metadata/OpenImages/test/image_sizes.txt",
        "metadata/OpenImages/test/localization.txt",
    ),
}
_DEVKIT_LISTS = (
    "{}ILSVRC2012_validation_ground_truth.txt",
    "{}ILSVRC2014_clsloc_validation_blacklist.txt",
    "{}synsets.csv",
)
_KAGGLE_LISTS = ("ILSVRC/ImageSets/CLS-LOC/val.txt", "LOC_synset_mapping.txt")

WORLDS = [
    World("imagenet, kaggle, XML", _kaggle, lambda root: {"root": root}, "{stem}",
          "ILSVRC/Data/CLS-LOC/val/{stem}.{suffix}", "JPEG",
          "ILSVRC/Annotations/CLS-LOC/val/{stem}.xml", optional=_KAGGLE_LISTS),
    World("imagenet, kaggle, CSV", _kaggle, lambda root: {"root": root, "boxes": "csv"}, "{stem}",
          "ILSVRC/Data/CLS-LOC/val/{stem}.{suffix}", "JPEG", "LOC_val_solution.csv", "{stem},",
          required=("LOC_val_solution.csv",), optional=_KAGGLE_LISTS),
    World("imagenet, tars", _tars, lambda root: {"root": root}, "{stem}",
          "ILSVRC2012_img_val/{stem}.{suffix}", "JPEG", "ILSVRC2012_bbox_val_v3/val/{stem}.xml",
          optional=tuple(name.format("ILSVRC2012_devkit_t12/data/") for name in _DEVKIT_LISTS),
          stems=OFFICIAL),
    World("imagenet, torchvision", _torchvision, lambda root: {"root": root}, "{stem}",
          "val/{wnid}/{stem}.{suffix}", "JPEG", "annotations/{stem}.xml"),
    World("imagenet, annotations only", _annotations_only, lambda root: {"root": root}, "{stem}",
          "", "JPEG", "LOC_val_solution.csv", "{stem},", required=("LOC_val_solution.csv",),
          optional=("image_sizes.csv", *(name.format("") for name in _DEVKIT_LISTS)),
          stems=OFFICIAL),
    World("tiny_imagenet, val", _tiny, lambda root: {"root": root}, "{stem}",
          "val/images/{stem}.{suffix}", "JPEG", "val/val_annotations.txt", "{stem}.",
          required=("wnids.txt", "val/val_annotations.txt"), optional=("words.txt",)),
    World("tiny_imagenet, train", _tiny, lambda root: {"root": root, "split": "train"}, "{stem}",
          "train/{wnid}/images/{stem}.{suffix}", "JPEG", "train/{wnid}/{wnid}_boxes.txt",
          "{stem}.", required=("wnids.txt",),
          optional=("words.txt", f"train/{WNIDS[0]}/{WNIDS[0]}_boxes.txt")),
    World("cub", _cub, lambda root: {"root": root}, "{name}/{stem}",
          "images/{name}/{stem}.{suffix}", "jpg", "bounding_boxes.txt", "{number} ",
          required=tuple(f"{name}.txt" for name in ("classes", "images", "image_class_labels",
                                                    "train_test_split", "bounding_boxes"))),
    World("voc", _voc, lambda root: {"root": root}, "{stem}/{name}",
          "JPEGImages/{stem}.{suffix}", "jpg", "Annotations/{stem}.xml",
          required=("ImageSets/Main/val.txt",)),
    World("voc, photographs", _photographs, lambda root: {"root": root}, "{stem}/{name}",
          "{stem}.{suffix}", "jpg", "{stem}.xml"),
    World("coco", _coco,
          lambda root: {"annotations": root / "annotations/instances_val2017.json"},
          "{stem}.{suffix}/{name}", "val2017/{stem}.{suffix}", "jpg",
          "annotations/instances_val2017.json",
          required=("annotations/instances_val2017.json",)),
    World("yolo", _yolo, lambda root: {"root": root}, "{stem}/{name}",
          "images/val/{stem}.{suffix}", "jpg", "labels/val/{stem}.txt"),
    World("table, CSV", _table,
          lambda root: {"path": root / "boxes.csv", "images": root, "convention": "half_open"},
          "{name}/{stem}.{suffix}", "{name}/{stem}.{suffix}", "jpg", "boxes.csv",
          "{name}/{stem}.{suffix},", required=("boxes.csv",)),
    World("table, Parquet", _parquet,
          lambda root: {"path": root / "boxes.parquet", "images": root, "convention": "half_open"},
          "{name}/{stem}.{suffix}", "{name}/{stem}.{suffix}", "jpg", "",
          required=("boxes.parquet",)),
    World("wsol_metadata, boxes", _boxes, **_METADATA),
    World("wsol_metadata, masks", _masks, **_METADATA),
    World("openimages", _masks, **(_METADATA | {"options": lambda root: {"root": root}})),
]  # fmt: skip
