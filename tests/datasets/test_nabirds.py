"""NABirds through ``cub``: hyphenated ids, numbers of classes with gaps, four-digit folders."""

from pathlib import Path

import pytest
from loader_worlds import picture, put
from packed import pack

from wsol_bench.datasets.cub import cub
from wsol_bench.errors import DatasetError
from wsol_bench.runs.experiment_config import load_dataset

# id: class, training, x y width height, image's size in sizes.txt
IMAGES = {
    "0000139e-21dc-4d0c-bfe1-4cae3c85c829": (817, 0, "3 5 20 10", (40, 30)),
    "0000d9fc-4e02-4c06-a0af-a55cfb16b12b": (860, 0, "0 0 80 60", (80, 60)),
    "00019306-9d83-4334-b255-a447742edce3": (317, 1, "1 2 3 4", (40, 30)),
}


def name_of(uuid: str) -> str:
    return f"{IMAGES[uuid][0]:04}/{uuid.replace('-', '')}"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "nabirds"
    lines: dict[str, list[str]] = {
        "images": [f"{uuid} {name_of(uuid)}.jpg" for uuid in IMAGES],
        "image_class_labels": [f"{uuid} {row[0]}" for uuid, row in IMAGES.items()],
        "train_test_split": [f"{uuid} {row[1]}" for uuid, row in IMAGES.items()],
        "bounding_boxes": [f"{uuid} {row[2]}" for uuid, row in IMAGES.items()],
        "sizes": [f"{uuid} {row[3][0]} {row[3][1]}" for uuid, row in IMAGES.items()],
        "classes": ["0 Birds", "1 Ducks, Geese, and Swans", "317 Bufflehead (Female/immature male)",
                    "817 Oak Titmouse", "860 Rock Wren", "1010 Dark-eyed Junco"],
        "hierarchy": ["1 0", "317 1", "817 0", "860 0", "1010 0"],
    }  # fmt: skip
    for name, rows in lines.items():
        put(root / f"{name}.txt", "".join(f"{row}\n" for row in rows))
    for uuid in IMAGES:
        picture(root / f"images/{name_of(uuid)}.jpg")
    return root


def test_the_test_split(root: Path) -> None:
    loaded = cub(root=root)
    first, second = map(name_of, list(IMAGES)[:2])
    assert {image.image_id: image.boxes.tolist() for image in loaded} == {
        first: [[3, 5, 23, 15]],
        second: [[0, 0, 40, 30]],  # the image was shrunk since its box was drawn
    }
    assert [finding[:2] for finding in loaded.findings] == [("size_mismatch", second)]
    assert loaded.images["label"].tolist() == ["0817", "0860"]
    assert cub(root=root.parent).fingerprint == loaded.fingerprint


def test_the_classes_are_those_of_images_of_all_splits(root: Path) -> None:
    words = {
        "0317": "Bufflehead (Female/immature male)",
        "0817": "Oak Titmouse",
        "0860": "Rock Wren",
    }
    assert cub(root=root).words == words
    loaded = cub(root=root, split="train")
    assert loaded.words == words
    assert loaded.boxes.tolist() == [[1, 2, 4, 6]]


def test_a_size_that_is_none_is_unknown(root: Path) -> None:
    text = (root / "sizes.txt").read_text()
    put(root / "sizes.txt", text.replace("80 60", "-1 0"))
    loaded = cub(root=root)
    assert loaded.boxes.tolist() == [[3, 5, 23, 15], [0, 0, 40, 30]]
    assert {finding.kind for finding in loaded.findings} == {"odd_box"}


def test_a_missing_file_is_told(root: Path) -> None:
    (root / "bounding_boxes.txt").unlink()
    with pytest.raises(DatasetError, match=r"bounding_boxes\.txt; .*nabirds exists and holds"):
        cub(root=root)


def test_init_recognizes_the_folder(root: Path) -> None:
    look = cub.recognize(root)
    assert look.fits
    assert look.options == {"root": str(root), "split": "test"}
    loaded = load_dataset({"name": "cub", **look.options})
    assert loaded.fingerprint == cub(root=root).fingerprint
    assert not cub.recognize(root / "nowhere").fits


def test_an_archive_is_read_in_place(root: Path, tmp_path: Path) -> None:
    packed = cub(root=pack(root, tmp_path / "packed.zip"))
    assert packed.fingerprint == cub(root=root).fingerprint
