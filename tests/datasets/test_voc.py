"""Pascal VOC in the real files' format: images of several classes, corners that count from 1."""

from pathlib import Path

import pytest
from PIL import Image

import wsol_bench.datasets.formats.xml as xml_module
from wsol_bench.datasets import Dataset, datasets
from wsol_bench.datasets.voc import voc
from wsol_bench.errors import DatasetError

EASY, DIFFICULT = 0, 1


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def picture(path: Path, size: tuple[int, int] = (50, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, format="JPEG")


def annotation(
    *objects: tuple[str, int, tuple[float, ...]], size: tuple[int, int] = (50, 40)
) -> str:
    """An annotation as VOC 2012 has it: children in another order, a part with a box of its own."""
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
    lines = [
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<difficult>{difficult}</difficult>\n"
        f"\t\t{part}</bndbox></part>\n"
        f"\t\t<bndbox>\n\t\t\t<xmax>{box[2]}</xmax>\n\t\t\t<xmin>{box[0]}</xmin>\n"
        f"\t\t\t<ymax>{box[3]}</ymax>\n\t\t\t<ymin>{box[1]}</ymin>\n\t\t</bndbox>\n\t</object>\n"
        for name, difficult, box in objects
    ]
    return (
        f"<annotation>\n\t<size><width>{size[0]}</width><height>{size[1]}</height>"
        f"<depth>3</depth></size>\n{''.join(lines)}</annotation>\n"
    )


ANNOTATIONS = {
    "2008_000008": annotation(
        ("person", EASY, (1, 1, 50, 40)),  # the whole image
        ("horse", EASY, (11, 12, 13, 14)),
        ("person", DIFFICULT, (5, 5, 9, 9)),
        ("person", EASY, (20.5, 2, 30.5, 10)),
    ),
    "2008_000002": annotation(("tvmonitor", EASY, (34, 11, 48, 40))),
    "2008_000003": annotation(("train", DIFFICULT, (3, 3, 9, 9)), ("boat", EASY, (7, 7, 7, 7))),
    "2007_000027": annotation(("aeroplane", EASY, (1, 1, 2, 2))),  # of another split
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "VOC2012"
    for stem, text in ANNOTATIONS.items():
        write(root / f"Annotations/{stem}.xml", text)
        picture(root / f"JPEGImages/{stem}.jpg")
    write(root / "ImageSets/Main/val.txt", "2008_000008\n2008_000002\n2008_000003\n")
    write(root / "ImageSets/Main/train.txt", "2007_000027\n")
    return root


def boxes_of(loaded: Dataset) -> dict[str, list[list[float]]]:
    return {image.image_id: image.boxes.tolist() for image in loaded}


def reannotate(root: Path, text: str, stem: str = "2008_000002") -> None:
    write(root / f"Annotations/{stem}.xml", text)


@pytest.mark.parametrize("visit", ["fresh", "cached"])
def test_a_sample_is_one_class_of_an_image(root: Path, visit: str) -> None:
    loaded = voc(root=root)
    if visit == "cached":
        loaded = voc(root=root)
    assert loaded.name == "voc"
    assert boxes_of(loaded) == {
        "2008_000002/tvmonitor": [[33, 10, 48, 40]],
        "2008_000003/boat": [[6, 6, 7, 7]],
        "2008_000008/horse": [[10, 11, 13, 14]],
        "2008_000008/person": [[0, 0, 50, 40], [19.5, 1, 30.5, 10]],
    }
    for image in loaded:
        stem, label = image.image_id.split("/")
        assert image.label == label
        assert set(image.box_labels) == {label}
        assert image.path == root / f"JPEGImages/{stem}.jpg"
        assert (image.height, image.width) == (40, 50)
    assert list(boxes_of(loaded)) == loaded.images["image_id"].tolist()
    assert loaded.findings == ()


def test_difficult_objects_count_where_they_are_asked_for(root: Path) -> None:
    boxes = boxes_of(voc(root=root, difficult=True))
    assert boxes["2008_000008/person"] == [[0, 0, 50, 40], [4, 4, 9, 9], [19.5, 1, 30.5, 10]]
    assert boxes["2008_000003/train"] == [[2, 2, 9, 9]]
    assert len(boxes) == 5


def test_classes_are_those_of_all_annotations_whatever_the_split(root: Path) -> None:
    names = ["aeroplane", "boat", "horse", "person", "train", "tvmonitor"]
    for split in ("val", "train"):
        loaded = voc(root=root, split=split)
        assert loaded.classes.to_numpy().tolist() == [[name, name, 0] for name in names]
    assert loaded.images["image_id"].tolist() == ["2007_000027/aeroplane"]


def test_a_file_may_name_the_classes(root: Path, tmp_path: Path) -> None:
    names = write(tmp_path / "names.txt", "person a human\nhorse\ntvmonitor\nboat\ncow\n")
    reannotate(root, annotation(("tvmonitor", EASY, (1, 1, 9, 9)), ("lamp", EASY, (1, 1, 9, 9))))
    loaded = voc(root=root, classes=names)
    assert loaded.classes["wnid"].tolist() == ["boat", "cow", "horse", "person", "tvmonitor"]
    assert loaded.words["person"] == "a human"
    assert len(loaded) == 4
    [finding] = loaded.findings
    assert finding[:2] == ("unknown_class", "2008_000002/lamp")


@pytest.mark.parametrize(
    ("box", "expected", "remark"),
    [
        (
            (20, 10, 11, 5),
            [[10, 4, 20, 10]],
            "box (20, 10, 11, 5) has its minimum above",
        ),
        ((0, 1, 51, 40), [[0, 0, 50, 40]], "box (0, 1, 51, 40) reaches outside the image; clipped"),
        ((51, 1, 60, 40), [], "box (51, 1, 60, 40) has no pixel in the image; dropped"),
    ],
)
def test_odd_boxes(
    root: Path, box: tuple[float, ...], expected: list[list[float]], remark: str
) -> None:
    reannotate(root, annotation(("tvmonitor", EASY, box)))
    loaded = voc(root=root)
    assert boxes_of(loaded)["2008_000002/tvmonitor"] == expected
    odd = [finding for finding in loaded.findings if finding.kind != "odd_convention"]
    assert [finding.kind for finding in odd] == ["odd_box"] + ["no_box"] * (not expected)
    assert odd[0].detail.startswith(remark)


def test_boxes_of_another_size_are_rescaled(root: Path) -> None:
    reannotate(root, annotation(("tvmonitor", EASY, (1, 1, 20, 20)), size=(100, 160)))
    loaded = voc(root=root)
    assert boxes_of(loaded)["2008_000002/tvmonitor"] == [[0, 0, 10, 5]]
    assert [finding[:2] for finding in loaded.findings] == [
        ("size_mismatch", "2008_000002/tvmonitor")
    ]


def test_odd_files(root: Path) -> None:
    stems = {f"odd{number}": "" for number in range(6)}
    write(root / "ImageSets/Main/val.txt", "\n".join(["2008_000008", *stems]))
    for stem in ("odd1", "odd2", "odd3", "odd4", "odd5"):
        picture(root / f"JPEGImages/{stem}.jpg")
    reannotate(root, "<annotation>", "odd1")
    reannotate(root, annotation(("train", DIFFICULT, (3, 3, 9, 9))), "odd3")
    reannotate(root, annotation(("train", EASY, (3, 3, 9, 9))), "odd4")
    (root / "JPEGImages/odd4.jpg").write_bytes(b"no image")
    (root / "JPEGImages/odd5.jpg").write_bytes(b"no image, and no annotation")
    loaded = voc(root=root)
    assert loaded.images["image_id"].tolist() == ["2008_000008/horse", "2008_000008/person"]
    assert [(finding.image_id, finding.kind) for finding in loaded.findings] == [
        ("odd0", "missing_file"),
        ("odd1", "bad_annotation"),
        ("odd2", "no_label"),
        ("odd3", "no_label"),
        ("odd4", "unreadable_image"),
        ("odd5", "unreadable_image"),
    ]
    details = {finding.image_id: finding.detail for finding in loaded.findings}
    assert "not well-formed" in details["odd1"]
    assert details["odd2"] == "no annotation file; left out"
    assert details["odd3"] == "no object but difficult ones; left out"


def test_an_entity_in_a_file_is_refused(root: Path) -> None:
    reannotate(
        root, '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotation>&x;</annotation>'
    )
    [finding] = voc(root=root).findings
    assert finding.kind == "bad_annotation"
    assert "refused for safety" in finding.detail


def test_a_list_cannot_lead_out_of_the_folder(root: Path, tmp_path: Path) -> None:
    picture(tmp_path / "secret.jpg")
    write(tmp_path / "secret.xml", ANNOTATIONS["2008_000002"])
    with (root / "ImageSets/Main/val.txt").open("a") as file:
        file.write("../../secret\n/etc/passwd\n")
    assert [finding[:2] for finding in voc(root=root).findings] == [
        ("missing_file", "passwd"),
        ("missing_file", "secret"),
    ]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("JPEGImages", r"root: no such file or folder: .*JPEGImages; .* holds Annotations, Image"),
        ("Annotations", r"root: no such file or folder: .*Annotations; "),
        ("ImageSets/Main/val.txt", r"split: no such file .*val\.txt; .* holds train\.txt"),
    ],
)
def test_a_missing_piece_is_an_error(root: Path, missing: str, message: str) -> None:
    (root / missing).rename(root / "elsewhere")
    with pytest.raises(DatasetError, match=message):
        voc(root=root)


def test_a_split_without_an_object_is_an_error(root: Path) -> None:
    reannotate(root, annotation(), "2007_000027")
    with pytest.raises(
        DatasetError, match=r"every image of split 'train' .* is left out; no_label: 1"
    ):
        voc(root=root, split="train")


def test_files_are_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = voc(root=root)
    monkeypatch.setattr(Image, "open", None)
    monkeypatch.setattr(xml_module, "parse_xml", None)
    assert voc(root=root).fingerprint == first.fingerprint


def test_it_is_found_by_its_name() -> None:
    assert datasets.get("voc") is voc
