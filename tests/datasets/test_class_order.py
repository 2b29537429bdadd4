"""The order of classes: as text, and where their numbers would give another one, it is said."""

from pathlib import Path

import pytest
from wsol_folders import picture

from wsol_bench.datasets.cub import cub
from wsol_bench.datasets.synsets import numbered_order
from wsol_bench.datasets.table import table
from wsol_bench.datasets.wsol_metadata import wsol_metadata
from wsol_bench.errors import DatasetError


@pytest.mark.parametrize(
    "by_number",
    [
        [str(number) for number in range(12)],
        ["class2", "class10"],
        ["class_2_cat", "class_10_ant"],
        ["2.Jay", "10.Ani"],
        ["2cats", "10cats"],
        ["DC-3", "DC-10"],
        ["9", "10", "a", "b"],
        ["é9", "é10"],
    ],
    ids=str,
)
def test_numbers_without_leading_zeros_have_two_orders(by_number: list[str]) -> None:
    assert sorted(by_number) != by_number
    assert numbered_order(sorted(by_number)) == by_number
    assert numbered_order(by_number[::-1]) == by_number


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["7"],
        [str(number) for number in range(10)],
        [f"{number:03}" for number in range(1000)],
        ["n00007846", "n01440764", "n12345678"],
        ["001.Black_footed_Albatross", "010.Blue_Jay", "200.Common_Yellowthroat"],
        ["aeroplane", "bicycle", "tvmonitor"],
        ["A340-200", "A340-300"],
        # Codes: ids of OpenImages, whose digits are no numbers.
        ["01226z", "0138tl", "0h23m", "0h2r6", "05r5c", "05r655"],
        ["3f9a1", "12b"],
    ],
    ids=str,
)
def test_other_names_have_one_order(names: list[str]) -> None:
    assert numbered_order(names) is None


def test_a_data_set_of_numbered_classes_is_loaded_in_the_order_of_text(tmp_path: Path) -> None:
    rows = [f"{number}.jpg,{number},0,0,5,5\n" for number in range(12)]
    path = tmp_path / "boxes.csv"
    path.write_text("image,label,x0,y0,x1,y1\n" + "".join(rows))
    loaded = table(path=path, convention="half_open")
    assert loaded.classes["wnid"].tolist() == sorted(map(str, range(12)))
    assert loaded.images["label"].tolist() == [str(number) for number in range(12)]


def test_positions_among_numbered_classes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "image_ids.txt").write_text("a.jpg\n")
    (tmp_path / "class_labels.txt").write_text("a.jpg,1\n")
    classes = tmp_path / "classes.txt"
    classes.write_text("".join(f"class{number}\n" for number in range(11)))
    with pytest.raises(
        DatasetError, match=r"found class0, class1, class10, \.\.\.; write them with"
    ):
        wsol_metadata(metadata=tmp_path, classes=classes)


def test_a_label_of_cubv2_is_a_position_in_the_list_of_classes(tmp_path: Path) -> None:
    root = tmp_path / "CUB_200_2011"
    metadata, images = root / "metadata", root / "images"
    for folder in (metadata, images):
        folder.mkdir(parents=True)
    names = [f"{number}.Bird" for number in range(1, 12)]  # as text 10.Bird comes before 2.Bird
    lines = [f"{number} {name}\n" for number, name in enumerate(names, start=1)]
    (root / "classes.txt").write_text("".join(lines))
    ids = [f"{name}.jpg" for name in names]
    (metadata / "image_ids.txt").write_text("".join(f"{name}\n" for name in ids))
    labels = [f"{name},{number}\n" for number, name in enumerate(ids)]
    (metadata / "class_labels.txt").write_text("".join(labels))
    boxes = [f"{name},0,0,5,5\n" for name in ids]
    (metadata / "localization.txt").write_text("".join(boxes))
    for name in ids:
        picture(images / name, (20, 20))
    loaded = cub(root=root, split="v2", metadata=metadata, cache=False)
    assert loaded.images["label"].tolist() == names
    assert loaded.box_labels.tolist() == names


@pytest.mark.parametrize("lines", ["polar bear\ndog\n", "polar bear\tUrsus maritimus\ndog\n"])
def test_a_class_of_two_words_is_one_class(tmp_path: Path, lines: str) -> None:
    path, classes = tmp_path / "boxes.csv", tmp_path / "classes.txt"
    path.write_text("image,label,x0,y0,x1,y1\n1.jpg,polar bear,0,0,5,5\n2.jpg,dog,0,0,5,5\n")
    classes.write_text(lines)
    loaded = table(path=path, convention="half_open", classes=classes)
    assert loaded.classes["wnid"].tolist() == ["dog", "polar bear"]
    assert loaded.images["label"].tolist() == ["polar bear", "dog"]
    assert loaded.findings == ()
