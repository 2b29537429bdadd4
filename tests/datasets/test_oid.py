"""Open Images in the real files' format: shares, groups, identifiers of classes."""

from pathlib import Path

import pytest
from loader_worlds import put
from PIL import Image

from wsol_bench.datasets.oid import oid
from wsol_bench.errors import DatasetError

HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
    "IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
)
# XMin and XMax come before YMin and YMax.
BOXES = HEADER + (
    "0001eeaf4aed83f9,xclick,/m/0cmf2,1,0.25,0.75,0.5,1,0,0,0,0,0\n"
    "0001eeaf4aed83f9,xclick,/m/0cmf2,1,0,0.5,0,0.5,0,0,1,0,0\n"
    "000595fe6fee6369,xclick,/m/02wbm,1,0,1,0,1,-1,-1,1,-1,-1\n"
    "000595fe6fee6369,xclick,/m/01g317,1,0.125,0.25,0.25,0.5,1,0,-1,0,0\n"
    "00075905539074f2,xclick,/m/02wbm,1,0,1,0,1,0,0,1,0,0\n"
)  # fmt: skip
CLASSES = '/m/01g317,Person\n/m/02wbm,"Food, of any kind"\n/m/0cmf2,Airplane\n/m/011k07,Tortoise\n'


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "oid"
    put(root / "validation-annotations-bbox.csv", BOXES)
    put(root / "class-descriptions-boxable.csv", CLASSES)
    for name in ("0001eeaf4aed83f9", "000595fe6fee6369", "00075905539074f2"):
        (root / "validation").mkdir(exist_ok=True)
        Image.new("RGB", (64, 128)).save(root / f"validation/{name}.jpg")
    return root


def test_a_sample_is_a_class_of_an_image_without_its_groups(root: Path) -> None:
    loaded = oid(root=root)
    assert {sample.image_id: sample.boxes.tolist() for sample in loaded} == {
        "0001eeaf4aed83f9//m/0cmf2": [[16, 64, 48, 128]],
        "000595fe6fee6369//m/01g317": [[8, 32, 16, 64]],
    }
    assert loaded.words == {
        "/m/011k07": "Tortoise",
        "/m/01g317": "Person",
        "/m/02wbm": "Food, of any kind",
        "/m/0cmf2": "Airplane",
    }
    assert [(finding.kind, finding.image_id) for finding in loaded.findings] == [
        ("no_label", "000595fe6fee6369//m/02wbm"),
        ("no_label", "00075905539074f2//m/02wbm"),
    ]


def test_groups_may_count(root: Path) -> None:
    loaded = oid(root=root, groups=True)
    assert len(loaded) == 4
    assert len(loaded.boxes) == 5
    assert loaded.findings == ()


def test_images_that_were_not_downloaded_are_missing(root: Path) -> None:
    (root / "validation/000595fe6fee6369.jpg").unlink()
    loaded = oid(root=root)
    assert loaded.images["image_id"].tolist() == ["0001eeaf4aed83f9//m/0cmf2"]
    assert ("missing_file", "000595fe6fee6369") in [finding[:2] for finding in loaded.findings]


def test_without_words_the_classes_are_those_of_the_boxes(root: Path) -> None:
    (root / "class-descriptions-boxable.csv").unlink()
    assert set(oid(root=root).words) == {"/m/01g317", "/m/02wbm", "/m/0cmf2"}


def test_a_class_without_words_is_unknown(root: Path) -> None:
    put(root / "class-descriptions-boxable.csv", "LabelName,DisplayName\n/m/0cmf2,Airplane\n")
    loaded = oid(root=root)
    assert len(loaded) == 1
    assert [finding.kind for finding in loaded.findings].count("unknown_class") == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("IsGroupOf", "Group", "line 1: expected the columns ImageID,LabelName,XMin,XMax"),
        ("0.25,0.75", "0.25,much", "line 2: expected four numbers, and 0, 1 or -1"),
        ("0.25,0.75", "0.25,nan", "line 2: expected four numbers, and 0, 1 or -1"),
        ("0.25,0.75,0.5,1,0,0,0,", "0.25,0.75,0.5,1,0,0,2,", "line 2: expected four numbers"),
        ("0001eeaf4aed83f9,xclick,/m/0cmf2,1,0.25", "../secret,xclick,/m/0cmf2,1,0.25",
         "line 2: expected an image id, found '../secret'"),
        (",0,0,0,0,0\n", ",0,0,0,0\n", "line 2: expected 13 columns"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_an_error(root: Path, old: str, new: str, message: str) -> None:
    put(root / "validation-annotations-bbox.csv", BOXES.replace(old, new, 1))
    with pytest.raises(DatasetError) as caught:
        oid(root=root)
    assert message in str(caught.value)


def test_what_is_missing_is_told(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected a file \*test-annotations-bbox\.csv"):
        oid(root=root, split="test")
    (root / "validation").rename(root / "pictures")
    with pytest.raises(DatasetError, match="name another with the option images"):
        oid(root=root)
    assert len(oid(root=root, images=root / "pictures")) == 2
