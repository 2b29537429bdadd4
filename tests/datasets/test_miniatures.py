"""Data sets as their authors and tools ship them, in miniature, counted by hand."""

from collections import Counter
from pathlib import Path

import pytest
from loader_worlds import picture, put

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.datasets.openimages import openimages
from wsol_bench.datasets.voc import voc
from wsol_bench.datasets.wsol_metadata import wsol_metadata
from wsol_bench.errors import DatasetError


def kinds(loaded: Dataset) -> Counter[str]:
    return Counter(finding.kind for finding in loaded.findings)


# ---- OpenImages30k, metadata/OpenImages of wsolevaluation: image_sizes.txt and train's
# localization.txt are empty, the last line of a list has no end, and an ignore mask stands in the
# first line of its image.

IMAGES = {
    "train": ["01226z/ed9d2feb6d44cff3", "0138tl/d6cbe272931f6cd4"],
    "val": ["01226z/32fdab44f6e415f1"],
    "test": ["01226z/7af766bd43da900b", "01226z/973645e9516726b3", "0138tl/0493e6c7cc0d4658"],
}
MASKS = {
    "01226z/7af766bd43da900b": ["m01226z_6554d965", "m01226z_8856c605"],
    "01226z/973645e9516726b3": ["m01226z_9ad378d4"],
    "0138tl/0493e6c7cc0d4658": ["m0138tl_936a53d1"],
    "01226z/32fdab44f6e415f1": ["m01226z_7dab3053"],
}


@pytest.fixture
def open_images(tmp_path: Path) -> Path:
    data = tmp_path / "dataset/OpenImages"
    for split, stems in IMAGES.items():
        metadata = tmp_path / "metadata/OpenImages" / split
        ids = [f"{split}/{stem}.jpg" for stem in stems]
        put(metadata / "image_ids.txt", "\n".join(ids))
        labels = [f"{name},{int('0138tl' in name)}" for name in ids]
        put(metadata / "class_labels.txt", "\n".join(labels))
        put(metadata / "image_sizes.txt", "")
        lines = []
        for stem in stems:
            picture(data / split / f"{stem}.jpg")
            for number, mask in enumerate(MASKS.get(stem, ())):
                ignore = "" if number else f"{split}/{stem}_ignore.png"
                lines.append(f"{split}/{stem}.jpg,{split}/{stem}_{mask}.png,{ignore}")
                for name in filter(None, lines[-1].split(",")[1:]):
                    picture(data / name, mode="L")
        put(metadata / "localization.txt", "\n".join(lines))
    return tmp_path


@pytest.mark.parametrize(("split", "n_images", "n_masks"), [("test", 3, 4), ("val", 1, 1)])
def test_open_images_is_loaded_as_its_authors_ship_it(
    open_images: Path, split: str, n_images: int, n_masks: int
) -> None:
    loaded = openimages(root=open_images, split=split, cache=False)
    assert len(loaded) == n_images
    assert sum(len(mask.foreground) for mask in loaded.masks) == n_masks
    assert all(mask.ignore for mask in loaded.masks)
    assert loaded.images[["width", "height"]].to_numpy().tolist() == [[40, 30]] * n_images
    assert loaded.findings == ()


def test_the_training_images_of_open_images_have_labels_but_no_masks(open_images: Path) -> None:
    loaded = openimages(root=open_images, split="train", cache=False)
    assert loaded.images["label"].tolist() == ["0", "1"]
    assert loaded.words == {"0": "01226z", "1": "0138tl"}
    assert loaded.masks == ()
    assert len(loaded.boxes) == 0
    assert kinds(loaded) == {"no_annotation": 2, "no_box": 2}


def test_the_training_lists_of_ilsvrc_are_loaded_as_their_authors_ship_them(
    tmp_path: Path,
) -> None:
    ids = ["train/n01440764/n01440764_10026.JPEG", "train/n01443537/n01443537_2.JPEG"]
    put(tmp_path / "image_ids.txt", "\n".join(ids))
    put(tmp_path / "class_labels.txt", "\n".join(f"{name},{i}" for i, name in enumerate(ids)))
    put(tmp_path / "image_sizes.txt", "")
    put(tmp_path / "localization.txt", "")
    loaded = wsol_metadata(metadata=tmp_path)
    assert loaded.images["label"].tolist() == ["0", "1"]
    assert kinds(loaded) == {"no_annotation": 2, "no_box": 2}


