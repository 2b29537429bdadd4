"""The imagenet loader: every layout gives the same data set, and every oddity is dealt with."""

import logging
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

import wsol_bench.datasets.index as index_module
from wsol_bench.datasets import ROOT_SYNSET, Dataset, datasets
from wsol_bench.datasets.annotations import parse_xml
from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.datasets.index import TableCache, scan
from wsol_bench.errors import DatasetError

TENCH, BIRD, MACHINE = "n01440764", "n02012849", "n03126707"
# Two classes of the same name, as in the real set; IDs in another order than the sorted wnids.
CLASSES = {TENCH: ("tench, Tinca tinca", 449), BIRD: ("crane", 429), MACHINE: ("crane", 3)}


def name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08}"


# number: (class, (width, height), 0-based inclusive boxes)
WORLD = {
    2: (MACHINE, (50, 40), [(0, 0, 49, 39)]),
    3: (TENCH, (50, 40), [(5, 6, 20, 30), (25, 6, 49, 39)]),
    7: (BIRD, (30, 60), [(1, 2, 3, 4)]),
    10: (TENCH, (64, 48), [(10, 10, 10, 10)]),
}
LINES = 12
BLACKLIST = (3, 9)


def annotation(
    wnid: str, size: tuple[int, int] | None, boxes: list[Any], *, filename: str = "%s"
) -> str:
    shape = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    objects = "".join(
        f"<object><name>{wnid}</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for box in boxes
    )
    return f"<annotation><filename>{filename}</filename>{shape}{objects}</annotation>"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def picture(path: Path, size: tuple[int, int] = (50, 40), mode: str = "RGB", **save: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 90 if mode == "L" else None).save(path, **{"format": "JPEG", **save})
    return path


def write_images(folder: Path, *, by_class: bool = False, suffix: str = "JPEG") -> None:
    for number, (wnid, size, _) in WORLD.items():
        place = folder / wnid if by_class else folder
        picture(place / f"{name(number)}.{suffix}", size)


def write_xml(folder: Path, *, by_class: bool = False) -> None:
    for number, (wnid, size, boxes) in WORLD.items():
        place = folder / wnid if by_class else folder
        write(place / f"{name(number)}.xml", annotation(wnid, size, boxes))


def write_solution(path: Path) -> None:
    rows = [
        f"{name(number)},{' '.join(' '.join(map(str, (wnid, *box))) for box in boxes)} \n"
        for number, (wnid, _, boxes) in reversed(WORLD.items())
    ]
    write(path, "ImageId,PredictionString\n" + "".join(rows))


def write_mapping(path: Path) -> None:
    write(path, "".join(f"{wnid} {words}\n" for wnid, (words, _) in CLASSES.items()))


def write_devkit(folder: Path, *, table: str) -> None:
    ids = [CLASSES[WORLD[n][0]][1] if n in WORLD else 3 for n in range(1, LINES + 1)]
    write(folder / "ILSVRC2012_validation_ground_truth.txt", "".join(f"{n}\n" for n in ids))
    blacklist = "".join(f"{n}\n" for n in BLACKLIST)
    write(folder / "ILSVRC2014_clsloc_validation_blacklist.txt", blacklist)
    if table == "meta.mat":
        write_meta(folder / table)
    elif table:
        rows = [f'{number},{wnid},0,"{words}"\n' for wnid, (words, number) in CLASSES.items()]
        write(folder / table, "ilsvrc2012_id,wnid,sorted_index,words\n" + "".join(rows))


def write_meta(path: Path) -> None:
    fields = "ILSVRC2012_ID WNID words gloss num_children children wordnet_height num_train_images"
    inner = {"n00001740": ("entity", 1001), "n00021939": ("artifact", 1100)}
    synsets = np.zeros((len(CLASSES) + len(inner), 1), [(key, object) for key in fields.split()])
    for row, (wnid, (words, number)) in zip(synsets[:, 0], (CLASSES | inner).items(), strict=True):
        children = np.array([[1.0, 2.0]]) if wnid in inner else np.zeros((1, 0))
        row["ILSVRC2012_ID"], row["WNID"], row["words"] = float(number), wnid, words
        row["gloss"], row["num_children"], row["children"] = "gloss", children.size, children
        row["wordnet_height"], row["num_train_images"] = 0.0, 1300.0
    savemat(path, {"synsets": synsets})


def kaggle(root: Path) -> Path:
    inner = root / "ILSVRC"
    write_images(inner / "Data/CLS-LOC/val")
    write_xml(inner / "Annotations/CLS-LOC/val")
    lines = [f"{name(number)} {line}\n" for line, number in enumerate(reversed(WORLD), start=1)]
    write(inner / "ImageSets/CLS-LOC/val.txt", "".join(lines))
    write_mapping(root / "LOC_synset_mapping.txt")
    write_solution(root / "LOC_val_solution.csv")
    return root


def kaggle_inner_folder(root: Path) -> Path:
    return kaggle(root) / "ILSVRC"


def tars(root: Path, images: str = "val", xml: str = "ILSVRC2012_bbox_val_v3/val") -> Path:
    write_images(root / images)
    write_xml(root / xml)
    write_devkit(root / "ILSVRC2012_devkit_t12/data", table="meta.mat")
    return root


def torchvision(root: Path) -> Path:
    write_images(root / "val", by_class=True)
    write_xml(root / "annotations")
    return root


