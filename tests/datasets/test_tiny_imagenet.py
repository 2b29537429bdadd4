"""Tiny ImageNet in the real files' format: tabs, wnids that are not sorted, boxes of no extent."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from wsol_bench.datasets import Dataset, datasets
from wsol_bench.datasets.tiny_imagenet import tiny_imagenet
from wsol_bench.errors import DatasetError

BASS, NAIL, LEMON = "n01443537", "n03804744", "n07749582"
# file: (class, corners as they stand, half-open box)
VAL = {
    "val_0.JPEG": (LEMON, (0, 32, 44, 62), [0, 32, 45, 63]),
    "val_2.JPEG": (BASS, (4, 0, 63, 63), [4, 0, 64, 64]),  # to the last pixel
    "val_10.JPEG": (NAIL, (37, 38, 44, 45), [37, 38, 45, 46]),
    "val_37.JPEG": (LEMON, (0, 63, 63, 63), [0, 63, 64, 64]),  # of no height: a row of pixels
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 64)).save(path, format="JPEG")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "wnids.txt", f"{LEMON}\n{BASS}\n{NAIL}\n")
    words = (
        f"n00001740\tentity\n{BASS}\tgoldfish, Carassius auratus\n{NAIL}\tnail\n{LEMON}\tlemon\n"
    )
    write(tmp_path / "words.txt", words)
    rows = [(file, wnid, *corners) for file, (wnid, corners, _) in VAL.items()]
    lines = ["\t".join(map(str, row)) + "\n" for row in rows]
    write(tmp_path / "val/val_annotations.txt", "".join(lines))
    for file in VAL:
        picture(tmp_path / "val/images" / file)
    for wnid in (BASS, NAIL, LEMON):
        lines = []
        for number in (0, 1):
            file = f"{wnid}_{number}.JPEG"
            picture(tmp_path / "train" / wnid / "images" / file)
            lines.append(f"{file}\t{number}\t2\t30\t40\n")
        write(tmp_path / "train" / wnid / f"{wnid}_boxes.txt", "".join(lines))
    return tmp_path


def annotate(root: Path, line: str) -> Path:
    """Add a line to the annotations of val."""
    path = root / "val/val_annotations.txt"
    return write(path, path.read_text() + line)


def kinds(loaded: Dataset) -> Counter[str]:
    return Counter(finding.kind for finding in loaded.findings)


def test_val(root: Path) -> None:
    loaded = tiny_imagenet(root=root)
    assert loaded.name == "tiny_imagenet"
    assert loaded.images["image_id"].tolist() == ["val_0", "val_10", "val_2", "val_37"]
    for image in loaded:
        wnid, _, box = VAL[f"{image.image_id}.JPEG"]
        assert image.label == wnid
        assert image.box_labels == (wnid,)
        assert image.boxes.tolist() == [box]
        assert (image.height, image.width) == (64, 64)
        assert image.path == root / "val/images" / f"{image.image_id}.JPEG"
        assert not image.blacklisted
    assert loaded.findings == ()


def test_train(root: Path) -> None:
    loaded = tiny_imagenet(root=root, split="train")
    assert loaded.images["image_id"].tolist() == [
        f"{wnid}_{number}" for wnid in (BASS, NAIL, LEMON) for number in (0, 1)
    ]
    assert loaded.images["label"].tolist() == [BASS, BASS, NAIL, NAIL, LEMON, LEMON]
    assert loaded.boxes.tolist() == [[0, 2, 31, 41], [1, 2, 31, 41]] * 3
    assert loaded[3].path == root / f"train/{NAIL}/images/{NAIL}_1.JPEG"


@pytest.mark.parametrize("split", ["val", "train"])
def test_classes_are_sorted_and_have_their_words(root: Path, split: str) -> None:
    assert tiny_imagenet(root=root, split=split).classes.to_numpy().tolist() == [
        [BASS, "goldfish, Carassius auratus", 0],
        [NAIL, "nail", 0],
        [LEMON, "lemon", 0],
    ]


def test_without_words_the_wnids_stand_for_them(root: Path) -> None:
    (root / "words.txt").unlink()
    assert tiny_imagenet(root=root).classes["words"].tolist() == [BASS, NAIL, LEMON]


def test_corners_in_the_wrong_order_are_swapped_and_said(root: Path) -> None:
    annotate(root, f"val_5.JPEG\t{NAIL}\t50\t10\t20\t30\n")
    picture(root / "val/images/val_5.JPEG")
    loaded = tiny_imagenet(root=root)
    assert loaded.select(["val_5"]).boxes.tolist() == [[20, 10, 51, 31]]
    [finding] = loaded.findings
    assert finding == (
        "odd_box",
        "val_5",
        "box (50, 10, 20, 30) has its minimum above its maximum; corners swapped",
    )


@pytest.mark.parametrize("side", [32, 224])
def test_boxes_are_rescaled_for_images_that_were_resized(root: Path, side: int) -> None:
    for path in (root / "val/images").iterdir():
        Image.new("RGB", (side, side)).save(path, format="JPEG")
    loaded = tiny_imagenet(root=root)
    for image in loaded:
        _, _, box = VAL[f"{image.image_id}.JPEG"]
        assert image.boxes.tolist() == [[corner * side / 64 for corner in box]]
    assert kinds(loaded) == {"size_mismatch": len(VAL)}


def test_a_box_outside_the_image_leaves_it_without_a_box(root: Path) -> None:
    annotate(root, f"val_5.JPEG\t{NAIL}\t64\t0\t70\t9\n")
    picture(root / "val/images/val_5.JPEG")
    loaded = tiny_imagenet(root=root)
    assert kinds(loaded) == {"odd_box": 1, "no_box": 1}
    assert loaded.select(["val_5"]).images["n_boxes"].tolist() == [0]


def test_odd_files(root: Path) -> None:
    annotate(root, f"val_5.JPEG\t{NAIL}\t0\t0\t9\t9\nval_6.JPEG\tn99999999\t0\t0\t9\t9\n")
    picture(root / "val/images/val_6.JPEG")
    (root / "val/images/val_2.JPEG").write_bytes(b"no image")
    loaded = tiny_imagenet(root=root)
    assert loaded.images["image_id"].tolist() == ["val_0", "val_10", "val_37"]
    assert {finding.image_id: finding.kind for finding in loaded.findings} == {
        "val_2": "unreadable_image",
        "val_5": "missing_file",
        "val_6": "unknown_class",
    }


def test_lines_may_end_as_on_windows(root: Path) -> None:
    path = root / "val/val_annotations.txt"
    write(path, path.read_text().replace("\n", "\r\n") + "\r\n")
    assert tiny_imagenet(root=root).fingerprint == tiny_imagenet(root=root, cache=False).fingerprint
    assert len(tiny_imagenet(root=root)) == len(VAL)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"val_5.JPEG\t{NAIL}\t1\t2\t3\n", "'file wnid x0 y0 x1 y1' with 4 numbers"),
        (f"val_5.JPEG\t{NAIL}\t1\t2\t3\t4\t5\n", "with 4 numbers"),
        (f"val_5.JPEG\t{NAIL}\t1\t2\tx\t4\n", "with 4 numbers"),
        (f"val_5.JPEG\t{NAIL}\t1\t2\tnan\t4\n", "with 4 numbers"),
        (f"val_5.JPEG\t{NAIL}\t1\t2\t1e300\t4\n", "with 4 numbers"),
        (f"val_5.JPEG {NAIL} 1 2 3 4\n", "with 4 numbers"),
        ("val_5.JPEG\t\t1\t2\t3\t4\n", "with 4 numbers"),
        (f"../../../etc/passwd\t{NAIL}\t1\t2\t3\t4\n", "a file that lies below its folder"),
        (f"/etc/passwd\t{NAIL}\t1\t2\t3\t4\n", "a file that lies below its folder"),
    ],
)
def test_a_wrong_line_is_an_error(root: Path, line: str, message: str) -> None:
    annotate(root, line)
    with pytest.raises(DatasetError, match=r"val_annotations\.txt, line 5: expected ") as caught:
        tiny_imagenet(root=root)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"), [("../train", "a wnid"), (BASS, "each wnid once"), ("n1", "a wnid")]
)
def test_a_wrong_list_of_classes_is_an_error(root: Path, line: str, message: str) -> None:
    write(root / "wnids.txt", f"{BASS}\n{NAIL}\n{line}\n")
    with pytest.raises(DatasetError, match=rf"wnids\.txt, line 3: expected {message}"):
        tiny_imagenet(root=root, split="train")


@pytest.mark.parametrize("content", [None, "", "\n"], ids=["missing", "empty", "blank"])
def test_a_class_without_its_boxes_leaves_the_other_classes_as_they_are(
    root: Path, content: str | None
) -> None:
    complete = tiny_imagenet(root=root, split="train")
    boxes = root / f"train/{NAIL}/{NAIL}_boxes.txt"
    boxes.unlink() if content is None else write(boxes, content)
    loaded = tiny_imagenet(root=root, split="train")
    # The files in the class's folder tell its images.
    assert loaded.images["image_id"].tolist() == complete.images["image_id"].tolist()
    assert loaded.images["label"].tolist() == complete.images["label"].tolist()
    assert loaded.images["n_boxes"].tolist() == [1, 1, 0, 0, 1, 1]
    assert loaded.boxes.tolist() == [[0, 2, 31, 41], [1, 2, 31, 41]] * 2
    assert kinds(loaded) == {"no_annotation": 2, "no_box": 2}


def test_a_class_of_neither_images_nor_boxes_is_said(root: Path) -> None:
    for path in sorted((root / f"train/{NAIL}").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (root / f"train/{NAIL}").rmdir()
    loaded = tiny_imagenet(root=root, split="train")
    assert len(loaded) == 4
    [finding] = loaded.findings
    assert finding[:2] == ("missing_file", "")
    assert f"no image and no box of class {NAIL} in" in finding.detail


def test_a_missing_file_is_an_error_that_says_what_is_there(root: Path) -> None:
    with pytest.raises(
        DatasetError, match=rf"no such file .*wnids\.txt; .* holds images, {BASS}_boxes"
    ):
        tiny_imagenet(root=root / "train" / BASS)


def test_no_image_at_all_is_an_error(root: Path) -> None:
    for file in VAL:
        (root / "val/images" / file).unlink()
    with pytest.raises(
        DatasetError, match=r"every image of split 'val' .* is left out; missing_file: 4"
    ):
        tiny_imagenet(root=root)


def test_headers_are_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tiny_imagenet(root=root, split="train")
    monkeypatch.setattr(Image, "open", None)
    assert tiny_imagenet(root=root, split="train").fingerprint == first.fingerprint
    with pytest.raises(DatasetError, match="unreadable_image: 6"):
        tiny_imagenet(root=root, split="train", cache=False)


def test_it_is_found_by_its_name() -> None:
    assert datasets.get("tiny_imagenet") is tiny_imagenet
