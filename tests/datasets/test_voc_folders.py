"""Photographs with XML files as LabelImg writes them, in any folder, and masks of VOC's kind."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import VOCSegmentation

from wsol_bench.datasets import Dataset, datasets
from wsol_bench.datasets.voc import voc
from wsol_bench.errors import DatasetError
from wsol_bench.images.masks import load_mask

WIDTH, HEIGHT = 50, 40


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def photograph(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)


def labels(path: Path, *objects: tuple[str, tuple[int, ...]]) -> None:
    """An XML file as LabelImg 1.8 writes it, with its folder, path and source."""
    text = (
        "<annotation>\n\t<folder>photos</folder>\n\t<filename>x.jpg</filename>\n"
        "\t<path>C:\\Users\\me\\photos\\x.jpg</path>\n"
        "\t<source>\n\t\t<database>Unknown</database>\n\t</source>\n"
        f"\t<size>\n\t\t<width>{WIDTH}</width>\n\t\t<height>{HEIGHT}</height>\n"
        "\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>\n"
    )
    for name, (x0, y0, x1, y1) in objects:
        text += (
            f"\t<object>\n\t\t<name>{name}</name>\n\t\t<pose>Unspecified</pose>\n"
            "\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n\t\t<bndbox>\n"
            f"\t\t\t<xmin>{x0}</xmin>\n\t\t\t<ymin>{y0}</ymin>\n\t\t\t<xmax>{x1}</xmax>\n"
            f"\t\t\t<ymax>{y1}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "</annotation>\n")


def boxes_of(loaded: Dataset) -> dict[str, list[list[float]]]:
    return {image.image_id: image.boxes.tolist() for image in loaded}


BESIDE = ("{}.jpg", "{}.xml")
FOLDERS = ("images/{}.jpg", "labels/{}.xml")
BOXES = {"b 1/cup": [[0, 0, 10, 10]], "b 1/dog": [[4, 4, 50, 40]], "a-2/dog": [[1, 2, 3, 4]]}


def fill(root: Path, places: tuple[str, str] = BESIDE) -> None:
    image, xml = (str(root / place) for place in places)
    photograph(Path(image.format("b 1")))
    labels(Path(xml.format("b 1")), ("dog", (5, 5, 50, 40)), ("cup", (1, 1, 10, 10)))
    photograph(Path(image.format("a-2")))
    labels(Path(xml.format("a-2")), ("dog", (2, 3, 3, 4)))


@pytest.mark.parametrize(
    "places", [BESIDE, FOLDERS, ("pets/{}.jpg", "pets/{}.xml"), ("{}.jpg", "Annotations/{}.xml")]
)
def test_photographs_and_xml_files_are_read_where_they_lie(
    tmp_path: Path, places: tuple[str, str]
) -> None:
    fill(tmp_path, places)
    loaded = voc(root=tmp_path)
    assert boxes_of(loaded) == BOXES
    assert loaded.classes["wnid"].tolist() == ["cup", "dog"]
    assert loaded.findings == ()
    look = datasets.get("voc").recognize
    assert look is not None
    found = look(tmp_path)
    assert found.fits and found.options == {"root": str(tmp_path)} and "convention" in found.unsure


def test_images_and_xml_files_in_folders_far_apart(tmp_path: Path) -> None:
    fill(tmp_path, ("a/b/c/{}.jpg", "x/y/z/{}.xml"))
    loaded = voc(root=tmp_path, images=tmp_path / "a/b/c", annotations=tmp_path / "x/y/z")
    assert boxes_of(loaded) == BOXES
    with pytest.raises(DatasetError, match=r"expected images, found none in it.*with images="):
        voc(root=tmp_path)


def test_a_subset_of_the_photographs(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "some.txt").write_text("a-2.jpg\n")
    assert list(boxes_of(voc(root=tmp_path, subset=tmp_path / "some.txt"))) == ["a-2/dog"]
    with pytest.raises(DatasetError, match="expected split or subset, found both"):
        voc(root=tmp_path, subset=tmp_path / "some.txt", split="val")
    with pytest.raises(DatasetError, match=r"split: no such file or folder: .*val\.txt"):
        voc(root=tmp_path, split="val")


def test_a_photograph_without_xml_and_xml_without_a_photograph_are_said(tmp_path: Path) -> None:
    fill(tmp_path)
    photograph(tmp_path / "new.jpg")
    labels(tmp_path / "gone.xml", ("fox", (1, 1, 9, 9)))
    labels(tmp_path / "nothing.xml")
    photograph(tmp_path / "nothing.jpg")
    loaded = voc(root=tmp_path)
    assert boxes_of(loaded) == BOXES
    assert [finding[:2] for finding in loaded.findings] == [
        ("missing_file", "gone"),
        ("no_label", "new"),
        ("no_label", "nothing"),
    ]


def test_two_photographs_of_one_name_are_an_error_that_says_how_to_mend_it(tmp_path: Path) -> None:
    fill(tmp_path)
    photograph(tmp_path / "small/a-2.jpg")
    with pytest.raises(DatasetError, match=r"share one.*or name the folder of the images"):
        voc(root=tmp_path)
    fill(tmp_path / "only")
    assert boxes_of(voc(root=tmp_path, images=tmp_path / "only", annotations=tmp_path / "only"))


@pytest.mark.parametrize(
    ("end", "hint"), [((50, 40), "convention: half_open"), ((49, 39), "convention: inclusive")]
)
def test_a_corner_at_zero_says_that_the_files_count_from_zero(
    tmp_path: Path, end: tuple[int, int], hint: str
) -> None:
    photograph(tmp_path / "a.jpg")
    labels(tmp_path / "a.xml", ("dog", (0, 3, *end)))
    loaded = voc(root=tmp_path)
    [finding] = [finding for finding in loaded.findings if finding.kind == "odd_convention"]
    assert finding.image_id == "" and hint in finding.detail
    for convention, expected in (("half_open", end), ("inclusive", (end[0] + 1, end[1] + 1))):
        loaded = voc(root=tmp_path, convention=convention)
        clipped = [min(expected[0], WIDTH), min(expected[1], HEIGHT)]
        assert boxes_of(loaded) == {"a/dog": [[0, 3, *clipped]]}
        assert "odd_convention" not in {finding.kind for finding in loaded.findings}


def test_xml_files_of_imagenet_and_other_xml_are_left_to_other_loaders(tmp_path: Path) -> None:
    look = datasets.get("voc").recognize
    assert look is not None
    photograph(tmp_path / "a/1.jpg")
    labels(tmp_path / "a/1.xml", ("n02123045", (1, 1, 9, 9)))
    assert not look(tmp_path / "a").fits
    photograph(tmp_path / "b/1.jpg")
    (tmp_path / "b/pom.xml").write_text("<project/>")
    assert not look(tmp_path / "b").fits


# ---- masks


AEROPLANE, DOG, PERSON, VOID = 1, 12, 15, 255


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """VOCdevkit/VOC2012 with a list of segmentations, masks with a palette, and another list."""
    root = tmp_path / "VOCdevkit/VOC2012"
    masks = {
        "2007_000032": [
            (AEROPLANE, (5, 5, 20, 20)),
            (VOID, (20, 5, 22, 20)),
            (PERSON, (30, 9, 40, 30)),
        ],
        "2007_000033": [(DOG, (0, 0, 50, 40))],
        "2007_000034": [(VOID, (0, 0, 5, 5))],
    }
    for stem, regions in masks.items():
        photograph(root / f"JPEGImages/{stem}.jpg")
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for number, (x0, y0, x1, y1) in regions:
            pixels[y0:y1, x0:x1] = number
        mask = Image.fromarray(pixels, "P")
        mask.putpalette([(37 * index) % 256 for index in range(768)])
        (root / "SegmentationClass").mkdir(exist_ok=True)
        mask.save(root / f"SegmentationClass/{stem}.png")
    labels(
        root / "Annotations/2007_000032.xml", ("aeroplane", (6, 6, 20, 20)), ("sofa", (1, 1, 9, 9))
    )
    labels(root / "Annotations/2007_000033.xml", ("dog", (1, 1, 50, 40)))
    labels(root / "Annotations/2007_000034.xml", ("dog", (1, 1, 50, 40)))
    for name, listed in (("Segmentation", masks), ("Main", ["2007_000033"])):
        (root / "ImageSets" / name).mkdir(parents=True)
        (root / "ImageSets" / name / "val.txt").write_text("".join(f"{stem}\n" for stem in listed))
    return root


def test_a_sample_for_each_class_in_a_mask(devkit: Path) -> None:
    loaded = voc(root=devkit, masks=True)
    assert boxes_of(loaded) == {
        "2007_000032/aeroplane": [[5, 5, 20, 20]],
        "2007_000032/person": [],  # it has no box, and the sofa no pixel
        "2007_000033/dog": [[0, 0, 50, 40]],
    }
    assert len(loaded.classes) == 20
    assert [finding[:2] for finding in loaded.findings] == [
        ("no_box", "2007_000032/person"),
        ("no_label", "2007_000034"),
    ]


def test_masks_are_those_that_torchvision_reads(devkit: Path) -> None:
    official = VOCSegmentation(devkit.parents[1], year="2012", image_set="val")
    numbers = {Path(path).stem: np.asarray(official[i][1]) for i, path in enumerate(official.masks)}
    number_of = {"aeroplane": AEROPLANE, "person": PERSON, "dog": DOG}
    for sample in voc(root=devkit, masks=True):
        stem, name = sample.image_id.split("/")
        expected = np.where(numbers[stem] == VOID, 255, numbers[stem] == number_of[name])
        assert sample.mask is not None
        np.testing.assert_array_equal(load_mask(sample.mask, (HEIGHT, WIDTH)), expected)


def test_without_masks_the_other_list_counts(devkit: Path) -> None:
    assert list(boxes_of(voc(root=devkit))) == ["2007_000033/dog"]


def test_odd_masks_are_findings(devkit: Path) -> None:
    folder = devkit / "SegmentationClass"
    (folder / "2007_000033.png").unlink()
    (folder / "2007_000034.png").write_bytes(b"<html>")
    pixels = np.array(Image.open(folder / "2007_000032.png"))
    pixels[0, 0] = 21
    Image.fromarray(pixels).save(folder / "2007_000032.png")
    loaded = voc(root=devkit, masks=True)
    assert list(boxes_of(loaded)) == ["2007_000032/aeroplane", "2007_000032/person"]
    assert {finding[:2] for finding in loaded.findings} == {
        ("missing_file", "2007_000033"),
        ("unreadable_image", "2007_000034"),
        ("unknown_class", "2007_000032"),
        ("no_box", "2007_000032/person"),
    }


def test_own_classes_need_a_label_map(devkit: Path) -> None:
    for path in devkit.glob("Annotations/*.xml"):
        path.write_text(path.read_text().replace("aeroplane", "drone"))
    with pytest.raises(DatasetError, match=r"labelmap\.txt: expected a line .* none for 'drone'"):
        voc(root=devkit, masks=True)
    names = ["background:0,0,0::", "drone:128,0,0::", "sofa:0,128,0::"]
    names += [f"c{number}:{number},1,1::" for number in range(3, 12)] + ["dog:1,2,3::"]
    (devkit / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(names))
    loaded = voc(root=devkit, masks=True)
    assert list(boxes_of(loaded)) == ["2007_000032/drone", "2007_000033/dog"]
    assert ("unknown_class", "2007_000032") in {finding[:2] for finding in loaded.findings}


def test_masks_without_their_folder_are_an_error(devkit: Path) -> None:
    shutil.rmtree(devkit / "SegmentationClass")
    with pytest.raises(DatasetError, match=r"masks: no such file or folder: .*SegmentationClass"):
        voc(root=devkit, masks=True)
