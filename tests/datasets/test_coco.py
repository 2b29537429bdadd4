"""COCO's instances JSON: torchvision's reader and pycocotools are the oracles."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from torchvision.datasets import CocoDetection

from wsol_bench.datasets import Dataset, datasets
from wsol_bench.datasets.coco import coco
from wsol_bench.errors import DatasetError
from wsol_bench.images.masks import load_mask

# pycocotools' decoder gives its arrays in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WIDTH, HEIGHT = 40, 30
SQUARE = [2, 3, 12, 3, 12, 13, 2, 13]
TRIANGLE = [20, 1, 39.5, 1.25, 30, 29]
CROWD = {"size": [HEIGHT, WIDTH], "counts": [300, 600, 300]}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def content() -> dict[str, Any]:
    """Ids with gaps, in no order; crowds; an image without annotations; a box outside."""

    def thing(number: int, image: int, category: int, box: list[float], **other: Any) -> Any:
        keys = {"id": number, "image_id": image, "category_id": category, "bbox": box}
        return {**keys, "area": 1, "iscrowd": 0, "segmentation": [SQUARE], **other}

    return {
        "info": {"year": 2017},
        "licenses": [],
        "images": [
            {"id": 900, "file_name": "b.jpg", "width": WIDTH, "height": HEIGHT, "license": 1},
            {"id": 7, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT},
            {"id": 8, "file_name": "empty.jpg", "width": WIDTH, "height": HEIGHT},
            {"id": 9, "file_name": "crowd.jpg", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": [
            thing(50, 7, 90, [2, 3, 10, 10]),
            thing(51, 900, 1, [20, 1, 19.5, 28], segmentation=[TRIANGLE, SQUARE]),
            thing(52, 900, 90, [0, 0, 40, 30]),
            thing(3, 900, 1, [2.25, 3, 10, 10.5]),
            thing(4, 900, 1, [0, 10, 40, 10], iscrowd=1, segmentation=CROWD),
            thing(5, 9, 1, [0, 10, 40, 10], iscrowd=1, segmentation=CROWD),
        ],
        "categories": [
            {"id": 90, "name": "toothbrush", "supercategory": "indoor"},
            {"id": 1, "name": "person", "supercategory": "person"},
            {"id": 13, "name": "stop sign", "supercategory": "outdoor"},
        ],
    }


def write(root: Path, edited: dict[str, Any], pictures: bool = True) -> Path:
    """The usual layout: annotations/instances_val2017.json and val2017."""
    path = root / "annotations/instances_val2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(edited))
    (root / "val2017").mkdir(exist_ok=True)
    for image in edited["images"] if pictures else ():
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / "val2017" / Path(image["file_name"]).name)
    return path


def boxes_of(loaded: Dataset) -> dict[str, list[list[float]]]:
    return {image.image_id: image.boxes.tolist() for image in loaded}


def kinds(loaded: Dataset) -> list[tuple[str, str]]:
    return sorted((str(finding.kind), finding.image_id) for finding in loaded.findings)


ODD = [("no_label", "crowd.jpg/person"), ("no_label", "empty.jpg")]


def test_a_sample_for_each_class_in_the_order_of_the_file(tmp_path: Path) -> None:
    loaded = coco(annotations=write(tmp_path, content()))
    assert boxes_of(loaded) == {
        "b.jpg/person": [[20, 1, 39.5, 29], [2.25, 3, 12.25, 13.5]],
        "b.jpg/toothbrush": [[0, 0, 40, 30]],
        "a.jpg/toothbrush": [[2, 3, 12, 13]],
    }
    assert list(boxes_of(loaded)) == ["b.jpg/person", "b.jpg/toothbrush", "a.jpg/toothbrush"]
    assert loaded.images["label"].tolist() == ["person", "toothbrush", "toothbrush"]
    assert loaded.classes["wnid"].tolist() == ["person", "stop sign", "toothbrush"]
    assert kinds(loaded) == ODD
    assert not loaded.masks
    assert {Path(path).parent for path in loaded.images["path"]} == {tmp_path / "val2017"}


def test_boxes_and_classes_are_those_that_torchvision_reads(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    names = {entry["id"]: entry["name"] for entry in content()["categories"]}
    expected = defaultdict(list)
    for index, image_id in enumerate((official := CocoDetection(tmp_path / "val2017", path)).ids):
        file = official.coco.loadImgs(image_id)[0]["file_name"]
        for thing in official[index][1]:
            x, y, width, height = thing["bbox"]
            if not thing["iscrowd"]:
                key = f"{file}/{names[thing['category_id']]}"
                expected[key].append([x, y, x + width, y + height])
    assert boxes_of(coco(annotations=path)) == expected


def test_masks_are_those_of_cocos_own_tools(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    loaded = coco(annotations=path, masks=True)
    official = COCO(str(path))
    names = {entry["id"]: entry["name"] for entry in content()["categories"]}
    assert len(loaded) == 3
    for sample in loaded:
        file, name = sample.image_id.split("/")
        [image_id] = [one["id"] for one in official.dataset["images"] if one["file_name"] == file]
        things = [
            thing
            for thing in official.loadAnns(official.getAnnIds(image_id))
            if names[thing["category_id"]] == name
        ]
        expected = np.zeros((HEIGHT, WIDTH), int)
        for value, flag in ((255, 1), (1, 0)):
            for thing in things:
                if thing["iscrowd"] == flag:
                    expected[official.annToMask(thing) > 0] = value
        assert sample.mask is not None
        np.testing.assert_array_equal(load_mask(sample.mask, (HEIGHT, WIDTH)), expected)
    assert boxes_of(loaded) == boxes_of(coco(annotations=path))
    assert kinds(loaded) == ODD
    # From the cache the masks are the same.
    assert coco(annotations=path, masks=True).fingerprint == loaded.fingerprint


def test_an_object_without_a_segmentation_leaves_its_sample_out(tmp_path: Path) -> None:
    edited = content()
    edited["annotations"][0]["segmentation"] = []
    del edited["annotations"][3]["segmentation"]
    edited["annotations"][2]["segmentation"] = [[1, 1, 1, 1, 1, 1]]
    edited["annotations"][5] = {**edited["annotations"][2], "image_id": 9, "id": 99}
    edited["annotations"][5]["segmentation"] = [SQUARE]
    loaded = coco(annotations=write(tmp_path, edited), masks=True)
    assert list(boxes_of(loaded)) == ["crowd.jpg/toothbrush"]
    assert kinds(loaded) == [
        ("bad_annotation", "a.jpg/toothbrush"),
        ("bad_annotation", "b.jpg/person"),
        ("bad_annotation", "b.jpg/toothbrush"),
        ("no_label", "empty.jpg"),
    ]


def test_without_image_files_there_are_annotations_only(tmp_path: Path) -> None:
    loaded = coco(annotations=write(tmp_path, content(), pictures=False))
    assert loaded.images["path"].tolist() == [""] * 3
    assert loaded.images["width"].tolist() == [WIDTH] * 3


def test_boxes_follow_an_image_that_was_resized(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    Image.new("RGB", (2 * WIDTH, 2 * HEIGHT)).save(tmp_path / "val2017/a.jpg")
    loaded = coco(annotations=path)
    assert boxes_of(loaded)["a.jpg/toothbrush"] == [[4, 6, 24, 26]]
    assert ("size_mismatch", "a.jpg/toothbrush") in kinds(loaded)


def test_odd_entries_are_findings(tmp_path: Path) -> None:
    edited = content()
    edited["annotations"][0]["image_id"] = 12345
    edited["annotations"][1]["category_id"] = 2
    del edited["annotations"][2]["bbox"]
    edited["annotations"][3]["bbox"] = [30, 20, 50, 5]
    loaded = coco(annotations=write(tmp_path, edited))
    assert boxes_of(loaded) == {"b.jpg/person": [[30, 20, 40, 25]]}
    assert kinds(loaded) == [
        ("bad_annotation", ""),
        ("no_label", "a.jpg"),
        ("no_label", "b.jpg/toothbrush"),
        *ODD,
        ("odd_box", "b.jpg"),
        ("odd_box", "b.jpg/person"),
        ("unknown_class", "b.jpg"),
    ]


def test_a_name_may_lie_in_a_folder_and_missing_images_are_said(tmp_path: Path) -> None:
    edited = content()
    edited["images"][1]["file_name"] = "sub/a.jpg"
    path = write(tmp_path, edited)
    (tmp_path / "val2017/sub").mkdir()
    (tmp_path / "val2017/a.jpg").rename(tmp_path / "val2017/sub/a.jpg")
    (tmp_path / "val2017/b.jpg").unlink()
    loaded = coco(annotations=path, images=tmp_path / "val2017")
    assert list(boxes_of(loaded)) == ["sub/a.jpg/toothbrush"]
    assert ("missing_file", "b.jpg") in kinds(loaded)


WRONG: dict[str, tuple[list[Any], Any, str]] = {
    "text as an id": (["images", 1, "id"], "7", r"images\[1\].*'id' to be a whole number"),
    "true as an id": (["annotations", 0, "image_id"], True, r"annotations\[0\] \(id '50'\)"),
    "a float as an id": (["annotations", 0, "category_id"], 1.5, "whole number, found 1.5"),
    "a huge id": (["annotations", 0, "category_id"], 10**30, "whole number"),
    "no id": (["images", 0], {"file_name": "x.jpg"}, "'id' to be a whole number, found none"),
    "an id twice": (["images", 0, "id"], 7, r"images\[1\] \(id '7'\): expected each 'id' once"),
    "a file twice": (["images", 0, "file_name"], "a.jpg", "each 'file_name' once"),
    "a path that leaves": (["images", 0, "file_name"], "../a.jpg", "stays below"),
    "an absolute path": (["images", 0, "file_name"], "/etc/a.jpg", "stays below"),
    "a number as a file": (["images", 0, "file_name"], 7, "'file_name' to be a path"),
    "a text as a size": (["images", 0, "width"], "40", "whole number of pixels"),
    "a negative size": (["images", 0, "width"], -40, "whole number of pixels"),
    "a huge size": (["images", 0, "width"], 10**9, "whole number of pixels"),
    "a name twice": (["categories", 0, "name"], " person ", "each 'name' once"),
    "no name": (["categories", 0, "name"], " ", "the name of a class"),
    "a text in a box": (["annotations", 0, "bbox", 2], "10", "four numbers of pixels"),
    "true in a box": (["annotations", 0, "bbox", 2], True, "four numbers of pixels"),
    "a huge number in a box": (["annotations", 0, "bbox", 2], 1e300, "four numbers of pixels"),
    "a box of three": (["annotations", 0, "bbox"], [1, 2, 3], "four numbers of pixels"),
    "a box as a mapping": (["annotations", 0, "bbox"], {"x": 1}, "four numbers of pixels"),
    "a crowd of two": (["annotations", 0, "iscrowd"], 2, "'iscrowd' to be 0 or 1"),
    "a list in place of an entry": (["annotations", 0], [1], r"annotations\[0\]: expected an obj"),
    "no list": (["annotations"], {}, "expected a list 'annotations', found a dict"),
}


@pytest.mark.parametrize("odd", WRONG)
def test_a_value_of_another_kind_is_an_error_that_names_it(tmp_path: Path, odd: str) -> None:
    keys, value, message = WRONG[odd]
    edited = content()
    place: Any = edited
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path = write(tmp_path, edited, pictures=False)
    with pytest.raises(DatasetError, match=message) as caught:
        coco(annotations=path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON"),
        ("{", "expected JSON"),
        ("[" * 100_000, "nested too deeply|expected JSON"),
        ('[{"image_id": 1, "score": 0.5}]', "is it a file of results"),
        ("7", "found a int"),
        ('{"images": [], "annotations": [], "type": "captions"}', "expected a list 'categories'"),
        ('{"images": [{"id": NaN}], "annotations": [], "categories": []}', "the number NaN"),
        ('{"images": [{"id": Infinity}]}', "the number Infinity"),
        ('{"images": ' + "9" * 5000 + "}", "expected JSON"),
        ('{"images": [], "annotations": [], "categories": []}', "every image .* is left out"),
    ],
    ids=lambda text: text[:30],
)
def test_another_file_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "instances.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        coco(annotations=path)


def test_a_malformed_segmentation_names_its_entry(tmp_path: Path) -> None:
    edited = content()
    edited["annotations"][1]["segmentation"] = [[1, 2, "3"]]
    path = write(tmp_path, edited)
    with pytest.raises(DatasetError, match=r"annotations\[1\] \(id '51'\): 'segmentation'"):
        coco(annotations=path, masks=True)
    assert len(coco(annotations=path)) == 3  # boxes do not need it


@pytest.mark.parametrize(
    ("json_file", "folder"),
    [
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/instances_default.json", "images/default"),  # CVAT
        ("train/_annotations.coco.json", "train"),  # Roboflow
        ("result.json", "images"),  # Label Studio
        ("labels.json", "data"),  # FiftyOne
    ],
)
def test_the_usual_layouts_are_recognized(tmp_path: Path, json_file: str, folder: str) -> None:
    (tmp_path / json_file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / json_file).write_text(json.dumps(content()))
    for image in content()["images"]:
        path = tmp_path / folder / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    look = datasets.get("coco").recognize
    assert look is not None
    found = look(tmp_path)
    assert found.fits and found.images
    assert found.options == {
        "annotations": str(tmp_path / json_file),
        "images": str(tmp_path / folder),
    }
    by_itself = coco(annotations=tmp_path / json_file)
    assert by_itself.images["path"].iloc[0] == str(tmp_path / folder / "b.jpg")


def test_other_json_is_not_recognized(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name": "x", "images": []}')
    (tmp_path / "captions_val2017.json").write_text(json.dumps(content()))
    look = datasets.get("coco").recognize
    assert look is not None and not look(tmp_path).fits