def annotations_only(root: Path) -> Path:
    write_solution(root / "LOC_val_solution.csv")
    rows = [f"{name(number)}.JPEG,{size[0]},{size[1]}\n" for number, (_, size, _) in WORLD.items()]
    write(root / "image_sizes.csv", "file,width,height\n" + "".join(rows))
    write_devkit(root, table="synsets.csv")
    return root


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "kaggle": kaggle,
    "kaggle, the inner folder as root": kaggle_inner_folder,
    "tars": tars,
    "tars, folders as unpacked": lambda root: tars(root, "ILSVRC2012_img_val", "bbox_val"),
    "tars, both unpacked in one folder": lambda root: tars(root, "val", "val"),
    "tars, everything flat in the root": lambda root: tars(root, "", ""),
    "tars, images in the root": lambda root: tars(root, "", "bbox/val"),
    "torchvision": torchvision,
    "annotations only": annotations_only,
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of each test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(folder))
    return folder


def kinds(loaded: Dataset) -> Counter[str]:
    return Counter(finding.kind for finding in loaded.findings)


def the_finding(loaded: Dataset, kind: str) -> str:
    (finding,) = [finding for finding in loaded.findings if finding.kind == kind]
    return f"{finding.image_id}: {finding.detail}"


def xml_of(root: Path, number: int) -> Path:
    return root / f"ILSVRC/Annotations/CLS-LOC/val/{name(number)}.xml"


def image_of(root: Path, number: int) -> Path:
    return root / f"ILSVRC/Data/CLS-LOC/val/{name(number)}.JPEG"


def sample(loaded: Dataset, number: int) -> Any:
    return loaded.select([name(number)])[0]


