"""Boxes of images that were resized since: scaled by the sizes they were drawn on, or a finding."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imagenet_roots import annotation, kinds, the_finding, write
from PIL import Image

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.datasets.table import table
from wsol_bench.errors import DatasetError

OFFICIAL = {f"ILSVRC2012_val_{n:08}": (500, 375) for n in range(1, 6)}
BOXES = [
    (0, 0, 499, 374),
    (100, 75, 399, 299),
    (10, 20, 489, 100),
    (250, 3, 480, 370),
    (7, 8, 9, 9),
]


def resized_root(root: Path, *, xml: bool = False) -> Path:
    """Five images of 500 x 375 pixels, stored at 300 x 225."""
    for image_id in OFFICIAL:
        (root / "val").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (300, 225)).save(root / f"val/{image_id}.JPEG")
    lines = [
        f"{i},n01440764 {' '.join(map(str, box))}" for i, box in zip(OFFICIAL, BOXES, strict=True)
    ]
    write(root / "LOC_val_solution.csv", "\n".join(["ImageId,PredictionString", *lines]))
    if xml:
        for i, box in zip(OFFICIAL, BOXES, strict=True):
            write(root / f"xml/{i}.xml", annotation("n01440764", None, [box]))
    return root


def write_sizes(path: Path, sizes: dict[str, tuple[int, int]] = OFFICIAL) -> None:
    rows = [f"{name}.JPEG,{width},{height}" for name, (width, height) in sizes.items()]
    write(path, "\n".join(["file,width,height", *rows]) + "\n")


def scaled(factor: float) -> np.ndarray:
    return (np.array(BOXES) + np.array([0, 0, 1, 1])) * factor


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


class TestSizesOfImagenet:
    @pytest.mark.parametrize("place", ["the root", "beside the CSV", "the devkit"])
    @pytest.mark.parametrize("xml", [False, True])
    def test_boxes_are_scaled_by_image_sizes_csv(
        self, tmp_path: Path, place: str, xml: bool
    ) -> None:
        root, options = resized_root(tmp_path / "root", xml=xml), {}
        folder = root
        if place == "beside the CSV" and not xml:
            folder = tmp_path / "csv"
            folder.mkdir()
            (root / "LOC_val_solution.csv").rename(folder / "LOC_val_solution.csv")
            options["annotations"] = folder / "LOC_val_solution.csv"
        elif place == "the devkit":
            folder = tmp_path / "devkit"
            write(
                folder / "synsets.csv", "ilsvrc2012_id,wnid,sorted_index,words\n1,n01440764,0,tench"
            )
            options["devkit"] = folder
        write_sizes(folder / "image_sizes.csv")
        loaded = imagenet(root=root, **options)
        assert np.allclose(loaded.boxes, scaled(0.6), rtol=0, atol=1e-12)
        assert kinds(loaded) == {"size_mismatch": 5}

    def test_the_size_in_an_xml_file_wins(self, tmp_path: Path) -> None:
        root = resized_root(tmp_path, xml=True)
        first = next(iter(OFFICIAL))
        write(root / f"xml/{first}.xml", annotation("n01440764", (600, 450), [(0, 0, 599, 449)]))
        write_sizes(root / "image_sizes.csv")
        assert imagenet(root=root)[0].boxes.tolist() == [[0, 0, 300, 225]]

    def test_two_sizes_of_an_image_are_an_error(self, tmp_path: Path) -> None:
        root = resized_root(tmp_path)
        write_sizes(root / "image_sizes.csv")
        with (root / "image_sizes.csv").open("a") as file:
            file.write("ILSVRC2012_val_00000001.JPEG,1,2\n")
        with pytest.raises(DatasetError, match=r"image_sizes\.csv: expected one size an image"):
            imagenet(root=root)

    def test_images_without_a_line_among_resized_ones_are_said(self, tmp_path: Path) -> None:
        root = resized_root(tmp_path)
        write_sizes(root / "image_sizes.csv", dict(list(OFFICIAL.items())[:4]))
        loaded = imagenet(root=root)
        assert kinds(loaded) == {"size_mismatch": 4, "resized_images": 1}
        assert "4 of 4 images have another size" in the_finding(loaded, "resized_images")

    @pytest.mark.parametrize(
        ("size", "said"), [((500, 375), False), ((501, 375), False), ((500, 500), True)]
    )
    def test_other_proportions_are_said(
        self, tmp_path: Path, size: tuple[int, int], said: bool
    ) -> None:
        """Of an image that was cropped, not squashed, rescaled boxes are wrong."""
        root = resized_root(tmp_path)
        write_sizes(root / "image_sizes.csv", dict.fromkeys(OFFICIAL, size))
        details = [finding.detail for finding in imagenet(root=root).findings]
        assert ["if the image was cropped" in detail for detail in details] == [said] * 5


class TestFinding:
    def test_boxes_that_leave_their_images_show_that_these_were_resized(
        self, tmp_path: Path
    ) -> None:
        loaded = imagenet(root=resized_root(tmp_path))
        finding = the_finding(loaded, "resized_images")
        assert finding.startswith(": 4 of 5 boxes leave their images")  # of the data set as a whole
        for what_to_give in ("image_sizes.csv", "width and height", "<size>"):
            assert what_to_give in finding
        assert kinds(loaded) == {"resized_images": 1, "odd_box": 4}

    def load(
        self, tmp_path: Path, boxes: list[Any], *, said: bool = False, pixels: bool = True
    ) -> Dataset:
        """A table of one image a box, each of 100 x 80 pixels, which the table may say."""
        size, columns = (",100,80", ",width,height") if said else ("", "")
        rows = [f"{n}.png,a,{','.join(map(str, box))}{size}" for n, box in enumerate(boxes)]
        for n in range(len(boxes)):
            Image.new("L", (100, 80)).save(tmp_path / f"{n}.png")
        path = write(
            tmp_path / "boxes.csv", "\n".join([f"image,label,x0,y0,x1,y1{columns}", *rows])
        )
        return table(path=path, images=tmp_path if pixels else None, convention="half_open")

    def test_a_few_boxes_that_leave_are_only_odd(self, tmp_path: Path) -> None:
        boxes = [(1, 2, 120, 30)] * 2 + [(1, 2, 100, 80)] * 4
        assert kinds(self.load(tmp_path, boxes)) == {"odd_box": 2}

    def test_a_small_share_of_boxes_that_leave_is_only_odd(self, tmp_path: Path) -> None:
        boxes = [(1, 2, 120, 30)] * 3 + [(1, 2, 100, 80)] * 60
        assert kinds(self.load(tmp_path, boxes)) == {"odd_box": 3}

    def test_a_pixel_too_far_is_a_matter_of_the_convention(self, tmp_path: Path) -> None:
        assert kinds(self.load(tmp_path, [(1, 2, 101, 81)] * 9)) == {"odd_box": 9}

    def test_boxes_to_the_left_of_an_image_do_not_come_from_another_size(
        self, tmp_path: Path
    ) -> None:
        assert kinds(self.load(tmp_path, [(-9, -9, 50, 80)] * 9)) == {"odd_box": 9}

    @pytest.fixture
    def in_a_corner(self) -> list[Any]:
        """Boxes in the upper left quarter of their images, which they fill."""
        rng = np.random.default_rng(0)
        corners = np.sort(rng.integers(0, [[[51], [41]]], (40, 2, 2)), axis=2)
        boxes = corners.transpose(0, 2, 1).reshape(40, 4) + np.array([0, 0, 1, 1])
        return [*boxes.tolist(), (0, 0, 50, 40)]

    def test_boxes_that_fill_a_corner_alone_show_that_the_images_were_enlarged(
        self, tmp_path: Path, in_a_corner: list[Any]
    ) -> None:
        loaded = self.load(tmp_path, in_a_corner)
        assert "none of 41 boxes reaches beyond" in the_finding(loaded, "resized_images")

    @pytest.mark.parametrize("pixels", [True, False])
    def test_they_do_not_show_it_where_the_annotations_say_the_size(
        self, tmp_path: Path, in_a_corner: list[Any], pixels: bool
    ) -> None:
        assert kinds(self.load(tmp_path, in_a_corner, said=True, pixels=pixels)) == {}

    @pytest.mark.parametrize("pixels", [True, False])
    def test_a_said_size_that_boxes_leave_is_to_be_corrected(
        self, tmp_path: Path, pixels: bool
    ) -> None:
        loaded = self.load(tmp_path, [(1, 2, 120, 30)] * 9, said=True, pixels=pixels)
        finding = the_finding(loaded, "resized_images")
        assert "9 of 9 boxes leave their images" in finding
        assert finding.endswith("Correct the sizes, or the boxes")

    def test_boxes_in_the_middle_do_not_show_it(self, tmp_path: Path) -> None:
        assert kinds(self.load(tmp_path, [(20, 16, 80, 64)] * 40)) == {}


class TestRealImages:
    """Imagewoof at 320 pixels in miniature: images of ILSVRC, resized, with the official CSV."""

    @pytest.fixture
    def folders(self, data_dir: Path, tmp_path: Path) -> tuple[Path, Path]:
        official, root = data_dir / "ilsvrc-mini", tmp_path / "imagewoof-320"
        (root / "val").mkdir(parents=True)
        shutil.copy(official / "LOC_val_solution.csv", root)
        for path in sorted((official / "ILSVRC/Data/CLS-LOC/val").iterdir())[::17]:
            with Image.open(path) as image:
                factor = 320 / min(image.size)
                size = tuple(round(side * factor) for side in image.size)
                image.convert("RGB").resize(size).save(root / "val" / path.name)
        return root, official

    def test_with_sizes_every_box_is_the_official_one_scaled(
        self, folders: tuple[Path, Path], data_dir: Path
    ) -> None:
        root, official = folders
        assert kinds(imagenet(root=root))["resized_images"] == 1  # without sizes, a finding
        shutil.copy(data_dir / "ilsvrc-val-annotations/image_sizes.csv", root)
        loaded = imagenet(root=root)
        whole = imagenet(root=official).select(loaded.images["image_id"].tolist())
        sides = ["width", "height"]
        factors = loaded.images[sides].to_numpy() / whole.images[sides].to_numpy()
        of_boxes = np.repeat(np.tile(factors, 2), whole.images["n_boxes"], axis=0)
        assert len(loaded) == 30
        assert np.allclose(loaded.boxes, whole.boxes * of_boxes, rtol=0, atol=1e-9)
        assert set(kinds(loaded)) == {"size_mismatch"}

    @pytest.mark.slow
    def test_no_real_data_set_of_whole_images_seems_resized(self, data_dir: Path) -> None:
        for root in ("ilsvrc-mini", "ilsvrc-val-annotations"):
            assert kinds(imagenet(root=data_dir / root, boxes="csv")) == {}
