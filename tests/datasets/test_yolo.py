"""YOLO's label files in its layouts; boxes are solved by hand, and compared with integer ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.datasets import Dataset, datasets
from wsol_bench.datasets.yolo import yolo
from wsol_bench.errors import DatasetError

WIDTH, HEIGHT = 50, 40
NAMES = "names:\n  0: person\n  1: traffic light\n  2: dog\n"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def photograph(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[274] = orientation
    Image.new("RGB", size).save(path, exif=exif)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def line(number: int, box: tuple[float, ...], size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    """A line with six digits, as LabelImg and Ultralytics write them."""
    (x0, y0, x1, y1), (width, height) = box, size
    numbers = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height
    return f"{number} {' '.join(f'{value:.6f}' for value in numbers)}\n"


A = line(2, (1, 2, 50, 40)) + line(0, (0, 0, 7, 9)) + line(2, (3, 3, 10, 11))
B = line(1, (49, 39, 50, 40))
BOXES = {
    "a/dog": [[1, 2, 50, 40], [3, 3, 10, 11]],
    "a/person": [[0, 0, 7, 9]],
    "b/traffic light": [[49, 39, 50, 40]],
}


def fill(root: Path, images: str = "images/val", labels: str = "labels/val") -> Path:
    for name, text in (("a", A), ("b", B)):
        photograph(root / images / f"{name}.jpg")
        write(root / labels / f"{name}.txt", text)
    return root


def boxes_of(loaded: Dataset) -> dict[str, list[list[float]]]:
    return {image.image_id: image.boxes.tolist() for image in loaded}


LAYOUTS = {
    "Ultralytics": (
        "images/val", "labels/val", f"path: ../datasets/x\ntrain: none\nval: images/val\n{NAMES}",
    ),
    "an absolute path of another machine": (
        "images/val", "labels/val", f"path: /home/her/x\nval: images/val\n{NAMES}",
    ),
    "Roboflow": (
        "valid/images", "valid/labels",
        "train: ../train/images\nval: ../valid/images\n\nnc: 3\n"
        "names: ['person', 'traffic light', 'dog']\n",
    ),
    "the key validation": ("v/images", "v/labels", f"validation: v/images\n{NAMES}"),
    "a folder in the YAML": ("d/images/x", "d/labels/x", f"path: d\nval: images/x\n{NAMES}"),
    "no split in the YAML": ("images/val", "labels/val", NAMES),
    "folders, and no split": ("images", "labels", NAMES),
    "beside the images": (".", ".", NAMES),
    "in a folder images, beside them": ("images", "images", NAMES),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_usual_layouts_are_read_and_recognized(tmp_path: Path, layout: str) -> None:
    images, labels, text = LAYOUTS[layout]
    fill(tmp_path, images, labels)
    write(tmp_path / "data.yaml", text)
    loaded = yolo(root=tmp_path)
    assert boxes_of(loaded) == BOXES  # to the last bit: rounding is undone
    assert loaded.findings == ()
    assert loaded.classes["wnid"].tolist() == ["dog", "person", "traffic light"]
    assert boxes_of(yolo(root=tmp_path / "data.yaml")) == BOXES
    look = datasets.get("yolo").recognize
    assert look is not None
    found = look(tmp_path)
    assert found.fits
    split = found.options.get("split")
    assert found.options == {"root": str(tmp_path)} | ({"split": split} if split else {})
    assert boxes_of(yolo(root=tmp_path, split=split)) == BOXES


@pytest.mark.parametrize("place", ["classes.txt", "labels/classes.txt", "labels/val/classes.txt"])
def test_names_stand_in_classes_txt_as_well(tmp_path: Path, place: str) -> None:
    fill(tmp_path)
    write(tmp_path / place, "person\ntraffic light\r\ndog\n\n")
    assert boxes_of(yolo(root=tmp_path)) == BOXES


def test_without_names_classes_are_numbers(tmp_path: Path) -> None:
    loaded = yolo(root=fill(tmp_path))
    assert list(boxes_of(loaded)) == ["a/0", "a/2", "b/1"]
    write(tmp_path / "labels/val/b.txt", line(11, (0, 0, 9, 9)))
    assert list(boxes_of(yolo(root=tmp_path))) == ["a/00", "a/02", "b/11"]


def test_a_list_of_images_and_several_folders(tmp_path: Path) -> None:
    fill(tmp_path, "images/x", "labels/x")
    photograph(tmp_path / "images/y/c.png")
    write(tmp_path / "labels/y/c.txt", B)
    write(tmp_path / "lists/val.txt", "images/x/b.jpg\n./../images/x/a.jpg\nimages/x/gone.jpg\n")
    write(tmp_path / "data.yaml", f"val: lists/val.txt\ntest: [images/y, images/x]\n{NAMES}")
    loaded = yolo(root=tmp_path)
    assert list(boxes_of(loaded)) == [f"images/x/{name}" for name in
                                      ("b/traffic light", "a/dog", "a/person")]  # fmt: skip
    assert [finding[:2] for finding in loaded.findings] == [("missing_file", "images/x/gone")]
    assert next(iter(boxes_of(yolo(root=tmp_path, split="test")))) == "images/y/c/traffic light"
    write(tmp_path / "lists/val.txt", "../../../etc/a.jpg\n")
    with pytest.raises(DatasetError, match=r"val\.txt, line 1: expected the path of an image"):
        yolo(root=tmp_path)


def test_named_folders(tmp_path: Path) -> None:
    fill(tmp_path, "photos", "elsewhere/texts")
    write(tmp_path / "classes.txt", "person\ntraffic light\ndog\n")
    photos, texts = tmp_path / "photos", tmp_path / "elsewhere/texts"
    assert boxes_of(yolo(root=tmp_path, images=photos, labels=texts)) == BOXES
    fill(tmp_path / "set")
    write(tmp_path / "set/classes.txt", "person\ntraffic light\ndog\n")
    assert boxes_of(yolo(root=tmp_path / "set", images=tmp_path / "set/images/val")) == BOXES


def test_another_split_is_never_taken_for_the_one_asked_for(tmp_path: Path) -> None:
    fill(tmp_path, "images/train", "labels/train")
    for text in (NAMES, f"train: images/train\n{NAMES}"):
        write(tmp_path / "data.yaml", text)
        for split in (None, "val", "test"):
            with pytest.raises(DatasetError, match=r"^split: expected images of the split"):
                yolo(root=tmp_path, split=split)
        assert boxes_of(yolo(root=tmp_path, split="train")) == BOXES
    write(tmp_path / "data.yaml", f"val: ../../other\n{NAMES}")
    with pytest.raises(DatasetError, match=r"val of data\.yaml: expected a folder or list below"):
        yolo(root=tmp_path)


def test_images_without_labels_are_findings(tmp_path: Path) -> None:
    fill(tmp_path)
    write(tmp_path / "data.yaml", NAMES)
    photograph(tmp_path / "images/val/c.jpg")
    photograph(tmp_path / "images/val/d.jpg")
    write(tmp_path / "labels/val/d.txt", "\n")
    loaded = yolo(root=tmp_path)
    assert boxes_of(loaded) == BOXES
    assert [finding[:2] for finding in loaded.findings] == [("no_label", "c"), ("no_label", "d")]
    assert "no label file" in loaded.findings[0].detail


def test_an_outline_becomes_the_box_around_it(tmp_path: Path) -> None:
    fill(tmp_path)
    write(tmp_path / "labels/val/b.txt", "0 0.2 0.25 0.4 0.5 0.3 0.75\n" + line(0, (1, 1, 2, 2)))
    loaded = yolo(root=tmp_path)
    assert boxes_of(loaded)["b/0"] == [[10, 10, 20, 30], [1, 1, 2, 2]]


def test_key_points_stand_behind_the_box(tmp_path: Path) -> None:
    fill(tmp_path)
    for name, text in (("a", A), ("b", B)):
        lines = [f"{row} 0.1 0.2 0 0.3 0.4 0" for row in text.splitlines()]
        write(tmp_path / f"labels/val/{name}.txt", "\n".join(lines))
    write(tmp_path / "data.yaml", f"kpt_shape: [2, 3]\n{NAMES}")
    assert boxes_of(yolo(root=tmp_path)) == BOXES
    write(tmp_path / "data.yaml", f"kpt_shape: [3, 3]\n{NAMES}")
    with pytest.raises(DatasetError, match=r"a\.txt, line 1: expected 14 columns, by kpt_shape"):
        yolo(root=tmp_path)
    write(tmp_path / "data.yaml", f"kpt_shape: many\n{NAMES}")
    with pytest.raises(DatasetError, match=r"kpt_shape of data\.yaml: expected two numbers"):
        yolo(root=tmp_path)


def test_shares_are_of_the_image_as_it_is_shown(tmp_path: Path) -> None:
    # Stored 50 x 40, shown 40 x 50 by orientation 6: its upper half is the stored left half.
    photograph(tmp_path / "a.jpg", orientation=6)
    write(tmp_path / "a.txt", line(0, (0, 0, 40, 25), (40, 50)))
    loaded = yolo(root=tmp_path)
    assert boxes_of(loaded) == {"a/0": [[0, 0, 25, 40]]}
    assert [finding.kind for finding in loaded.findings] == ["rotated"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.5 0.5 0.2 0.2 0.9", "a sixth column makes it a prediction"),
        ("0 0.5 0.5 0.2", "expected 'class cx cy w h', or the outline"),
        ("0 0.5 0.5 0.2 0.2 0.2 0.2 0.2", "or the outline"),
        ("0 25 20 10 10", "expected shares of the image's sides, from 0 to 1"),
        ("0 0.5 0.5 -0.2 0.2", "expected shares"),
        ("0 0.1 0.1 0.2 0.2 0.3 1.2", "expected shares"),
        ("0 0.5 0.5 nan 0.2", "five numbers"),
        ("0 0.5 0.5 1e999 0.2", "five numbers"),
        ("dog 0.5 0.5 0.2 0.2", "five numbers"),
        ("0.5 0.5 0.5 0.2 0.2", "the number of a class"),
        ("-1 0.5 0.5 0.2 0.2", "the number of a class"),
        ("1e30 0.5 0.5 0.2 0.2", "the number of a class"),
        ("3 0.5 0.5 0.2 0.2", "expected a class from 0 to 2, as many as have names"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    fill(tmp_path)
    write(tmp_path / "data.yaml", NAMES)
    write(tmp_path / "labels/val/b.txt", f"{B}\n{text}\n")
    with pytest.raises(DatasetError, match=rf"b\.txt, line 3: .*{message}"):
        yolo(root=tmp_path)


def test_rounding_at_the_edge_is_no_error_and_more_is_a_finding(tmp_path: Path) -> None:
    fill(tmp_path)
    write(tmp_path / "labels/val/b.txt", "0 0.5000005 0.5 1.000001 1\n0 0.99 0.5 0.04 0.5\n")
    loaded = yolo(root=tmp_path)
    assert boxes_of(loaded)["b/0"] == [[0, 0, 50, 40], [48.5, 10, 50, 30]]
    assert [finding.kind for finding in loaded.findings] == ["odd_box"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("names: 7", "expected a list or a mapping of names, found 7"),
        ("names: {0: a, 2: b}", "numbers of classes from 0 to 1"),
        ("names: {zero: a}", "numbers of classes from 0 to 0"),
        ("names: [yes, no]", "text as the name of class 0, found True; put it in quotes"),
        ("names: [a, [b]]", "text as the name of class 1"),
        ("names: [a, a]", "each name once, found 'a' for the classes 0 and 1"),
        ("names: []", "expected a list or a mapping of names"),
        ("- 7", "expected a mapping with names, train and val, found a list"),
        ("names: [", "data.yaml"),
    ],
)
def test_malformed_names_are_an_error(tmp_path: Path, names: str, message: str) -> None:
    fill(tmp_path)
    write(tmp_path / "data.yaml", names)
    with pytest.raises(DatasetError, match=message):
        yolo(root=tmp_path)


def test_edges_are_put_back_on_whole_pixels_at_any_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    boxes, lines = [], ""
    for _ in range(500):
        x0, x1 = sorted(rng.choice(6001, 2, replace=False))
        y0, y1 = sorted(rng.choice(4001, 2, replace=False))
        boxes.append([x0, y0, x1, y1])
        lines += line(0, (x0, y0, x1, y1), (6000, 4000))
    photograph(tmp_path / "a.jpg", (6000, 4000))
    write(tmp_path / "a.txt", lines)
    assert boxes_of(yolo(root=tmp_path)) == {"a/0": boxes}
