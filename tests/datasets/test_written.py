"""A data set that is written and read back is the same, in every format that holds it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loader_worlds import WORLDS, World, picture, put
from pycocotools.coco import COCO

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.coco import coco
from wsol_bench.datasets.table import table
from wsol_bench.datasets.voc import voc
from wsol_bench.datasets.written import require_target, write_dataset
from wsol_bench.errors import ConfigError

BOXES = [world for world in WORLDS if "masks" not in world.name and world.name != "openimages"]
each_suffix = pytest.mark.parametrize("suffix", ["csv", "parquet"])


def read_back(loaded: Dataset, path: Path) -> tuple[Dataset, list[str]]:
    *said, how = write_dataset(loaded, path)
    assert how.startswith("To read it: dataset: {name: table, ")
    classes = path.with_name(f"{path.stem}.classes.csv")
    images = None
    if "images: " in how:
        images = Path(how.partition("images: ")[2].rstrip("}").partition(",")[0].strip('"'))
    found = table(
        path=path,
        convention="half_open",
        images=images,
        classes=classes if classes.is_file() else None,
        cache=False,
    )
    return found, said


@each_suffix
@pytest.mark.parametrize("world", BOXES, ids=lambda world: world.name)
def test_what_any_loader_reads_comes_back(world: World, suffix: str, tmp_path: Path) -> None:
    world.write(tmp_path / "root", world.stems, world.suffix)
    loaded = world.load(tmp_path / "root")
    found, _ = read_back(loaded, tmp_path / f"boxes.{suffix}")
    assert found.fingerprint == loaded.fingerprint
    assert found.findings == ()
    assert found.classes.equals(loaded.classes)
    columns = ["image_id", "path", "height", "width", "label", "blacklisted", "n_boxes"]
    assert found.images[columns].equals(loaded.images[columns])


@pytest.mark.parametrize("world", BOXES, ids=lambda world: world.name)
def test_coco_holds_the_same_boxes(world: World, tmp_path: Path) -> None:
    world.write(tmp_path / "root", world.stems, world.suffix)
    loaded = world.load(tmp_path / "root")
    path = tmp_path / "instances.json"
    how = list(write_dataset(loaded, path))[-1]
    images = how.partition("images: ")[2].rstrip("}") or None
    found = coco(annotations=path, images=Path(images) if images else None, cache=False)
    columns = ["path", "height", "width", "label", "n_boxes"]
    assert found.images[columns].equals(loaded.images[columns])
    assert found.boxes.tolist() == loaded.boxes.tolist()
    assert found.box_labels.tolist() == loaded.box_labels.tolist()
    assert found.classes["wnid"].equals(loaded.classes["wnid"])
    assert found.findings == ()


@pytest.fixture
def several(tmp_path: Path) -> Dataset:
    """Two images, of which one has two classes, one is blacklisted and one held out."""
    root = tmp_path / "voc"
    for stem in ("a", "b"):
        picture(root / f"JPEGImages/{stem}.jpg")
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>2</ymin><xmax>20</xmax>"
            "<ymax>9.5</ymax></bndbox></object>"
            for name, x in [("jay", 3), ("finch", 4)][: 2 if stem == "a" else 1]
        )
        put(root / f"Annotations/{stem}.xml", f"<annotation>{objects}</annotation>")
    put(root / "ImageSets/Main/val.txt", "a\nb\n")
    loaded = voc(root=root, cache=False)
    assert loaded.images["image_id"].tolist() == ["a/finch", "a/jay", "b/jay"]
    flags = {"blacklisted": [True, False, False], "held_out": [False, True, False]}
    labels = np.array(["finch", "finch", "jay"], object)  # a box of another class than the label
    return replace(loaded, images=loaded.images.assign(**flags), box_labels=labels)


@each_suffix
def test_a_table_holds_flags_ids_and_classes_of_boxes(
    several: Dataset, suffix: str, tmp_path: Path
) -> None:
    found, said = read_back(several, tmp_path / f"boxes.{suffix}")
    assert said == []
    assert found.fingerprint == several.fingerprint
    assert found.images["held_out"].tolist() == [False, True, False]


def test_a_file_that_has_no_image_files_is_read_without_them(several: Dataset, tmp_path) -> None:
    bare = replace(several, images=several.images.assign(path="", width=0, height=0))
    found, _ = read_back(bare, tmp_path / "boxes.csv")
    assert found.fingerprint == several.fingerprint
    assert found.images[["width", "path"]].to_numpy().tolist() == [[0, ""]] * 3
    list(write_dataset(bare, tmp_path / "instances.json"))
    loaded = coco(annotations=tmp_path / "instances.json", cache=False)
    assert sorted(loaded.boxes.tolist()) == sorted(several.boxes.tolist())


@given(st.lists(st.floats(0, 1e4), min_size=4, max_size=4))
def test_every_coordinate_comes_back_exactly(tmp_path_factory, corners: list[float]) -> None:
    folder = tmp_path_factory.mktemp("exact")
    put(folder / "one.csv", "image,label,x0,y0,x1,y1\n1,cat,0,0,9,9\n")
    loaded = table(path=folder / "one.csv", convention="half_open", cache=False)
    x, y, w, h = corners
    box = np.array([[x, y, x + w + 2, y + h + 2]])
    found, _ = read_back(replace(loaded, boxes=box), folder / "boxes.csv")
    assert found.boxes.tolist() == box.tolist()


def test_cocos_own_reader_finds_the_boxes(several: Dataset, tmp_path: Path, capsys) -> None:
    path = tmp_path / "instances.json"
    said = list(write_dataset(several, path))
    coco = COCO(str(path))
    capsys.readouterr()
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    assert list(names.values()) == ["finch", "jay"]
    files = {image["id"]: image for image in coco.loadImgs(coco.getImgIds())}
    assert [(one["file_name"], one["width"], one["height"]) for one in files.values()] == [
        ("a.jpg", 40, 30),
        ("b.jpg", 40, 30),
    ]
    found = [
        (files[one["image_id"]]["file_name"], names[one["category_id"]], one["bbox"], one["area"])
        for one in coco.loadAnns(coco.getAnnIds())
    ]
    assert found == [
        ("a.jpg", "finch", [3, 1, 17, 8.5], 17 * 8.5),
        ("a.jpg", "finch", [2, 1, 18, 8.5], 18 * 8.5),
        ("b.jpg", "jay", [2, 1, 18, 8.5], 18 * 8.5),
    ]
    *said, how = said
    assert said == [
        f"Not written, since COCO has no place for it: {what}."
        for what in (
            "1 labels of images with boxes of other classes, which become samples of these classes",
            "1 marks of the blacklist",
            "1 marks of held-out images",
            "3 image ids, in whose place stands <file_name>/<class>",
        )
    ]
    assert how.startswith(f"To read it: dataset: {{name: coco, annotations: {path}, images: ")


def test_masks_are_said_to_be_missing(tmp_path: Path) -> None:
    world = next(world for world in WORLDS if world.name == "openimages")
    world.write(tmp_path / "root", world.stems, world.suffix)
    first, *_ = write_dataset(world.load(tmp_path / "root"), tmp_path / "boxes.csv")
    assert first == "Not written: the masks of 4 images; the file holds boxes only."


def test_no_box_is_lost_that_two_samples_share(several: Dataset, tmp_path: Path) -> None:
    twice = replace(several, boxes=np.tile(several.boxes[:1], (3, 1)))
    list(write_dataset(twice, tmp_path / "instances.json"))
    content = json.loads((tmp_path / "instances.json").read_text())
    boxes = [(one["image_id"], one["category_id"]) for one in content["annotations"]]
    assert boxes == [(1, 1), (2, 2)]


def test_a_target_is_a_new_file_of_a_known_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends with \.parquet or \.csv .* found '\.txt'"):
        require_target(tmp_path / "boxes.txt", force=True)
    path = put(tmp_path / "boxes.csv", "")
    with pytest.raises(ConfigError, match=r"boxes\.csv exists; .* --force"):
        require_target(path, force=False)
    require_target(path, force=True)
