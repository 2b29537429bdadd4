"""Boxes in shares of their images: refused as pixels, and read with convention: normalized."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imagenet_roots import TENCH, annotation, kaggle, kinds, name, the_finding, write, xml_of
from PIL import Image

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.datasets.table import table
from wsol_bench.datasets.tiny_imagenet import tiny_imagenet
from wsol_bench.datasets.voc import voc
from wsol_bench.datasets.wsol_metadata import wsol_metadata
from wsol_bench.errors import DatasetError

SHARES = [(0.1, 0.2, 0.5, 0.9), (0, 0, 1, 1), (0.25, 0.5, 1.0000001, 0.75)]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def load(
    folder: Path, boxes: list[Any], convention: Any, *, columns: str = "x0,y0,x1,y1", **options: Any
) -> Dataset:
    """A table of one image of 200 x 100 pixels, which is there if ``images`` is given."""
    Image.new("L", (200, 100)).save(folder / "1.png")
    rows = [f"1.png,a,{','.join(map(str, box))}" for box in boxes]
    path = write(folder / "boxes.csv", "\n".join([f"image,label,{columns}", *rows]))
    return table(path=path, convention=convention, **options)


class TestRefused:
    @pytest.mark.parametrize("convention", ["half_open", "inclusive", "one_based_inclusive"])
    @pytest.mark.parametrize("boxes", [SHARES, SHARES[:1], SHARES[1:2], [(-0.02, 0.1, 1.03, 0.4)]])
    def test_a_table_of_shares_offers_the_convention(
        self, tmp_path: Path, boxes: list[Any], convention: str
    ) -> None:
        with pytest.raises(DatasetError, match=r"boxes\.csv: .*found shares.*normalized") as error:
            load(tmp_path, boxes, convention, images=tmp_path)
        assert "\n" not in str(error.value)

    def test_widths_and_heights_may_be_shares_too(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"found shares .* \(x0, y0, x1, y1\)"):
            load(tmp_path, [(0.1, 0.2, 0.5, 0.5)], "xywh", columns="x,y,w,h")

    def imagenet_csv(self, root: Path) -> Dataset:
        kaggle(root)
        lines = [f"{name(n)},{TENCH} 0.1 0.2 0.5 0.75" for n in (2, 3, 7, 10)]
        write(root / "LOC_val_solution.csv", "\n".join(["ImageId,PredictionString", *lines]))
        return imagenet(root=root, boxes="csv")

    def imagenet_xml(self, root: Path) -> Dataset:
        kaggle(root)
        for n in (2, 3, 7, 10):
            write(xml_of(root, n), annotation(TENCH, (50, 40), [(0.1, 0.2, 0.5, 0.75)]))
        return imagenet(root=root)

    def voc(self, root: Path) -> Dataset:
        (root / "JPEGImages").mkdir()
        Image.new("L", (200, 100)).save(root / "JPEGImages/1.jpg")
        write(root / "Annotations/1.xml", annotation("dog", (200, 100), SHARES))
        write(root / "ImageSets/Main/val.txt", "1\n")
        return voc(root=root)

    def metadata(self, root: Path) -> Dataset:
        write(root / "image_ids.txt", "1.jpg\n")
        write(root / "class_labels.txt", "1.jpg,0\n")
        write(root / "localization.txt", "1.jpg,0.1,0.2,0.5,0.75\n")
        return wsol_metadata(metadata=root)

    @pytest.mark.parametrize("loader", [imagenet_csv, imagenet_xml, voc, metadata])
    def test_every_loader_refuses_them(
        self, tmp_path: Path, loader: Callable[..., Dataset]
    ) -> None:
        with pytest.raises(DatasetError, match=r"expected boxes in pixels, found shares .* width"):
            loader(self, tmp_path)


class TestPixels:
    def test_one_box_of_pixels_tells_that_all_are_pixels_and_the_others_are_said(
        self, tmp_path: Path
    ) -> None:
        loaded = load(tmp_path, [SHARES[0], (1, 2, 150, 80)], "half_open", images=tmp_path)
        assert loaded.boxes.tolist() == [[0.1, 0.2, 0.5, 0.9], [1, 2, 150, 80]]
        assert "is it in shares of the image?" in the_finding(loaded, "odd_box")

    @pytest.mark.parametrize("box", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 0, 0, 1)])
    def test_a_box_of_whole_pixels_may_be_tiny(self, tmp_path: Path, box: Any) -> None:
        """As hundreds in Tiny ImageNet are."""
        write(tmp_path / "wnids.txt", f"{TENCH}\n")
        write(tmp_path / "val/val_annotations.txt", "\t".join(map(str, ("1.JPEG", TENCH, *box))))
        (tmp_path / "val/images").mkdir()
        Image.new("L", (64, 64)).save(tmp_path / "val/images/1.JPEG")
        loaded = tiny_imagenet(root=tmp_path)
        assert loaded.boxes.tolist() == [[box[0], box[1], box[2] + 1, box[3] + 1]]
        assert loaded.findings == ()

    @pytest.mark.parametrize("box", [(0.5, 1.25, 1.6, 1), (0.25, 0.5, 90.5, 45.75)])
    def test_pixels_may_be_divided(self, tmp_path: Path, box: Any) -> None:
        loaded = load(tmp_path, [box, box], "half_open", images=tmp_path)
        assert len(loaded.boxes) == 2

    def test_a_data_set_without_a_box_has_no_coordinates(self, tmp_path: Path) -> None:
        assert kinds(load(tmp_path, [("", "", "", "")], "half_open")) == {"no_box": 1}


class TestNormalized:
    IN_PIXELS = ((20, 20, 100, 90), (0, 0, 200, 100), (50, 50, 200, 75))

    def test_shares_become_pixels_of_the_image(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, SHARES, "normalized", images=tmp_path)
        assert np.allclose(loaded.boxes, self.IN_PIXELS, rtol=0, atol=1e-9)
        assert loaded.findings == ()

    def test_without_images_the_columns_tell_the_size(self, tmp_path: Path) -> None:
        boxes = [(*box, 200, 100) for box in SHARES]
        loaded = load(tmp_path, boxes, "normalized", columns="x0,y0,x1,y1,width,height")
        assert np.allclose(loaded.boxes, self.IN_PIXELS, rtol=0, atol=1e-9)

    def test_float32_does_not_leave_the_image(self, tmp_path: Path) -> None:
        boxes = [(np.float32(1e-9), 0, np.nextafter(np.float32(1), np.float32(2)), 1)]
        loaded = load(tmp_path, boxes, "normalized", images=tmp_path)
        assert loaded.boxes.tolist() == [[0, 0, 200, 100]]
        assert loaded.findings == ()

    def test_what_leaves_the_image_is_clipped_and_said(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, [(0.5, 0.5, 1.02, 0.75)], "normalized", images=tmp_path)
        assert loaded.boxes.tolist() == [[100, 50, 200, 75]]
        assert kinds(loaded) == {"odd_box": 1}

    def test_without_a_size_it_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"'1\.png'; name the folder of the images with"):
            load(tmp_path, SHARES, "normalized")

    def test_pixels_are_an_error(self, tmp_path: Path) -> None:
        boxes = [SHARES[0], (1, 2, 150, 80)]
        with pytest.raises(DatasetError, match=r"found \(1, 2, 150, 80\) for image '1\.png'"):
            load(tmp_path, boxes, "normalized", images=tmp_path)
