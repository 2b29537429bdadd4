"""CUB-200-2011 in the real files' format, and CUBV2 by wsolevaluation's metadata."""

from pathlib import Path

import pytest
from PIL import Image

from wsol_bench.datasets import datasets
from wsol_bench.datasets.cub import cub
from wsol_bench.datasets.wsol_metadata import wsol_metadata
from wsol_bench.errors import DatasetError

ALBATROSS, ANI, JAY = "001.Black_footed_Albatross", "002.Groove_billed_Ani", "010.Blue_Jay"
A18 = f"{ALBATROSS}/Black_Footed_Albatross_0046_18"
A09 = f"{ALBATROSS}/Black_Footed_Albatross_0005_796090"
A95 = f"{ALBATROSS}/Black_Footed_Albatross_0050_796125"
ANI1, JAY1, JAY2 = f"{ANI}/Groove_Billed_Ani_0068_1538", f"{JAY}/Blue_Jay_1", f"{JAY}/Blue_Jay_2"
# id: (image, class, training, (width, height), x y width height, half-open box)
WORLD = {
    1: (A18, 1, 0, (500, 335), "60.0 27.0 325.0 304.0", [60, 27, 385, 331]),
    7: (JAY2, 3, 1, (60, 50), "0.0 10.5 20.25 30.0", [0, 10.5, 20.25, 40.5]),
    28: (A09, 1, 0, (500, 335), "1.0 2.0 499.0 286.0", [1, 2, 500, 288]),  # to the edge
    47: (A95, 1, 0, (500, 275), "5.0 127.0 496.0 131.0", [5, 127, 500, 258]),  # beyond it
    50: (ANI1, 2, 1, (40, 40), "0.0 0.0 40.0 40.0", [0, 0, 40, 40]),
    51: (JAY1, 3, 0, (60, 50), "0.0 10.0 60.0 30.0", [0, 10, 60, 40]),
}
TEST = [A09, A18, A95, JAY1]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def picture(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path, format="JPEG")


def image_of(root: Path, image_id: str) -> Path:
    return root / "images" / f"{image_id}.jpg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "CUB_200_2011"
    write(root / "classes.txt", f"1 {ALBATROSS}\n2 {ANI}\n3 {JAY}\n")
    # Another order in every file: only the ids join them.
    items = list(WORLD.items())
    columns = {
        "images.txt": [f"{i} {row[0]}.jpg\n" for i, row in items],
        "image_class_labels.txt": [f"{i} {row[1]}\n" for i, row in reversed(items)],
        "train_test_split.txt": [f"{i} {row[2]}\n" for i, row in items[2:] + items[:2]],
        "bounding_boxes.txt": [f"{i} {row[4]}\n" for i, row in items[3:] + items[:3]],
    }
    for name, lines in columns.items():
        write(root / name, "".join(lines))
    for image, _, _, size, _, _ in WORLD.values():
        picture(image_of(root, image), size)
    return root


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_the_test_split(root: Path) -> None:
    loaded = cub(root=root)
    assert loaded.name == "cub"
    assert loaded.images["image_id"].tolist() == TEST
    by_id = {row[0]: row for row in WORLD.values()}
    for image in loaded:
        _, number, _, size, _, box = by_id[image.image_id]
        assert image.label == (ALBATROSS, ANI, JAY)[number - 1]
        assert image.box_labels == (image.label,)
        assert image.boxes.tolist() == [box]
        assert (image.width, image.height) == size
        assert image.path == image_of(root, image.image_id)
    [finding] = loaded.findings
    assert finding == (
        "odd_box",
        A95,
        "box (5, 127, 501, 258) reaches outside the image; clipped",
    )


def test_the_train_split(root: Path) -> None:
    loaded = cub(root=root, split="train")
    assert loaded.images["image_id"].tolist() == [ANI1, JAY2]
    assert loaded.boxes.tolist() == [[0, 0, 40, 40], [0, 10.5, 20.25, 40.5]]
    assert loaded.findings == ()


def test_classes_have_the_official_order(root: Path) -> None:
    assert cub(root=root).classes.to_numpy().tolist() == [
        [ALBATROSS, "Black footed Albatross", 0],
        [ANI, "Groove billed Ani", 0],
        [JAY, "Blue Jay", 0],
    ]


def test_the_folder_above_and_images_elsewhere(root: Path, tmp_path: Path) -> None:
    here = cub(root=root)
    assert cub(root=tmp_path).fingerprint == here.fingerprint
    (root / "images").rename(tmp_path / "pictures")
    elsewhere = cub(root=root, images=tmp_path / "pictures")
    assert elsewhere.fingerprint == here.fingerprint
    assert elsewhere[0].path == tmp_path / "pictures" / f"{A09}.jpg"


@pytest.mark.parametrize(
    ("box", "remark"),
    [
        # Half-open boxes of no extent have no pixel; as inclusive ones they would have.
        ("60.0 27.0 0.0 304.0", "box (60, 27, 60, 331) has no pixel in the image; dropped"),
        ("500.0 27.0 9.0 9.0", "box (500, 27, 509, 36) has no pixel in the image; dropped"),
    ],
)
def test_a_box_without_a_pixel_is_dropped(root: Path, box: str, remark: str) -> None:
    change(root / "bounding_boxes.txt", "60.0 27.0 325.0 304.0", box)
    loaded = cub(root=root)
    assert loaded.select([A18])[0].boxes.shape == (0, 4)
    findings = [finding[::2] for finding in loaded.findings if finding.image_id == A18]
    assert findings == [("odd_box", remark), ("no_box", "no box")]


