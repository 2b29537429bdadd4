"""Every layout of an ImageNet root gives the same data set."""

from pathlib import Path

import numpy as np
import pytest
from imagenet_roots import (
    BIRD,
    LAYOUTS,
    MACHINE,
    TENCH,
    WORLD,
    annotation,
    annotations_only,
    kaggle,
    name,
    picture,
    same,
    sample,
    torchvision,
    write,
    write_devkit,
    write_images,
    write_mapping,
    write_solution,
    write_xml,
    xml_of,
)

from wsol_bench.datasets import datasets
from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.errors import DatasetError


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
