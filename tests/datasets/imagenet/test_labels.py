"""Classes and labels of an ImageNet root, from names, folders, XML and the devkit."""

from pathlib import Path

import pytest
from imagenet_roots import (
    BIRD,
    CLASSES,
    MACHINE,
    TENCH,
    WORLD,
    annotation,
    annotations_only,
    kaggle,
    kinds,
    name,
    sample,
    tars,
    the_finding,
    torchvision,
    write,
    write_devkit,
    write_images,
    write_mapping,
    write_xml,
    xml_of,
)

from wsol_bench.datasets import ROOT_SYNSET, Dataset
from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.errors import DatasetError


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
        with pytest.raises(
            DatasetError,
            match=r"digits, or one line an image, found .* 4 images for 12 lines; to do without",
        ):
            imagenet(root=root)
