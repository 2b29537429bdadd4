"""ImageNet-S in its own layout: R + 256 G is the number of a class, 1000 is ignored."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.datasets import datasets
from wsol_bench.datasets.imagenet_s import imagenet_s
from wsol_bench.errors import DatasetError
from wsol_bench.images.masks import load_mask

WIDTH, HEIGHT = 50, 40
WNIDS = [f"n{number:08}" for number in range(10_000, 10_300)]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def mask(*regions: tuple[int, tuple[int, int, int, int]]) -> np.ndarray:
    numbers = np.zeros((HEIGHT, WIDTH), np.int64)
    for number, (x0, y0, x1, y1) in regions:
        numbers[y0:y1, x0:x1] = number
    return numbers


MASKS = {
    # Classes 1 and 300 (= 44 + 256), ignored pixels, and class 256 alone.
    "ILSVRC2012_val_00000001": (
        0, mask((1, (0, 0, 9, 9)), (300, (20, 5, 40, 30)), (1000, (9, 0, 12, 9))),
    ),
    "ILSVRC2012_val_00000002": (255, mask((256, (5, 5, 50, 40)))),
    "ILSVRC2012_val_00000003": (7, mask((9, (1, 1, 2, 2)))),  # not the folder's class, 8
    "ILSVRC2012_val_00000004": (7, mask((1000, (1, 1, 2, 2)))),
    "ILSVRC2012_val_00000005": (7, mask((8, (1, 1, 2, 2)), (301, (5, 5, 6, 6)))),
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "ImageNetS300"
    for wnid in WNIDS:
        (root / "validation-segmentation" / wnid).mkdir(parents=True)
        # Every class has a mask, whose image is not there.
        Image.new("RGB", (2, 2)).save(root / f"validation-segmentation/{wnid}/other_{wnid}.png")
    for stem, (number, numbers) in MASKS.items():
        colors = np.stack([numbers % 256, numbers // 256, 0 * numbers], axis=2).astype(np.uint8)
        Image.fromarray(colors).save(root / f"validation-segmentation/{WNIDS[number]}/{stem}.png")
        image = root / f"validation/{WNIDS[number]}/{stem}.JPEG"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(image, format="JPEG")
    return root


def official(path: Path) -> np.ndarray:
    """The numbers as the official evaluation's data.py computes them."""
    colors = np.array(Image.open(path)).astype(int)
    return np.asarray(colors[:, :, 1] * 256 + colors[:, :, 0])


SAMPLES = [
    f"ILSVRC2012_val_00000001/{WNIDS[0]}",
    f"ILSVRC2012_val_00000001/{WNIDS[299]}",
    f"ILSVRC2012_val_00000002/{WNIDS[255]}",
    f"ILSVRC2012_val_00000003/{WNIDS[8]}",
    f"ILSVRC2012_val_00000005/{WNIDS[7]}",
]


def test_a_sample_for_each_class_in_a_mask(root: Path) -> None:
    loaded = imagenet_s(root=root)
    assert loaded.images["image_id"].tolist() == SAMPLES
    assert loaded.classes["wnid"].tolist() == WNIDS
    assert not len(loaded.boxes)
    found = {finding[:2] for finding in loaded.findings if not finding.image_id.startswith("other")}
    assert found == {
        ("label_mismatch", "ILSVRC2012_val_00000003"),
        ("no_label", "ILSVRC2012_val_00000004"),
        ("unknown_class", "ILSVRC2012_val_00000005"),
    }
    assert sum(finding.kind == "missing_file" for finding in loaded.findings) == len(WNIDS)


def test_masks_are_those_of_the_official_evaluation(root: Path) -> None:
    for sample in imagenet_s(root=root):
        stem, wnid = sample.image_id.split("/")
        [path] = root.glob(f"validation-segmentation/*/{stem}.png")
        numbers = official(path)
        expected = np.where(numbers == 1000, 255, numbers == WNIDS.index(wnid) + 1)
        assert sample.mask is not None
        np.testing.assert_array_equal(load_mask(sample.mask, (HEIGHT, WIDTH)), expected)


def test_images_may_lie_in_ilsvrcs_folders_which_differ_for_some(root: Path) -> None:
    (root / "validation").rename(root / "moved")
    with pytest.raises(DatasetError, match="images: no such file or folder"):
        imagenet_s(root=root)
    flat = root.parent / "ILSVRC/val"
    flat.mkdir(parents=True)
    for index, path in enumerate(sorted(root.glob("moved/*/*.JPEG"))):
        place = flat / (f"n99999999/{path.name}" if index % 2 else path.name)
        place.parent.mkdir(exist_ok=True)
        path.rename(place)
    assert imagenet_s(root=root, images=flat).images["image_id"].tolist() == SAMPLES


def test_a_missing_folder_of_a_class_never_shifts_the_numbers(root: Path) -> None:
    folder = root / f"validation-segmentation/{WNIDS[100]}"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"all 50, 300 or 919 classes.*found 299; name the list"):
        imagenet_s(root=root)
    names = root.parent / "ImageNetS_categories_im300.txt"
    names.write_text("\n".join(WNIDS))
    assert imagenet_s(root=root, classes=names).images["image_id"].tolist() == SAMPLES


def test_words_come_from_a_file_of_all_of_imagenet(root: Path) -> None:
    mapping = root.parent / "LOC_synset_mapping.txt"
    mapping.write_text("".join(f"{wnid} words of {wnid}\n" for wnid in [*WNIDS, "n99999999"]))
    loaded = imagenet_s(root=root, classes=mapping)
    assert loaded.classes["wnid"].tolist() == WNIDS
    assert loaded.words[WNIDS[3]] == f"words of {WNIDS[3]}"


def test_is_recognized(root: Path) -> None:
    look = datasets.get("imagenet_s").recognize
    assert look is not None
    found = look(root)
    assert found.fits and found.masks and found.wnids
    assert found.options == {"root": str(root), "split": "validation"}
    assert not look(root.parent).fits