def test_masks_that_are_asked_for_are_not_in_an_empty_list(open_images: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected masks in .*localization\.txt, found none"):
        openimages(root=open_images, split="train", masks=open_images, cache=False)


# ---- LabelImg: an XML file beside each image or in a folder of its own, with the absolute path of
# the machine that it was drawn on, and names as people write them.


def label_img(
    name: str, *objects: tuple[str, tuple[int, int, int, int]], verified: bool = False
) -> str:
    lines = [
        f"\t<object>\n\t\t<name>{label}</name>\n\t\t<pose>Unspecified</pose>\n"
        "\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n\t\t<bndbox>\n"
        f"\t\t\t<xmin>{box[0]}</xmin>\n\t\t\t<ymin>{box[1]}</ymin>\n\t\t\t<xmax>{box[2]}</xmax>\n"
        f"\t\t\t<ymax>{box[3]}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for label, box in objects
    ]
    attribute = ' verified="yes"' if verified else ""
    return (
        f"<annotation{attribute}>\n\t<folder>my pictures</folder>\n"
        f"\t<filename>{name}</filename>\n\t<path>C:\\Users\\me\\my pictures\\{name}</path>\n"
        "\t<source>\n\t\t<database>Unknown</database>\n\t</source>\n\t<size>\n"
        "\t\t<width>40</width>\n\t\t<height>30</height>\n\t\t<depth>3</depth>\n\t</size>\n"
        f"\t<segmented>0</segmented>\n{''.join(lines)}</annotation>\n"
    )


LABEL_IMG = {
    "ice 1.jpg": label_img("ice 1.jpg", ("polar bear", (1, 1, 20, 30)), verified=True),
    "été 2.png": label_img("été 2.png", ("cat", (11, 12, 13, 14)), ("cat", (21, 1, 40, 30))),
    "zoo 3.bmp": label_img("zoo 3.bmp", ("cat", (1, 1, 5, 5)), ("polar bear", (6, 6, 40, 30))),
    "empty 4.webp": label_img("empty 4.webp"),
}


@pytest.fixture
def label_img_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my pictures"
    for name, text in LABEL_IMG.items():
        picture(folder / name)
        put(folder / f"{name.rpartition('.')[0]}.xml", text)
    put(folder / "classes.txt", "\ufeffpolar bear\r\ncat\r\n")
    return folder


def test_a_folder_of_label_img_is_loaded_by_its_xml_files(label_img_folder: Path) -> None:
    loaded = imagenet(
        root=label_img_folder, images=label_img_folder, annotations=label_img_folder, cache=False
    )
    assert dict(zip(loaded.images["image_id"], loaded.images["label"], strict=True)) == {
        "ice 1": "polar bear",
        "été 2": "cat",
    }
    assert loaded.classes["wnid"].tolist() == ["cat", "polar bear"]
    # An image of two classes, or of none, has no one label. ILSVRC's corners count from 0, those of
    # LabelImg from 1: its folders belong into the folders of VOC.
    assert sorted(finding[:2] for finding in loaded.findings) == [
        ("no_label", "empty 4"),
        ("no_label", "zoo 3"),
        ("odd_box", "ice 1"),
        ("odd_box", "été 2"),
    ]


@pytest.mark.parametrize("extension", [True, False])
def test_label_img_in_the_folders_of_voc(
    label_img_folder: Path, tmp_path: Path, extension: bool
) -> None:
    root = tmp_path / "voc"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for path in label_img_folder.iterdir():
        path.rename(root / ("Annotations" if path.suffix == ".xml" else "JPEGImages") / path.name)
    names = list(LABEL_IMG)
    if not extension:
        names = [*(name.rpartition(".")[0] for name in names), "ice 2"]
    put(root / "ImageSets/Main/all.txt", "".join(f"{name}\n" for name in names))
    loaded = voc(root=root, split="all", classes=root / "JPEGImages/classes.txt", cache=False)
    assert {image.image_id: image.boxes.tolist() for image in loaded} == {
        "ice 1/polar bear": [[0, 0, 20, 30]],
        "été 2/cat": [[10, 11, 13, 14], [20, 0, 40, 30]],
        "zoo 3/cat": [[0, 0, 5, 5]],
        "zoo 3/polar bear": [[5, 5, 40, 30]],
    }
    missing = {} if extension else {"missing_file": 1}
    assert kinds(loaded) == {"no_label": 1, **missing}
    [detail] = [finding.detail for finding in loaded.findings if finding.kind == "no_label"]
    assert detail == "no object with a box; left out"


# ---- VOC2007: a list of a split, and lists of one class with 1, -1 and 0 behind each image.


def voc_xml(*objects: tuple[str, int, tuple[int, int, int, int]]) -> str:
    lines = [
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<pose>Left</pose>\n\t\t<truncated>1</truncated>\n"
        f"\t\t<difficult>{difficult}</difficult>\n\t\t<bndbox>\n\t\t\t<xmin>{box[0]}</xmin>\n"
        f"\t\t\t<ymin>{box[1]}</ymin>\n\t\t\t<xmax>{box[2]}</xmax>\n\t\t\t<ymax>{box[3]}</ymax>\n"
        "\t\t</bndbox>\n\t</object>\n"
        for name, difficult, box in objects
    ]
    return (
        "<annotation>\n\t<folder>VOC2007</folder>\n\t<size>\n\t\t<width>40</width>\n"
        f"\t\t<height>30</height>\n\t\t<depth>3</depth>\n\t</size>\n{''.join(lines)}</annotation>\n"
    )


VOC = {
    "000005": voc_xml(("dog", 0, (1, 1, 20, 20))),
    "000007": voc_xml(("cat", 0, (1, 1, 40, 30)), ("dog", 0, (2, 2, 9, 9))),
    "000009": voc_xml(("cat", 1, (3, 3, 9, 9)), ("dog", 0, (4, 4, 9, 9))),
    "000012": voc_xml(("cat", 0, (5, 5, 9, 9)), ("cat", 1, (6, 6, 9, 9))),
}


@pytest.fixture
def voc2007(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit/VOC2007"
    for stem, text in VOC.items():
        put(root / f"Annotations/{stem}.xml", text)
        picture(root / f"JPEGImages/{stem}.jpg")
    put(root / "ImageSets/Main/val.txt", "".join(f"{stem}\n" for stem in VOC))
    put(root / "ImageSets/Main/cat_val.txt", "000005 -1\n000007  1\n000009  0\n000012  1\n")
    put(root / "ImageSets/Main/dog_val.txt", "000005  1\n000007  1\n000009  1\n000012 -1\n")
    return root


@pytest.mark.parametrize(
    ("split", "difficult", "samples"),
    [
        ("val", False, ["05/dog", "07/cat", "07/dog", "09/dog", "12/cat"]),
        ("val", True, ["05/dog", "07/cat", "07/dog", "09/cat", "09/dog", "12/cat"]),
        ("cat_val", False, ["07/cat", "12/cat"]),
        ("cat_val", True, ["07/cat", "09/cat", "12/cat"]),
        ("dog_val", False, ["05/dog", "07/dog", "09/dog"]),
    ],
)
def test_a_list_of_a_class_gives_the_samples_of_that_class(
    voc2007: Path, split: str, difficult: bool, samples: list[str]
) -> None:
    loaded = voc(root=voc2007, split=split, difficult=difficult, cache=False)
    assert loaded.images["image_id"].tolist() == [f"0000{sample}" for sample in samples]
    # The classes are those of all annotations, for every split.
    assert loaded.classes["wnid"].tolist() == ["cat", "dog"]
    n_boxes = 2 if difficult else 1
    counts = dict(zip(loaded.images["image_id"], loaded.images["n_boxes"], strict=True))
    assert counts.get("000012/cat", n_boxes) == n_boxes


def test_an_image_whose_objects_of_the_class_are_difficult_is_said(voc2007: Path) -> None:
    loaded = voc(root=voc2007, split="cat_val", cache=False)
    assert loaded.findings == (("no_label", "000009", "no object but difficult ones; left out"),)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("cat_val", "000005 -1\n000007 2\n", "found the number 2"),
        ("val", "000005 -1\n000007 1\n", "found no class ''"),
        ("cow_val", "000005 -1\n000007 1\n", "found no class 'cow'"),
        ("val", "", "line 1: expected one image a line"),
    ],
)
def test_numbers_that_are_of_no_class_are_an_error(
    voc2007: Path, name: str, text: str, found: str
) -> None:
    put(voc2007 / f"ImageSets/Main/{name}.txt", text)
    with pytest.raises(DatasetError, match=rf"^[^\n]*{name}\.txt[^\n]*{found}[^\n]*$"):
        voc(root=voc2007, split=name, cache=False)


def test_an_object_without_a_box_leaves_the_others(voc2007: Path) -> None:
    text = VOC["000007"].replace("<xmax>40</xmax>", "<xmax></xmax>")
    put(voc2007 / "Annotations/000007.xml", text.replace("<width>40</width>", "<width/>"))
    put(voc2007 / "Annotations/000005.xml", voc_xml())
    loaded = voc(root=voc2007, cache=False)
    assert {image.image_id: image.boxes.tolist() for image in loaded} == {
        "000007/dog": [[1, 1, 9, 9]],
        "000009/dog": [[3, 3, 9, 9]],
        "000012/cat": [[4, 4, 9, 9]],
    }
    assert [finding[:2] for finding in loaded.findings] == [
        ("no_label", "000005"),
        ("unknown_size", "000007"),
        ("odd_box", "000007"),
    ]
    assert loaded.findings[0].detail == "no object with a box; left out"