def test_a_box_thinner_than_a_pixel_is_a_box(root: Path) -> None:
    change(root / "bounding_boxes.txt", "60.0 27.0 325.0 304.0", "60.0 27.0 0.5 304.0")
    assert cub(root=root).select([A18]).boxes.tolist() == [[60, 27, 60.5, 331]]


def test_odd_files(root: Path) -> None:
    image_of(root, A18).unlink()
    image_of(root, A09).write_bytes(b"")
    change(root / "bounding_boxes.txt", "51 0.0 10.0 60.0 30.0\n", "")
    change(root / "image_class_labels.txt", "47 1\n", "47 201\n")
    loaded = cub(root=root)
    assert loaded.images["image_id"].tolist() == [JAY1]
    assert [finding[:2] for finding in loaded.findings] == [
        ("unreadable_image", A09),
        ("missing_file", A18),
        ("unknown_class", A95),
        ("no_annotation", JAY1),
        ("no_box", JAY1),
    ]


def test_an_image_without_a_label_is_left_out(root: Path) -> None:
    change(root / "image_class_labels.txt", "47 1\n", "")
    loaded = cub(root=root)
    assert loaded.images["image_id"].tolist() == [A09, A18, JAY1]
    assert [finding[:2] for finding in loaded.findings] == [("no_label", A95)]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("bounding_boxes.txt", "1 60.0 27.0 325.0 304.0", "1 60.0 27.0 325.0", "with 4 numbers"),
        ("bounding_boxes.txt", "1 60.0 27.0", "1 60.0 27.0 9.0", "with 4 numbers"),
        ("bounding_boxes.txt", "325.0", "inf", "with 4 numbers"),
        ("bounding_boxes.txt", "28 1.0 2.0", "1 1.0 2.0", "each id once"),
        ("images.txt", f"7 {JAY2}.jpg", "7 ../../secret.jpg", "a file that lies below its folder"),
        ("images.txt", f"7 {JAY2}.jpg", "7", "'id file'"),
        ("classes.txt", f"3 {JAY}", f"2 {JAY}", "each class once"),
    ],
)
def test_a_wrong_line_is_an_error(root: Path, name: str, old: str, new: str, message: str) -> None:
    change(root / name, old, new)
    with pytest.raises(DatasetError, match=rf"{name}, line \d: expected ") as caught:
        cub(root=root)
    assert message in str(caught.value)


@pytest.mark.parametrize(("new", "found"), [("", "nothing"), ("47 2\n", "2")])
def test_an_image_of_no_split_is_an_error(root: Path, new: str, found: str) -> None:
    change(root / "train_test_split.txt", "47 0\n", new)
    with pytest.raises(DatasetError, match=f"expected 0 or 1 .*, found '{found}' for image 47, "):
        cub(root=root)


@pytest.mark.parametrize(
    "name", ["classes.txt", "images.txt", "bounding_boxes.txt", "train_test_split.txt"]
)
def test_a_missing_file_is_an_error(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(DatasetError, match=f"no such file or folder: .*{name}; .* holds "):
        cub(root=root)


class TestV2:
    IDS = (f"{ALBATROSS}/30107316117.jpg", f"{JAY}/934123127.jpg")

    @pytest.fixture
    def metadata(self, root: Path, tmp_path: Path) -> Path:
        folder = tmp_path / "metadata/CUB/val"
        first, second = self.IDS
        write(folder / "image_ids.txt", f"{second}\n{first}\n")
        write(folder / "class_labels.txt", f"{first},0\n{second},2\n")
        write(folder / "image_sizes.txt", f"{first},50,40\n{second},60,30\n")
        write(folder / "localization.txt", f"{first},5,6,20,30\n{second},1,2,3,4\n")
        picture(root / "images" / first, (50, 40))
        picture(root / "images" / second, (60, 30))
        return folder

    def test_it_has_the_classes_of_the_test_split(self, root: Path, metadata: Path) -> None:
        loaded = cub(root=root, split="v2", metadata=metadata)
        assert loaded.name == "cub"
        assert loaded.images["image_id"].tolist() == [self.IDS[1], self.IDS[0]]
        assert loaded.images["label"].tolist() == [JAY, ALBATROSS]
        assert loaded.box_labels.tolist() == [JAY, ALBATROSS]
        assert loaded.classes.equals(cub(root=root).classes)
        same = wsol_metadata(metadata=metadata, images=root / "images")
        assert loaded.boxes.tolist() == same.boxes.tolist()

    def test_a_class_more_is_an_error(self, root: Path, metadata: Path) -> None:
        change(metadata / "class_labels.txt", ",2\n", ",3\n")
        with pytest.raises(DatasetError, match=r"expected the 3 classes of .*, found .* 3"):
            cub(root=root, split="v2", metadata=metadata)

    @pytest.mark.parametrize("split", ["v2", "test"])
    def test_metadata_belong_to_it_alone(self, root: Path, metadata: Path, split: str) -> None:
        with pytest.raises(DatasetError, match=f"expected metadata=.*, found split='{split}'"):
            cub(root=root, split=split, metadata=metadata if split == "test" else None)


def test_it_is_found_by_its_name() -> None:
    assert datasets.get("cub") is cub
