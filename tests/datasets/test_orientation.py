"""Boxes of images that EXIF turns: Pillow shows the image, and a box is drawn on what is shown."""

from pathlib import Path

import numpy as np
import pytest
from imagenet_roots import TENCH, annotation, kinds, the_finding, write
from PIL import ExifTags, Image, ImageOps

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.datasets.table import table
from wsol_bench.datasets.voc import voc
from wsol_bench.datasets.wsol_metadata import wsol_metadata
from wsol_bench.images.decode import load_image
from wsol_bench.images.masks import load_mask

NAME = "ILSVRC2012_val_00000001"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def save(path: Path, pixels: np.ndarray, orientation: int | None, format: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    image.save(path, format=format, exif=exif)
    return path


def load(root: Path, size: tuple[int, int] | None, box: tuple[int, ...]) -> Dataset:
    """An imagenet root with one image, which is there, and one 0-based inclusive box."""
    write(root / f"xml/{NAME}.xml", annotation(TENCH, size, [box]))
    return imagenet(root=root)


def shown_box(pixels: np.ndarray) -> tuple[int, ...]:
    """The 0-based inclusive corners of the bright pixels."""
    rows, columns = np.nonzero(pixels)
    return columns.min(), rows.min(), columns.max(), rows.max()


class TestAgainstPillow:
    """A bright rectangle is stored; the annotator sees it where Pillow shows it."""

    STORED = (7, 4, 19, 9)  # half-open, in 40 x 24 pixels

    def stored(self) -> np.ndarray:
        x0, y0, x1, y1 = self.STORED
        pixels = np.zeros((24, 40), np.uint8)
        pixels[y0:y1, x0:x1] = 255
        return pixels

    @pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
    @pytest.mark.parametrize("orientation", [5, 6, 7, 8])
    @pytest.mark.parametrize("factor", [1, 3])
    def test_a_box_drawn_on_the_turned_image_lies_on_the_stored_pixels(
        self, tmp_path: Path, orientation: int, factor: int, format: str
    ) -> None:
        path = save(tmp_path / f"val/{NAME}.JPEG", self.stored(), orientation, format)
        with Image.open(path) as image:
            shown = ImageOps.exif_transpose(image)
        large = np.kron(np.asarray(shown.convert("L")) > 128, np.ones((factor, factor)))
        loaded = load(tmp_path, large.shape[::-1], shown_box(large))
        assert loaded.boxes.tolist() == [list(self.STORED)]
        assert kinds(loaded) == {"rotated": 1}
        assert f"orientation is {orientation}" in the_finding(loaded, "rotated")
        # The network sees what the box refers to.
        assert load_image(path).size == (loaded.images["width"][0], loaded.images["height"][0])

    @pytest.mark.parametrize("orientation", [5, 6, 7, 8])
    def test_a_box_drawn_on_the_stored_image_stays(self, tmp_path: Path, orientation: int) -> None:
        """As in ILSVRC, whose boxes match the unrotated pixels."""
        save(tmp_path / f"val/{NAME}.JPEG", self.stored(), orientation)
        loaded = load(tmp_path, (40, 24), (7, 4, 18, 8))
        assert loaded.boxes.tolist() == [list(self.STORED)]
        assert loaded.findings == ()

    @pytest.mark.parametrize("size", [(24, 25), (25, 24)])
    def test_an_equal_size_tells_the_way_up_of_an_image_that_is_nearly_square(
        self, tmp_path: Path, size: tuple[int, int]
    ) -> None:
        """Of 25 x 24 pixels; the left half of the turned image is the lower half."""
        save(tmp_path / f"val/{NAME}.JPEG", self.stored()[:, :25], 6)
        loaded = load(tmp_path, size, (0, 0, 11, size[1] - 1))
        is_turned = size == (24, 25)
        assert loaded.boxes.tolist() == [[0, 12, 25, 24] if is_turned else [0, 0, 12, 24]]
        assert kinds(loaded) == ({"rotated": 1} if is_turned else {})

    @pytest.mark.parametrize("orientation", [2, 3, 4])
    def test_where_the_size_tells_nothing_the_box_is_as_stored_and_it_is_said(
        self, tmp_path: Path, orientation: int
    ) -> None:
        save(tmp_path / f"val/{NAME}.JPEG", self.stored(), orientation)
        loaded = load(tmp_path, (40, 24), (7, 4, 18, 8))
        assert loaded.boxes.tolist() == [list(self.STORED)]
        assert kinds(loaded) == {"orientation": 1}
        assert "taken as drawn on the stored pixels" in the_finding(loaded, "orientation")

    @pytest.mark.parametrize("size", [None, (24, 24)])
    def test_a_square_image_and_a_size_that_is_not_said_tell_nothing(
        self, tmp_path: Path, size: tuple[int, int] | None
    ) -> None:
        save(tmp_path / f"val/{NAME}.JPEG", self.stored()[:, : 24 if size else 40], 6)
        loaded = load(tmp_path, size, (7, 4, 18, 8))
        assert loaded.boxes.tolist() == [list(self.STORED)]
        assert kinds(loaded) == {"orientation": 1}

    def test_proportions_of_neither_side_up_tell_nothing(self, tmp_path: Path) -> None:
        save(tmp_path / f"val/{NAME}.JPEG", self.stored(), 6)
        loaded = load(tmp_path, (80, 80), (0, 0, 39, 79))
        assert loaded.boxes.tolist() == [[0, 0, 20, 24]]
        assert kinds(loaded) == {"orientation": 1, "size_mismatch": 1}

    @pytest.mark.parametrize("orientation", [None, 1, 0, 9, 77])
    def test_an_image_that_is_not_turned_has_no_finding(
        self, tmp_path: Path, orientation: int | None
    ) -> None:
        save(tmp_path / f"val/{NAME}.JPEG", self.stored(), orientation)
        loaded = load(tmp_path, (40, 24), (7, 4, 18, 8))
        assert (loaded.boxes.tolist(), loaded.findings) == ([list(self.STORED)], ())

    @pytest.mark.parametrize("orientation", [5, 6, 7, 8])
    @pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
    def test_the_pixels_of_a_tiff_are_those_that_pillow_turns_when_it_decodes_them(
        self, tmp_path: Path, compression: str, orientation: int
    ) -> None:
        path = tmp_path / f"val/{NAME}.JPEG"
        path.parent.mkdir()
        image, info = Image.fromarray(self.stored()), {ExifTags.Base.Orientation: orientation}
        image.save(path, "TIFF", compression=compression, tiffinfo=info)
        image.getexif()[ExifTags.Base.Orientation] = orientation
        shown = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(np.asarray(load_image(path))[:, :, 0], shown)
        x0, y0, x1, y1 = map(int, shown_box(shown))
        drawn_on_shown = load(tmp_path, (24, 40), (x0, y0, x1, y1))
        assert drawn_on_shown.boxes.tolist() == [[x0, y0, x1 + 1, y1 + 1]]
        assert drawn_on_shown.findings == ()
        drawn_on_stored = load(tmp_path, (40, 24), (7, 4, 18, 8))
        assert drawn_on_stored.boxes.tolist() == [[x0, y0, x1 + 1, y1 + 1]]
        assert kinds(drawn_on_stored) == {"rotated": 1}
        assert kinds(load(tmp_path, None, (7, 4, 18, 8))) == {"orientation": 1}

    def test_proportions_are_equal_up_to_whole_pixels(self, tmp_path: Path) -> None:
        """500 x 333 pixels at 45% have 150 x 225 when they are turned, not 149.85 x 225."""
        save(tmp_path / f"val/{NAME}.JPEG", np.zeros((333, 500), np.uint8), 6)
        loaded = load(tmp_path, (150, 225), (0, 0, 74, 224))
        assert kinds(loaded) == {"rotated": 1}
        assert np.allclose(loaded.boxes, [[0, 166.5, 500, 333]], rtol=0, atol=1e-9)


class TestVoc:
    def write(self, root: Path, orientation: int | None, size: tuple[int, int]) -> Path:
        save(root / "JPEGImages/1.jpg", np.zeros((100, 200), np.uint8), orientation, "JPEG")
        write(root / "Annotations/1.xml", annotation("dog", size, [(1, 1, 50, 200)]))
        write(root / "ImageSets/Main/val.txt", "1\n")
        return root

    def test_the_hand_solved_box(self, tmp_path: Path) -> None:
        """200 x 100 pixels, shown turned by 90 degrees: the left half is the lower half."""
        loaded = voc(root=self.write(tmp_path, 6, (100, 200)))
        assert loaded.boxes.tolist() == [[0, 50, 200, 100]]
        assert kinds(loaded) == {"rotated": 1}

    @pytest.mark.parametrize("orientation", [None, 3])
    @pytest.mark.parametrize("size", [(100, 200), (50, 100), (375, 750)])
    def test_swapped_sides_without_a_tag_that_swaps_leave_the_boxes_out(
        self, tmp_path: Path, orientation: int | None, size: tuple[int, int]
    ) -> None:
        loaded = voc(root=self.write(tmp_path, orientation, size))
        assert len(loaded.boxes) == 0
        assert {"swapped_size": 1, "no_box": 1}.items() <= kinds(loaded).items()
        finding = the_finding(loaded, "swapped_size")
        assert f"{size[0]} x {size[1]} pixels, the image has 200 x 100" in finding

    def test_a_size_that_is_off_by_rounding_is_not_swapped(self, tmp_path: Path) -> None:
        root = self.write(tmp_path, None, (101, 100))
        save(root / "JPEGImages/1.jpg", np.zeros((51, 50), np.uint8), None, "JPEG")
        assert kinds(voc(root=root)) == {"size_mismatch": 1, "odd_box": 1}


def test_the_columns_of_a_table_tell_the_size_that_was_shown(tmp_path: Path) -> None:
    save(tmp_path / "1.jpg", np.zeros((100, 200), np.uint8), 6, "JPEG")
    head = "image,label,x0,y0,x1,y1"
    path = write(tmp_path / "boxes.csv", f"{head},width,height\n1.jpg,a,0,0,.5,1,100,200\n")
    loaded = table(path=path, images=tmp_path, convention="normalized")
    assert loaded.boxes.tolist() == [[0, 50, 200, 100]]
    path = write(tmp_path / "boxes.csv", f"{head}\n1.jpg,a,0,0,.5,1\n")
    loaded = table(path=path, images=tmp_path, convention="normalized")
    assert loaded.boxes.tolist() == [[0, 0, 100, 100]]
    assert kinds(loaded) == {"orientation": 1}


class TestMasks:
    STORED = np.kron(np.eye(3, 5, dtype=np.uint8), np.full((8, 8), 255, np.uint8))  # 40 x 24

    def load(self, root: Path, tags: tuple[int | None, int | None], mask: np.ndarray) -> Dataset:
        """A metadata folder of two images with masks; the second one is as it should be.

        Args:
            root: the folder.
            tags: EXIF orientation of the first image and of its mask.
            mask: the first image's mask.
        """
        save(root / "1.jpg", self.STORED, tags[0], "JPEG")
        save(root / "1.png", mask, tags[1])
        save(root / "2.jpg", self.STORED, None, "JPEG")
        save(root / "2.png", self.STORED, None)
        write(root / "image_ids.txt", "1.jpg\n2.jpg\n")
        write(root / "class_labels.txt", "1.jpg,0\n2.jpg,0\n")
        write(root / "localization.txt", "1.jpg,1.png,\n2.jpg,2.png,\n")
        return wsol_metadata(metadata=root, images=root)

    @pytest.mark.parametrize("tags", [(6, None), (None, None), (None, 6)])
    @pytest.mark.parametrize("factor", [1, 2])
    def test_a_mask_of_the_turned_image_leaves_it_out(
        self, tmp_path: Path, tags: tuple[int | None, int | None], factor: int
    ) -> None:
        mask = np.kron(np.rot90(self.STORED), np.ones((factor, factor), np.uint8))
        loaded = self.load(tmp_path, tags, mask)
        assert loaded.images["image_id"].tolist() == ["2.jpg"]
        assert kinds(loaded) == {"swapped_size": 1}
        assert "the mask is turned; left out" in the_finding(loaded, "swapped_size")

    @pytest.mark.parametrize("tags", [(6, None), (6, 6), (3, 3), (None, 8), (None, None)])
    def test_a_mask_of_the_stored_image_stays(
        self, tmp_path: Path, tags: tuple[int | None, int | None]
    ) -> None:
        loaded = self.load(tmp_path, tags, self.STORED)
        assert loaded.findings == ()
        assert np.array_equal(load_mask(loaded.masks[0], (24, 40)), self.STORED > 0)

    @pytest.mark.parametrize(("width", "said"), [(80, False), (83, False), (90, True), (48, True)])
    def test_a_mask_of_other_proportions_is_said(
        self, tmp_path: Path, width: int, said: bool
    ) -> None:
        """It is stretched, and wrong if the image is a part of the one that it was drawn on."""
        loaded = self.load(tmp_path, (None, None), np.full((48, width), 255, np.uint8))
        assert loaded.images["image_id"].tolist() == ["1.jpg", "2.jpg"]
        assert kinds(loaded) == ({"size_mismatch": 1} if said else {})
        if said:
            text = f"1.jpg: image and mask 1.png are 40 x 24 and {width} x 48 pixels; the mask is"
            assert the_finding(loaded, "size_mismatch").startswith(text)

    @pytest.mark.parametrize("tags", [(3, None), (None, 2)])
    def test_where_no_size_tells_it_is_a_finding(
        self, tmp_path: Path, tags: tuple[int | None, int | None]
    ) -> None:
        loaded = self.load(tmp_path, tags, self.STORED)
        assert kinds(loaded) == {"orientation": 1}
        assert np.array_equal(load_mask(loaded.masks[0], (24, 40)), self.STORED > 0)
