"""Masks: what OpenCV, with which the official evaluation reads and resizes them, makes of them."""

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsol_bench.datasets import MaskFiles
from wsol_bench.errors import ImageError
from wsol_bench.images.masks import load_mask, nearest


def save(path: Path, pixels: Any, mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(np.asarray(pixels))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def blobs(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return (rng.random((height, width)) < 0.3).astype(np.uint8) * 255


def official_mask(files: MaskFiles, size: tuple[int, int]) -> np.ndarray:
    """The rule of the official evaluation in OpenCV's words; it has one size, 224 x 224."""

    def is_marked(path: Path) -> np.ndarray:
        gray = np.float32(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        return cv2.resize(gray, size[::-1], interpolation=cv2.INTER_NEAREST) > 0.5

    foreground = np.any([is_marked(path) for path in files.foreground], axis=0)
    ignored = is_marked(files.ignore) & ~foreground if files.ignore else np.zeros(size, bool)
    return foreground.astype(np.uint8) + 255 * ignored.astype(np.uint8)


class TestLoadMask:
    def test_a_hand_solved_mask(self, tmp_path: Path) -> None:
        first = save(tmp_path / "1.png", np.uint8([[255, 0, 0], [0, 0, 0]]))
        second = save(tmp_path / "2.png", np.uint8([[0, 0, 0], [0, 0, 1]]))
        ignore = save(tmp_path / "ignore.png", np.uint8([[255, 7, 0], [0, 0, 7]]))
        mask = load_mask(MaskFiles((first, second), ignore), (2, 3))
        assert mask.dtype == np.uint8
        assert mask.tolist() == [[1, 255, 0], [0, 0, 1]]

    def test_without_an_ignore_file_nothing_is_ignored(self, tmp_path: Path) -> None:
        only = save(tmp_path / "1.png", np.uint8([[255, 0], [0, 0]]))
        assert load_mask(MaskFiles((only,), None), (2, 2)).tolist() == [[1, 0], [0, 0]]

    def test_without_an_object_all_is_background_or_ignored(self, tmp_path: Path) -> None:
        ignore = save(tmp_path / "ignore.png", np.uint8([[255, 0]]))
        assert load_mask(MaskFiles((), ignore), (1, 2)).tolist() == [[255, 0]]

    def test_files_of_different_sizes_meet_at_the_asked_one(self, tmp_path: Path) -> None:
        coarse = save(tmp_path / "1.png", np.uint8([[255], [0]]))
        fine = save(tmp_path / "ignore.png", np.uint8([[0, 255], [0, 255]]))
        mask = load_mask(MaskFiles((coarse,), fine), (4, 4))
        assert mask.tolist() == [[1] * 4, [1] * 4, [0, 0, 255, 255], [0, 0, 255, 255]]

    @pytest.mark.parametrize("size", [(224, 224), (100, 37), (1, 1), (300, 500)])
    def test_is_what_the_official_evaluation_makes(
        self, tmp_path: Path, size: tuple[int, int]
    ) -> None:
        rng = np.random.default_rng(size)
        for height, width in [(341, 512), (1024, 683), (50, 61), (224, 224), (3, 2000)]:
            files = MaskFiles(
                tuple(
                    save(tmp_path / f"{number}.png", blobs(rng, height, width))
                    for number in range(3)
                ),
                save(tmp_path / "ignore.png", blobs(rng, height, width)),
            )
            mask = load_mask(files, size)
            assert np.array_equal(mask, official_mask(files, size))
            if min(size) > 1:
                assert set(np.unique(mask).tolist()) == {0, 1, 255}

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P"])
    def test_every_kind_of_png_is_read_as_opencv_reads_it(self, tmp_path: Path, mode: str) -> None:
        rng = np.random.default_rng(3)
        # As gray values: black, as dark as can be, middle, white.
        levels = rng.choice(np.array([0, 1, 128, 255], np.uint8), (40, 61))
        files = MaskFiles((save(tmp_path / "mask.png", levels, mode),), None)
        with Image.open(tmp_path / "mask.png") as image:
            assert image.mode == mode
        assert np.array_equal(load_mask(files, (31, 43)), official_mask(files, (31, 43)))

    def test_colors_count_as_their_gray_value(self, tmp_path: Path) -> None:
        colors = np.uint8(
            [[[128, 0, 0], [0, 64, 0], [0, 0, 20]], [[0, 0, 0], [0, 0, 1], [9, 9, 9]]]
        )
        files = MaskFiles((save(tmp_path / "rgb.png", colors),), None)
        assert load_mask(files, (2, 3)).tolist() == [[1, 1, 1], [0, 0, 1]]
        assert np.array_equal(load_mask(files, (2, 3)), official_mask(files, (2, 3)))

    def test_a_palette_counts_by_its_colors_and_not_by_its_indices(self, tmp_path: Path) -> None:
        image = Image.fromarray(np.uint8([[0, 1, 2]])).convert("P")
        image.putpalette([255, 255, 255, 0, 0, 0, 0, 128, 0])
        image.save(tmp_path / "palette.png")
        files = MaskFiles((tmp_path / "palette.png",), None)
        assert load_mask(files, (1, 3)).tolist() == [[1, 0, 1]]
        assert np.array_equal(load_mask(files, (1, 3)), official_mask(files, (1, 3)))


class TestDamagedFiles:
    @pytest.mark.parametrize("role", ["foreground", "ignore"])
    def test_a_file_that_is_no_image_is_named(self, tmp_path: Path, role: str) -> None:
        good = save(tmp_path / "good.png", blobs(np.random.default_rng(0), 40, 50))
        broken = {
            "missing.png": None,
            "empty.png": b"",
            "text.png": b"no image at all",
            "truncated.png": good.read_bytes()[:150],
        }
        for name, content in broken.items():
            path = tmp_path / name
            if content is not None:
                path.write_bytes(content)
            files = MaskFiles((path,), None) if role == "foreground" else MaskFiles((good,), path)
            with pytest.raises(ImageError, match=name):
                load_mask(files, (8, 8))

    def test_a_decompression_bomb_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bomb = save(tmp_path / "bomb.png", np.zeros((40, 40), np.uint8))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with (
            warnings.catch_warnings(action="ignore"),
            pytest.raises(
                ImageError, match=r"bomb\.png: expected at most 1000 pixels, found 40 x 40"
            ),
        ):
            load_mask(MaskFiles((bomb,), None), (8, 8))


class TestNearest:
    def test_takes_the_floor_and_not_the_center(self) -> None:
        assert nearest(np.uint8([[10, 20, 30, 40]]), (1, 2)).tolist() == [[10, 30]]
        assert nearest(np.uint8([[10, 20, 30]]), (2, 5)).tolist() == [[10, 10, 20, 20, 30]] * 2

    @given(st.integers(1, 1500), st.integers(1, 700), st.integers(1, 60), st.integers(1, 60))
    def test_is_opencvs(self, source: int, target: int, rows: int, target_rows: int) -> None:
        pixels = np.random.default_rng(source).integers(0, 256, (rows, source), dtype=np.uint8)
        expected = cv2.resize(pixels, (target, target_rows), interpolation=cv2.INTER_NEAREST)
        assert np.array_equal(nearest(pixels, (target_rows, target)), expected)

    @pytest.mark.parametrize("target", [7, 56, 224, 256, 299, 448])
    def test_is_opencvs_at_every_length_up_to_1200(self, target: int) -> None:
        for source in range(1, 1201):
            ramp = np.arange(source, dtype=np.float32)[None]
            [expected] = cv2.resize(ramp, (target, 1), interpolation=cv2.INTER_NEAREST)
            indices = np.arange(source) % 251
            resized = nearest(indices.astype(np.uint8)[None], (1, target))[0]
            assert np.array_equal(resized, expected.astype(np.int64) % 251), source
