"""Metadata folders as wsolevaluation has them, with their images and masks."""

from pathlib import Path

from PIL import Image

from wsol_bench.datasets import Dataset

# The first lines of metadata/ILSVRC/test, and one image of several boxes.
ILSVRC = {
    "image_ids": [
        "val/ILSVRC2012_val_00000001.JPEG",
        "val/ILSVRC2012_val_00000002.JPEG",
        "val/ILSVRC2012_val_00000293.JPEG",
    ],
    "class_labels": [
        "val/ILSVRC2012_val_00000001.JPEG,2",
        "val/ILSVRC2012_val_00000002.JPEG,10",
        "val/ILSVRC2012_val_00000293.JPEG,0",
    ],
    "image_sizes": [
        "val/ILSVRC2012_val_00000001.JPEG,500,375",
        "val/ILSVRC2012_val_00000002.JPEG,500,375",
        "val/ILSVRC2012_val_00000293.JPEG,60,40",
    ],
    "localization": [
        "val/ILSVRC2012_val_00000001.JPEG,111,108,441,193",
        "val/ILSVRC2012_val_00000002.JPEG,45,49,499,162",
        "val/ILSVRC2012_val_00000002.JPEG,2,69,437,207",
        "val/ILSVRC2012_val_00000293.JPEG,0,0,59,39",
    ],
}
FIRST, SECOND, THIRD = ILSVRC["image_ids"]
MAPPING = "n01440764 tench, Tinca tinca\nn01443537 goldfish\nn01484850 great white shark\n"

# As metadata/OpenImages/test: an ignore mask in an image's first line only.
OPENIMAGES = {
    "image_ids": ["test/01226z/7af7.jpg", "test/01226z/9736.jpg", "test/0138tl/0493.jpg"],
    "class_labels": [
        "test/01226z/7af7.jpg,0",
        "test/01226z/9736.jpg,0",
        "test/0138tl/0493.jpg,1",
    ],
    "localization": [
        "test/01226z/7af7.jpg,test/01226z/7af7_m01226z_6554.png,test/01226z/7af7_ignore.png",
        "test/01226z/7af7.jpg,test/01226z/7af7_m01226z_8856.png,",
        "test/01226z/9736.jpg,test/01226z/9736_m01226z_9ad3.png,test/01226z/9736_ignore.png",
        "test/0138tl/0493.jpg,test/0138tl/0493_m0138tl_936a.png,",
    ],
}


def write(folder: Path, files: dict[str, list[str]], **changed: list[str] | None) -> Path:
    """A metadata folder; a file changed to None is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (files | changed).items():
        if lines is not None:
            (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


def picture(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)
    return path


def write_images(folder: Path) -> Path:
    for line in ILSVRC["image_sizes"]:
        name, width, height = line.split(",")
        picture(folder / name, (int(width), int(height)))
    return folder


def write_open_images(folder: Path) -> Path:
    for name in OPENIMAGES["image_ids"]:
        picture(folder / name, (32, 24))
    for line in OPENIMAGES["localization"]:
        for name in filter(None, line.split(",")[1:]):
            picture(folder / name, (32, 24), "L")
    return folder


def kinds(loaded: Dataset) -> list[tuple[str, str]]:
    return [(finding.kind, finding.image_id) for finding in loaded.findings]