class TestLayouts:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("visit", ["fresh", "cached"])
    def test_every_layout_gives_the_same_data_set(
        self, tmp_path: Path, layout: str, visit: str
    ) -> None:
        root = LAYOUTS[layout](tmp_path)
        loaded = imagenet(root=root)
        if visit == "cached":
            loaded = imagenet(root=root)
        assert loaded.findings == ()
        assert loaded.images["image_id"].tolist() == [name(number) for number in WORLD]
        for image, (wnid, size, boxes) in zip(loaded, WORLD.values(), strict=True):
            assert image.label == wnid
            assert (image.width, image.height) == size
            assert image.box_labels == (wnid,) * len(boxes)
            assert image.boxes.tolist() == [[x0, y0, x1 + 1, y1 + 1] for x0, y0, x1, y1 in boxes]
            assert (image.path is None) == (layout == "annotations only")
            assert image.path is None or image.path.is_file()
        assert loaded.classes["wnid"].tolist() == [TENCH, BIRD, MACHINE]

    @pytest.mark.parametrize("layout", ["tars", "annotations only"])
    def test_the_devkits_files_give_ids_words_and_the_blacklist(
        self, tmp_path: Path, layout: str
    ) -> None:
        loaded = imagenet(root=LAYOUTS[layout](tmp_path))
        assert loaded.classes["ilsvrc_id"].tolist() == [449, 429, 3]
        assert loaded.classes["words"].tolist() == ["tench, Tinca tinca", "crane", "crane"]
        assert loaded.images["blacklisted"].tolist() == [False, True, False, False]

    @pytest.mark.parametrize("table", ["meta.mat", "synsets.csv"])
    @pytest.mark.parametrize("place", ["", "data"])
    def test_a_devkit_elsewhere_completes_a_root_that_has_none(
        self, tmp_path: Path, table: str, place: str
    ) -> None:
        root = kaggle(tmp_path / "root")
        write_devkit(tmp_path / "devkit" / place, table=table)
        assert not imagenet(root=root).images["blacklisted"].any()
        loaded = imagenet(root=root, devkit=tmp_path / "devkit")
        assert loaded.classes["ilsvrc_id"].tolist() == [449, 429, 3]
        assert loaded.images["blacklisted"].tolist() == [False, True, False, False]

    def test_the_training_set(self, tmp_path: Path) -> None:
        inner = tmp_path / "ILSVRC"
        lines = []
        for line, wnid in enumerate((TENCH, BIRD), start=1):
            stem = f"{wnid}_{line}"
            picture(inner / f"Data/CLS-LOC/train/{wnid}/{stem}.JPEG")
            picture(inner / f"Data/CLS-LOC/train/{wnid}/{stem}99.JPEG")  # without a box: unlisted
            text = annotation(wnid, (50, 40), [(1, 2, 3, 4)], filename=stem)
            write(inner / f"Annotations/CLS-LOC/train/{wnid}/{stem}.xml", text)
            lines.append(f"{wnid}/{stem} {line}\n")
        write(inner / "ImageSets/CLS-LOC/train_loc.txt", "".join(lines))
        write_mapping(tmp_path / "LOC_synset_mapping.txt")
        write_devkit(tmp_path / "devkit", table="meta.mat")  # of the validation set
        loaded = imagenet(root=tmp_path, split="train")
        assert loaded.images["image_id"].tolist() == [f"{TENCH}_1", f"{BIRD}_2"]
        assert loaded.images["label"].tolist() == [TENCH, BIRD]
        assert loaded.boxes.tolist() == [[1, 2, 4, 5]] * 2
        assert not loaded.images["blacklisted"].any()
        assert loaded.findings == ()

    def test_boxes_come_from_the_xml_files_or_from_the_csv(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        write(xml_of(root, 7), annotation(BIRD, None, [(0, 0, 9, 9)]))
        assert sample(imagenet(root=root), 7).boxes.tolist() == [[0, 0, 10, 10]]
        assert sample(imagenet(root=root, boxes="csv"), 7).boxes.tolist() == [[1, 2, 4, 5]]

    def test_options_name_the_pieces_elsewhere(self, tmp_path: Path) -> None:
        write_images(tmp_path / "a/pictures", by_class=True, suffix="jpg")
        write_xml(tmp_path / "b/boxes", by_class=True)
        write_mapping(tmp_path / "c/words.txt")
        (tmp_path / "root").mkdir()
        pieces = {
            "images": tmp_path / "a/pictures",
            "annotations": tmp_path / "b/boxes",
            "classes": tmp_path / "c/words.txt",
        }
        loaded = imagenet(root=tmp_path / "root", **pieces)
        assert loaded.fingerprint == imagenet(root=kaggle(tmp_path / "kaggle")).fingerprint
        assert loaded.words[TENCH] == "tench, Tinca tinca"
        write_solution(tmp_path / "d.csv")
        again = imagenet(root=tmp_path / "root", **(pieces | {"annotations": tmp_path / "d.csv"}))
        assert again.fingerprint == loaded.fingerprint

    def test_paths_are_relative_to_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kaggle(tmp_path / "data")
        monkeypatch.chdir(tmp_path)
        path = imagenet(root=Path("data"))[0].path
        assert path is not None
        assert path.is_absolute()

    def test_without_sizes_an_annotations_only_image_has_none(self, tmp_path: Path) -> None:
        (annotations_only(tmp_path) / "image_sizes.csv").unlink()
        loaded = imagenet(root=tmp_path)
        assert loaded.images[["height", "width"]].to_numpy().tolist() == [[0, 0]] * 4
        assert loaded.findings == ()
        with pytest.raises(DatasetError, match="no pixels"):
            loaded.require_pixels()

    def test_xml_files_alone_are_an_annotations_only_root(self, tmp_path: Path) -> None:
        write_xml(tmp_path / "bbox_val", by_class=True)
        loaded = imagenet(root=tmp_path)
        assert loaded.images["label"].tolist() == [wnid for wnid, _, _ in WORLD.values()]
        assert loaded.images["width"].tolist() == [size[0] for _, size, _ in WORLD.values()]

    def test_hidden_files_are_not_images(self, tmp_path: Path) -> None:
        root = torchvision(tmp_path)
        write(root / f"val/{TENCH}/._{name(3)}.JPEG", b"a companion that macOS wrote")
        assert len(imagenet(root=root)) == len(WORLD)

    def test_it_is_found_by_its_name(self) -> None:
        assert datasets.get("imagenet") is imagenet
        assert "imagenet" in list(datasets)


class TestImages:
    @pytest.mark.parametrize(
        ("mode", "save"),
        [
            ("RGB", {}),
            ("CMYK", {}),
            ("L", {}),
            ("RGB", {"format": "PNG"}),
            ("P", {"format": "PNG"}),
        ],
    )
    def test_the_size_is_read_whatever_is_in_the_file(
        self, tmp_path: Path, mode: str, save: dict[str, Any]
    ) -> None:
        root = kaggle(tmp_path)
        picture(image_of(root, 7), (30, 60), mode, **save)
        loaded = imagenet(root=root)
        assert loaded.findings == ()
        assert (sample(loaded, 7).height, sample(loaded, 7).width) == (60, 30)

    def test_an_exif_rotation_is_not_applied(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        exif = Image.Exif()
        exif[0x0112] = 6  # to be shown rotated by 90 degrees
        picture(image_of(root, 7), (30, 60), exif=exif)
        loaded = imagenet(root=root)
        assert (sample(loaded, 7).height, sample(loaded, 7).width) == (60, 30)
        assert loaded.findings == ()

    def test_broken_exif_does_not_matter(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        picture(image_of(root, 7), (30, 60), exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
        assert imagenet(root=root).findings == ()

    @pytest.mark.parametrize("content", [b"", b"this is text", b"\xff\xd8\xff\xe0\x00"])
    def test_an_unreadable_image_is_left_out(self, tmp_path: Path, content: bytes) -> None:
        root = kaggle(tmp_path)
        image_of(root, 7).write_bytes(content)
        loaded = imagenet(root=root)
        assert loaded.images["image_id"].tolist() == [name(2), name(3), name(10)]
        assert len(loaded.boxes) == 4
        assert name(7) in the_finding(loaded, "unreadable_image")

    def test_a_decompression_bomb_is_a_finding(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = kaggle(tmp_path)
        for number, factor in ((7, 10), (10, 100)):  # above PIL's warning, above its error
            picture(image_of(root, number), (10 * factor, 130))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
        loaded = imagenet(root=root)
        assert loaded.images["image_id"].tolist() == [name(2), name(3)]
        assert kinds(loaded) == {"unreadable_image": 2}
        assert "DecompressionBomb" in loaded.findings[0].detail

    def test_a_listed_image_that_is_missing_is_left_out(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        image_of(root, 7).unlink()
        loaded = imagenet(root=root)
        assert len(loaded) == 3
        assert the_finding(loaded, "missing_file").startswith(f"{name(7)}: listed")

    def test_a_dangling_link_is_a_missing_file(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        image_of(root, 7).unlink()
        image_of(root, 7).symlink_to(tmp_path / "nowhere.JPEG")
        assert kinds(imagenet(root=root)) == {"missing_file": 1}

    @pytest.mark.parametrize("suffix", ["JPEG", "jpg", "jpeg", "JPG", "png"])
    def test_extensions_in_any_case(self, tmp_path: Path, suffix: str) -> None:
        write_images(tmp_path / "val", suffix=suffix)
        write_xml(tmp_path / "bbox")
        assert len(imagenet(root=tmp_path)) == len(WORLD)

    def test_two_files_of_one_stem_are_an_error(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        picture(image_of(root, 7).with_suffix(".png"), format="PNG")
        with pytest.raises(DatasetError, match=r"00000007\.(JPEG|png)' share one"):
            imagenet(root=root)


class TestBoxes:
    def load(self, tmp_path: Path, text: str, **options: Any) -> Dataset:
        """A Kaggle root whose image 3 (tench, 50 x 40) has another annotation."""
        root = kaggle(tmp_path)
        write(xml_of(root, 3), text)
        return imagenet(root=root, **options)

    def test_float_coordinates_stay_floats(self, tmp_path: Path) -> None:
        loaded = self.load(tmp_path, annotation(TENCH, (50, 40), [(0.5, 1.25, 10.5, 20)]))
        assert sample(loaded, 3).boxes.tolist() == [[0.5, 1.25, 11.5, 21]]
        assert loaded.findings == ()

    def test_boxes_of_another_displayed_size_are_rescaled(self, tmp_path: Path) -> None:
        text = annotation(TENCH, (100, 160), [(0, 0, 99, 159), (10, 40, 29, 79)])
        loaded = self.load(tmp_path, text)
        assert sample(loaded, 3).boxes.tolist() == [[0, 0, 50, 40], [5, 10, 15, 20]]
        assert "100 x 160 pixels, the image has 50 x 40" in the_finding(loaded, "size_mismatch")

    def test_swapped_corners_are_swapped_back_before_they_are_rescaled(
        self, tmp_path: Path
    ) -> None:
        loaded = self.load(tmp_path, annotation(TENCH, (100, 80), [(29, 10, 10, 19)]))
        assert sample(loaded, 3).boxes.tolist() == [[5, 5, 15, 10]]
        assert kinds(loaded) == {"size_mismatch": 1, "odd_box": 1}

    @pytest.mark.parametrize("size", [None, (0, 0)])
    def test_a_size_that_is_not_said_changes_nothing(
        self, tmp_path: Path, size: tuple[int, int] | None
    ) -> None:
        loaded = self.load(tmp_path, annotation(TENCH, size, [(1, 2, 3, 4)]))
        assert sample(loaded, 3).boxes.tolist() == [[1, 2, 4, 5]]
        assert loaded.findings == ()

    @pytest.mark.parametrize(
        ("box", "repaired", "remark"),
        [
            ((20, 30, 10, 5), [[10, 5, 21, 31]], "corners swapped"),
            ((-3, 5, 60, 45), [[0, 5, 50, 40]], "reaches outside the image; clipped"),
            ((60, 50, 70, 60), [], "no pixel in the image; dropped"),
        ],
    )
    def test_odd_boxes_are_repaired_and_said(
        self, tmp_path: Path, box: Any, repaired: list[list[float]], remark: str
    ) -> None:
        loaded = self.load(tmp_path, annotation(TENCH, (50, 40), [box, (1, 2, 3, 4)]))
        assert sample(loaded, 3).boxes.tolist() == [*repaired, [1, 2, 4, 5]]
        assert remark in the_finding(loaded, "odd_box")

    def test_a_box_of_one_pixel_is_a_box(self, tmp_path: Path) -> None:
        loaded = imagenet(root=kaggle(tmp_path))
        assert sample(loaded, 10).boxes.tolist() == [[10, 10, 11, 11]]

    def test_an_image_without_a_box_stays(self, tmp_path: Path) -> None:
        loaded = self.load(tmp_path, annotation(TENCH, (50, 40), []))
        assert sample(loaded, 3).boxes.shape == (0, 4)
        assert sample(loaded, 3).label == TENCH
        assert kinds(loaded) == {"no_box": 1}

    @pytest.mark.parametrize("source", ["xml", "csv"])
    def test_an_image_without_an_annotation_stays(self, tmp_path: Path, source: Any) -> None:
        root = tars(tmp_path)
        write_solution(root / "LOC_val_solution.csv")
        (root / f"ILSVRC2012_bbox_val_v3/val/{name(3)}.xml").unlink()
        solution = root / "LOC_val_solution.csv"
        lines = [line for line in solution.read_text().splitlines() if name(3) not in line]
        solution.write_text("\n".join(lines))
        loaded = imagenet(root=root, boxes=source)
        assert sample(loaded, 3).boxes.shape == (0, 4)
        assert kinds(loaded) == {"no_annotation": 1, "no_box": 1}

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "not well-formed"),
            (annotation(TENCH, (50, 40), [(1, 2, 3, 4)])[:150], "not well-formed"),
            ("<annotation><object><name>x</name></object></annotation>", "no <bndbox>"),
            (annotation(TENCH, None, [(1, 2, 3, "four")]), "<ymax> is not a number: 'four'"),
            (
                '<!DOCTYPE a [<!ENTITY x "lol"><!ENTITY y "&x;&x;&x;">]>'
                "<annotation>&y;</annotation>",
                "refused for safety",
            ),
            (
                '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
                "<annotation>&x;</annotation>",
                "refused for safety",
            ),
        ],
    )
    def test_a_bad_annotation_leaves_its_image_out(
        self, tmp_path: Path, text: str, reason: str
    ) -> None:
        loaded = self.load(tmp_path, text)
        assert loaded.images["image_id"].tolist() == [name(2), name(7), name(10)]
        finding = the_finding(loaded, "bad_annotation")
        assert reason in finding
        assert f"{name(3)}.xml" in finding
        # Read from the cache it is the same.
        assert imagenet(root=tmp_path).findings == loaded.findings

    def test_a_malformed_csv_is_an_error(self, tmp_path: Path) -> None:
        root = annotations_only(tmp_path)
        with (root / "LOC_val_solution.csv").open("a") as file:
            file.write(f"{name(11)},{TENCH} 1 2 3\n")
        with pytest.raises(DatasetError, match=r"LOC_val_solution\.csv, line 6: expected groups"):
            imagenet(root=root)


class TestNames:
    def load(self, tmp_path: Path, *names: str) -> Dataset:
        """A Kaggle root whose image 3 (tench) has one box a name, 2 to the right each."""
        root = kaggle(tmp_path)
        boxes = [annotation(n, None, [(2 * i, 0, 2 * i + 1, 1)]) for i, n in enumerate(names)]
        objects = "".join(box[box.index("<object>") : -len("</annotation>")] for box in boxes)
        write(xml_of(root, 3), f"<annotation>{objects}</annotation>")
        return imagenet(root=root)

    @pytest.mark.parametrize("words", ["tench", "Tinca tinca", "tinca_tinca", "tench, Tinca tinca"])
    def test_words_name_the_images_own_class(self, tmp_path: Path, words: str) -> None:
        loaded = self.load(tmp_path, words)
        assert sample(loaded, 3).box_labels == (TENCH,)
        assert loaded.findings == ()

    def test_words_of_two_classes_mean_the_images_own(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        for number in (2, 7):
            write(xml_of(root, number), annotation("crane", None, [(0, 0, 5, 5)]))
        loaded = imagenet(root=root)
        assert sample(loaded, 2).box_labels == (MACHINE,)
        assert sample(loaded, 7).box_labels == (BIRD,)

    def test_words_of_two_other_classes_mean_nothing(self, tmp_path: Path) -> None:
        loaded = self.load(tmp_path, "crane", TENCH)
        assert sample(loaded, 3).boxes.tolist() == [[2, 0, 4, 2]]
        assert "'crane' is of no known class" in the_finding(loaded, "unknown_class")

    def test_words_of_one_other_class_mean_that_class(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        write(xml_of(root, 7), annotation("Tench", None, [(0, 0, 5, 5)]))
        loaded = imagenet(root=root)
        assert sample(loaded, 7).box_labels == (TENCH,)
        assert kinds(loaded) == {"label_mismatch": 1}

    @pytest.mark.parametrize("unknown", ["n99999999", "ten", "zebra"])
    def test_an_unknown_class_leaves_its_object_out(self, tmp_path: Path, unknown: str) -> None:
        loaded = self.load(tmp_path, unknown, TENCH)
        assert sample(loaded, 3).boxes.tolist() == [[2, 0, 4, 2]]
        assert f"{unknown!r} is of no known class" in the_finding(loaded, "unknown_class")


class TestLabels:
    def test_without_any_table_the_folders_are_the_classes(self, tmp_path: Path) -> None:
        loaded = imagenet(root=torchvision(tmp_path))
        assert loaded.classes.to_numpy().tolist() == [[w, w, 0] for w in (TENCH, BIRD, MACHINE)]

    def test_a_subset_does_not_change_the_classes(self, tmp_path: Path) -> None:
        root = torchvision(tmp_path)
        subset = write(tmp_path / "subset.txt", name(7))
        assert len(imagenet(root=root, subset=subset).classes) == 3

    def test_a_folder_that_no_table_knows_leaves_its_images_out(self, tmp_path: Path) -> None:
        root = torchvision(tmp_path)
        write_mapping(root / "LOC_synset_mapping.txt")
        (root / f"val/{BIRD}").rename(root / "val/n99999999")
        loaded = imagenet(root=root)
        assert len(loaded) == 3
        assert "'n99999999' is not among the 3 classes" in the_finding(loaded, "unknown_class")

    def test_a_folder_that_contradicts_the_devkit_is_said(self, tmp_path: Path) -> None:
        root = torchvision(tmp_path)
        write_devkit(root, table="synsets.csv")
        (root / f"val/{BIRD}").rename(root / "val/bird")
        (root / f"val/{MACHINE}").rename(root / f"val/{BIRD}")
        (root / "val/bird").rename(root / f"val/{MACHINE}")
        loaded = imagenet(root=root)
        # Against the devkit, and against the boxes.
        assert kinds(loaded) == {"label_mismatch": 4}
        assert sample(loaded, 7).label == MACHINE

    def test_the_ground_truth_decides_where_the_boxes_are_of_two_classes(
        self, tmp_path: Path
    ) -> None:
        root = tars(tmp_path)
        both = annotation(MACHINE, None, [(0, 0, 5, 5)]).replace(
            "</annotation>", annotation(BIRD, None, [(1, 1, 2, 2)])[12:].partition("</filename>")[2]
        )
        write(root / f"ILSVRC2012_bbox_val_v3/val/{name(7)}.xml", both)
        image = sample(imagenet(root=root), 7)
        assert image.label == BIRD
        assert image.box_labels == (MACHINE, BIRD)

    def test_id_1001_is_the_root_of_the_hierarchy(self, tmp_path: Path) -> None:
        root = annotations_only(tmp_path)
        truth = root / "ILSVRC2012_validation_ground_truth.txt"
        lines = truth.read_text().splitlines()
        lines[3 - 1] = "1001"
        truth.write_text("\n".join(lines))
        loaded = imagenet(root=root)
        assert sample(loaded, 3).label == ROOT_SYNSET
        assert loaded.findings == ()

    def test_an_id_without_a_class_is_an_error(self, tmp_path: Path) -> None:
        root = annotations_only(tmp_path)
        truth = root / "ILSVRC2012_validation_ground_truth.txt"
        truth.write_text(truth.read_text() + "77\n")
        with pytest.raises(
            DatasetError, match=r"line 13: expected an ILSVRC2012_ID of the 3 in .*77"
        ):
            imagenet(root=root)

    def test_an_image_that_nothing_names_is_left_out(self, tmp_path: Path) -> None:
        write_images(tmp_path / "val")
        write_xml(tmp_path / "bbox")
        write(tmp_path / f"bbox/{name(3)}.xml", annotation(TENCH, None, []))
        loaded = imagenet(root=tmp_path)
        assert len(loaded) == 3
        assert kinds(loaded) == {"no_label": 1}

    def rename(self, root: Path) -> None:
        """Names without numbers: a00, a01, ... in the order of the numbers."""
        for place, number in enumerate(WORLD):
            for path in list(root.rglob(f"{name(number)}.*")):
                path.rename(path.with_stem(f"a{place:02}"))

    def test_names_without_numbers_count_by_position(self, tmp_path: Path) -> None:
        root = tars(tmp_path)
        self.rename(root)
        devkit = root / "ILSVRC2012_devkit_t12/data"
        ids = "".join(f"{CLASSES[wnid][1]}\n" for wnid, _, _ in WORLD.values())
        write(devkit / "ILSVRC2012_validation_ground_truth.txt", ids)
        loaded = imagenet(root=root)
        assert loaded.images["label"].tolist() == [wnid for wnid, _, _ in WORLD.values()]
        assert loaded.images["blacklisted"].tolist() == [False, False, True, False]  # the third
        subset = write(tmp_path / "subset.txt", "a03\na02\n")
        assert imagenet(root=root, subset=subset).images["blacklisted"].tolist() == [False, True]

    def test_names_without_numbers_need_a_line_for_every_image(self, tmp_path: Path) -> None:
        root = tars(tmp_path)
        self.rename(root)
        with pytest.raises(DatasetError, match=r"no image id ends .* 4 images for 12 lines"):
            imagenet(root=root)


class TestSubset:
    def test_the_list_gives_the_images_and_their_order(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        text = f"{name(10)}\n{TENCH}/{name(3)} 17\n{name(2)}.JPEG\n"
        loaded = imagenet(root=root, subset=write(tmp_path / "subset.txt", text))
        assert loaded.images["image_id"].tolist() == [name(10), name(3), name(2)]
        assert [len(image.boxes) for image in loaded] == [1, 2, 1]
        assert loaded[1].boxes.tolist() == [[5, 6, 21, 31], [25, 6, 50, 40]]

    def test_a_subset_keeps_its_numbers(self, tmp_path: Path) -> None:
        root = annotations_only(tmp_path)
        subset = write(tmp_path / "subset.txt", f"{name(10)}\n{name(3)}\n")
        assert imagenet(root=root, subset=subset).images["blacklisted"].tolist() == [False, True]

    def test_only_its_files_are_read(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        write(xml_of(root, 7), "broken")
        subset = write(tmp_path / "subset.txt", name(3))
        assert imagenet(root=root, subset=subset).findings == ()

    def test_what_is_left_out_is_left_out_of_a_subset_too(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        write(xml_of(root, 7), "broken")
        image_of(root, 2).unlink()
        subset = write(tmp_path / "subset.txt", "\n".join(map(name, (7, 2, 3))))
        loaded = imagenet(root=root, subset=subset)
        assert loaded.images["image_id"].tolist() == [name(3)]
        assert kinds(loaded) == {"bad_annotation": 1, "missing_file": 1}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("nonsense\n", "1 of 1 listed images are not in the data set, the first is 'nonsense'"),
            ("\n", "expected an image id a line, found none"),
        ],
    )
    @pytest.mark.parametrize("layout", ["kaggle", "annotations only"])
    def test_a_list_of_other_things_is_an_error(
        self, tmp_path: Path, layout: str, text: str, message: str
    ) -> None:
        subset = write(tmp_path / "subset.txt", text)
        with pytest.raises(DatasetError, match=r"subset\.txt") as caught:
            imagenet(root=LAYOUTS[layout](tmp_path / "root"), subset=subset)
        assert message in str(caught.value)


class TestWrongInput:
    def test_a_missing_root_says_what_is_there_instead(self, tmp_path: Path) -> None:
        kaggle(tmp_path / "imagenet")
        with pytest.raises(DatasetError, match=r"root: no such file or folder: .*holds imagenet"):
            imagenet(root=tmp_path / "ImageNet1k" / "deep")

    def test_a_root_of_another_kind_says_what_was_looked_for(self, tmp_path: Path) -> None:
        write(tmp_path / "train/cats/1.txt", "")
        with pytest.raises(DatasetError) as caught:
            imagenet(root=tmp_path)
        message = str(caught.value)
        for part in ("ILSVRC/Data/CLS-LOC/val", "LOC_val_solution.csv", "found train", "images="):
            assert part in message

    def test_a_file_is_no_root(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="root: expected a folder, found a file"):
            imagenet(root=write(tmp_path / "a.zip", ""))

    def test_images_without_boxes_are_an_error(self, tmp_path: Path) -> None:
        write_images(tmp_path / "val")
        with pytest.raises(DatasetError, match=r"no boxes of split 'val'.*annotations="):
            imagenet(root=tmp_path)

    @pytest.mark.parametrize(
        ("source", "lacks"), [("xml", "folder of XML"), ("csv", "solution CSV")]
    )
    def test_boxes_that_are_not_there_are_an_error(
        self, tmp_path: Path, source: Any, lacks: str
    ) -> None:
        root = annotations_only(tmp_path) if source == "xml" else torchvision(tmp_path)
        with pytest.raises(DatasetError, match=f"boxes='{source}' was asked for, .* no {lacks}"):
            imagenet(root=root, boxes=source)

    @pytest.mark.parametrize("option", ["images", "annotations", "devkit"])
    def test_an_option_must_name_its_piece(self, tmp_path: Path, option: str) -> None:
        root = kaggle(tmp_path / "root")
        with pytest.raises(DatasetError, match=f"{option}: no such file or folder"):
            imagenet(root=root, **{option: tmp_path / "nowhere"})
        (tmp_path / "empty").mkdir()
        with pytest.raises(DatasetError, match=f"{option}: .*empty"):
            imagenet(root=root, **{option: tmp_path / "empty"})

    def test_no_image_left_says_why(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        for number in WORLD:
            image_of(root, number).write_bytes(b"")
        with pytest.raises(
            DatasetError, match=r"no image .* is left; unreadable_image: 4; the first"
        ):
            imagenet(root=root)

    def test_an_empty_list_of_images_is_an_error(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        write(root / "ILSVRC/ImageSets/CLS-LOC/val.txt", "")
        with pytest.raises(DatasetError, match="the list of images of split 'val' is empty"):
            imagenet(root=root)


class Counted:
    """Counts the XML files parsed and the image headers read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.xml = self.headers = 0
        parse, open_image = parse_xml, Image.open

        def counted_parse(data: bytes) -> Any:
            self.xml += 1
            return parse(data)

        def counted_open(*args: Any, **options: Any) -> Any:
            self.headers += 1
            return open_image(*args, **options)

        monkeypatch.setattr(index_module, "parse_xml", counted_parse)
        monkeypatch.setattr(Image, "open", counted_open)

    def take(self) -> tuple[int, int]:
        counts = self.xml, self.headers
        self.xml = self.headers = 0
        return counts


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def same(first: Dataset, second: Dataset) -> bool:
    pd.testing.assert_frame_equal(first.images, second.images)
    pd.testing.assert_frame_equal(first.classes, second.classes)
    return (
        first.findings == second.findings
        and np.array_equal(first.boxes, second.boxes)
        and first.box_labels.tolist() == second.box_labels.tolist()
    )


class TestCache:
    def odd_root(self, tmp_path: Path) -> Path:
        """A root with everything that a table must bring back as it was."""
        root = kaggle(tmp_path)
        write(xml_of(root, 2), annotation("crane", (100, 80), [(9.5, 3, 1, 4), (1, 1, 2, 2)]))
        write(xml_of(root, 3), annotation(TENCH, None, []))
        write(xml_of(root, 7), "broken")
        return root

    def test_the_second_load_reads_nothing_and_says_the_same(
        self, tmp_path: Path, counted: Counted
    ) -> None:
        root = self.odd_root(tmp_path)
        first = imagenet(root=root)
        assert counted.take() == (4, 4)
        assert same(imagenet(root=root), first)
        assert counted.take() == (0, 0)
        assert same(imagenet(root=root, cache=False), first)
        assert counted.take() == (4, 4)

    @pytest.mark.parametrize("change", ["content", "time"])
    def test_a_changed_annotation_is_read_again(
        self, tmp_path: Path, counted: Counted, change: str
    ) -> None:
        root = kaggle(tmp_path)
        imagenet(root=root)
        counted.take()
        if change == "content":
            write(xml_of(root, 7), annotation(BIRD, (30, 60), [(10, 20, 13, 14)]))
        else:
            os.utime(xml_of(root, 7), ns=(1, 1))
        imagenet(root=root)
        assert counted.take() == (4, 0)

    def test_a_changed_image_is_read_again(self, tmp_path: Path, counted: Counted) -> None:
        root = kaggle(tmp_path)
        imagenet(root=root)
        counted.take()
        picture(image_of(root, 7), (31, 61))
        assert kinds(imagenet(root=root)) == {"size_mismatch": 1}
        assert counted.take() == (0, 4)

    def test_an_added_and_a_removed_file_are_seen(self, tmp_path: Path, counted: Counted) -> None:
        root = torchvision(tmp_path)
        imagenet(root=root)
        counted.take()
        picture(root / f"val/{TENCH}/{name(4)}.JPEG")
        assert kinds(imagenet(root=root)) == {"no_annotation": 1, "no_box": 1}
        assert counted.take() == (0, 5)
        (root / f"val/{TENCH}/{name(4)}.JPEG").unlink()
        (root / f"annotations/{name(3)}.xml").unlink()
        assert kinds(imagenet(root=root)) == {"no_annotation": 1, "no_box": 1}
        assert counted.take() == (3, 0)

    def test_a_changed_csv_is_read_again(self, tmp_path: Path) -> None:
        root = annotations_only(tmp_path)
        imagenet(root=root)
        path = root / "LOC_val_solution.csv"
        path.write_text(path.read_text().replace("1 2 3 4", "1 2 3 9"))
        assert sample(imagenet(root=root), 7).boxes.tolist() == [[1, 2, 4, 10]]

    @pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "text"])
    def test_a_damaged_cache_is_built_anew(
        self, tmp_path: Path, cache: Path, counted: Counted, damage: str
    ) -> None:
        root = self.odd_root(tmp_path)
        first = imagenet(root=root)
        counted.take()
        files = list(cache.rglob("*.parquet"))
        assert len(files) == 4
        for path in files:
            data = path.read_bytes()
            flipped = bytes(255 - byte for byte in data[30:60])
            damaged = {
                "truncated": data[: len(data) // 2],
                "flipped": data[:30] + flipped + data[60:],
                "emptied": b"",
                "text": b"hello",
            }
            path.write_bytes(damaged[damage])
        assert same(imagenet(root=root), first)
        assert counted.take() == (4, 4)
        imagenet(root=root)
        assert counted.take() == (0, 0)

    def test_nothing_else_is_left_in_the_cache_folder(self, tmp_path: Path, cache: Path) -> None:
        imagenet(root=kaggle(tmp_path))
        assert {path.suffix for path in cache.rglob("*") if path.is_file()} == {".parquet"}

    def test_a_folder_that_cannot_be_written_only_means_no_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        root = kaggle(tmp_path)
        monkeypatch.setenv("WSOL_BENCH_CACHE", str(write(tmp_path / "a file", "")))
        with caplog.at_level(logging.WARNING):
            loaded = imagenet(root=root)
        assert len(loaded) == len(WORLD)
        assert len(caplog.records) == 1
        assert "nothing is cached" in caplog.text

    def test_without_cache_nothing_is_written(self, tmp_path: Path, cache: Path) -> None:
        imagenet(root=kaggle(tmp_path), cache=False)
        assert list(cache.iterdir()) == []

    def test_a_failed_write_leaves_no_file(self, cache: Path) -> None:
        unwritable = pd.DataFrame({"mixed": [1, "one"]})
        with pytest.raises(Exception, match="mixed"):
            TableCache().table("kind", "key", lambda: unwritable)
        assert [path for path in cache.rglob("*") if path.is_file()] == []


class TestScan:
    def test_only_wanted_files_are_looked_at(self, tmp_path: Path) -> None:
        write(tmp_path / "b/x.png", "12345")
        write(tmp_path / "a.JPG", "123")
        table = scan(tmp_path, {"jpg", "png"}, wanted={"x"})
        assert table[["stem", "folder", "file", "bytes"]].to_numpy().tolist() == [
            ["a", "", "a.JPG", -1],
            ["x", "b", "b/x.png", 5],
        ]
        assert scan(tmp_path, {"jpg", "png"}, nested=False)["stem"].tolist() == ["a"]

    def test_an_empty_folder_is_an_empty_table(self, tmp_path: Path) -> None:
        assert scan(tmp_path, {"jpg"}).shape == (0, 5)

    def test_a_missing_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="cannot be listed"):
            scan(tmp_path / "nowhere", {"jpg"})

    @pytest.mark.skipif(os.name != "posix", reason="only there a name can be any bytes")
    def test_a_name_that_is_no_text_is_an_error(self, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).touch()
        with pytest.raises(DatasetError, match="not UTF-8"):
            scan(tmp_path, {"jpg"})


class TestProgress:
    def test_few_files_are_read_in_silence(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        imagenet(root=kaggle(tmp_path))
        assert capsys.readouterr() == ("", "")

    def test_many_files_show_progress_on_standard_error(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(index_module, "MANY", 3)
        monkeypatch.setattr(index_module, "STEP", 3)
        imagenet(root=kaggle(tmp_path))
        out, err = capsys.readouterr()
        assert out == ""
        assert "reading XML annotations" in err
        assert "4/4" in err


class TestRealData:
    def test_ilsvrc_mini(self, data_dir: Path) -> None:
        loaded = imagenet(root=data_dir / "ilsvrc-mini")
        assert len(loaded) == 510
        assert loaded.images["label"].nunique() == 30
        assert len(loaded.classes) == 1000
        assert loaded.findings == ()
        from_csv = imagenet(root=data_dir / "ilsvrc-mini", boxes="csv")
        assert same(loaded, from_csv)

    def test_the_devkit_completes_ilsvrc_mini(self, data_dir: Path) -> None:
        devkit = data_dir / "ilsvrc-val-annotations"
        loaded = imagenet(root=data_dir / "ilsvrc-mini", devkit=devkit)
        assert loaded.findings == ()  # the ground truth agrees with the CSV and with the boxes
        everything = imagenet(root=devkit)
        part = everything.select(loaded.images["image_id"].tolist())
        assert part.fingerprint == loaded.fingerprint
        assert part.images[["height", "width"]].equals(loaded.images[["height", "width"]])

    def test_all_validation_annotations(self, data_dir: Path) -> None:
        loaded = imagenet(root=data_dir / "ilsvrc-val-annotations")
        assert len(loaded) == 50_000
        assert len(loaded.boxes) == 80_477
        assert (loaded.images["n_boxes"] > 1).sum() == 11_715
        assert loaded.images["n_boxes"].between(1, 20).all()
        assert loaded.images["blacklisted"].sum() == 1_762
        assert (loaded.boxes[:, 0] == 0).sum() == 7_388
        ids = loaded.classes.set_index("wnid")["ilsvrc_id"]
        assert ids["n01440764"] == 449
        # Sorted-wnid order and the devkit's agree for no class.
        assert not (ids.to_numpy() - 1 == np.arange(1000)).any()
        assert loaded.findings == ()
