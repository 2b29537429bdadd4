"""Masks by files, by numbers in a file, and by run lengths; pycocotools is the oracle of these."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as official

from wsol_bench.datasets.masks import (
    MaskFiles,
    NumberedPixels,
    RunLengths,
    numbers_of,
    source_name,
)
from wsol_bench.errors import ImageError
from wsol_bench.images.masks import load_mask


def encoded(pixels: np.ndarray) -> str:
    counts: str = official.encode(np.asfortranarray(pixels, np.uint8))["counts"].decode()
    return counts


class TestRunLengths:
    @given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**32))
    def test_are_what_cocos_tools_encode(
        self, height: int, width: int, share: float, seed: int
    ) -> None:
        pixels = np.random.default_rng(seed).random((height, width)) < share
        runs = RunLengths(height, width, encoded(pixels))
        np.testing.assert_array_equal(runs.pixels(), pixels)
        assert runs.n_object == pixels.sum()

    def test_long_runs_and_runs_that_shrink(self) -> None:
        pixels = np.zeros((3000, 2000), bool)
        pixels[:, 700:1900], pixels[5:9, 1950] = True, True
        np.testing.assert_array_equal(RunLengths(3000, 2000, encoded(pixels)).pixels(), pixels)

    def test_a_hand_solved_one(self) -> None:
        # Columns first: 1 background, 2 object, 1 background.
        assert RunLengths(2, 2, "121").pixels().tolist() == [[False, True], [True, False]]

    @pytest.mark.parametrize(
        "counts",
        [
            "",
            "5",
            "O",
            "1R",
            "~1",
            "é",
            "\0",
            "222",
            "oooooooooo1",
            "`" * 50 + "1",
            "N2",
            "21o",
        ],
    )
    def test_other_texts_are_refused(self, counts: str) -> None:
        with pytest.raises(ImageError, match="expected the run lengths of 2 x 2 pixels"):
            RunLengths(2, 2, counts).pixels()

    def test_a_bomb_is_refused(self) -> None:
        with pytest.raises(ImageError, match="at most"):
            RunLengths(99_999, 99_999, "0").pixels()


PATHS = ["/data/a.png", "a.png", "//host/a.png", "/data/480x640/7", "/it's (2) & #1//".rstrip("/")]


@pytest.mark.parametrize("path", PATHS)
def test_a_stored_mask_is_read_back(path: str) -> None:
    mask = MaskFiles(
        (Path(path), NumberedPixels(Path(path), 15), RunLengths(480, 640, "a`//0x\\")),
        NumberedPixels(Path(path), 255),
    )
    assert MaskFiles.of_names(*mask.names) == mask
    assert mask.paths == (Path(path),)
    plain = MaskFiles((Path(path),), None)
    assert plain.names == ([path], "")  # as in runs of earlier versions
    assert MaskFiles.of_names(*plain.names) == plain


def test_there_is_no_mask_without_a_foreground() -> None:
    assert MaskFiles.of_names([], "") is None


def test_names_without_folders_are_the_same_on_every_machine() -> None:
    assert source_name("/a/b/mask.png") == source_name("/c/mask.png") == "mask.png"
    assert source_name("/a/b/mask.png//15") == source_name("/c/mask.png//15") != "mask.png"
    assert source_name("//2x2//121") == "//2x2//121"


def test_the_identity_tells_masks_apart(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.new("L", (3, 3)).save(path)
    other = tmp_path / "other/mask.png"
    other.parent.mkdir()
    other.write_bytes(path.read_bytes())
    masks = [
        MaskFiles((path,), None),
        MaskFiles((NumberedPixels(path, 1),), None),
        MaskFiles((NumberedPixels(path, 2),), None),
        MaskFiles((NumberedPixels(path, 1),), NumberedPixels(path, 255)),
        MaskFiles((RunLengths(2, 2, "121"),), None),
        MaskFiles((RunLengths(2, 2, "13"),), None),
    ]
    assert len({mask.identity() for mask in masks}) == len(masks)
    assert MaskFiles((other,), None).identity() == masks[0].identity()


NUMBERS = np.array([[0, 1, 2], [15, 255, 7]], np.uint8)


class TestNumbers:
    def saved(self, path: Path, image: Image.Image) -> Path:
        image.save(path)
        return path

    @pytest.mark.parametrize("mode", ["L", "P", "I;16", "RGB"])
    def test_are_samples_indices_or_colors(self, tmp_path: Path, mode: str) -> None:
        if mode == "P":
            image = Image.fromarray(NUMBERS, "P")
            image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
        elif mode == "I;16":
            image = Image.fromarray(NUMBERS.astype(np.uint16))
        else:
            image = Image.fromarray(NUMBERS).convert("L")
            if mode == "RGB":  # R + 256 G, as ImageNet-S has it
                colors = np.zeros((2, 3, 3), np.uint8)
                colors[..., 0], colors[..., 1] = NUMBERS, NUMBERS == 7
                image = Image.fromarray(colors)
        path = self.saved(tmp_path / "mask.png", image)
        expected = NUMBERS.astype(int) + (256 * (NUMBERS == 7) if mode == "RGB" else 0)
        with Image.open(path) as file:
            assert numbers_of(file).tolist() == expected.tolist()
        mask = load_mask(
            MaskFiles(
                (NumberedPixels(path, 15), NumberedPixels(path, 1)), NumberedPixels(path, 255)
            ),
            (2, 3),
        )
        assert mask.tolist() == [[0, 1, 0], [1, 255, 0]]

    def test_of_a_palette_of_four_bits_are_its_indices(self, tmp_path: Path) -> None:
        image = Image.fromarray(NUMBERS % 16, "P")
        image.putpalette([value for value in range(16) for _ in range(3)])
        image.save(tmp_path / "mask.png", bits=4)
        with Image.open(tmp_path / "mask.png") as file:
            assert numbers_of(file).tolist() == (NUMBERS % 16).tolist()

    @pytest.mark.parametrize(("mode", "found"), [("F", "the mode F"), ("CMYK", "the mode CMYK")])
    def test_other_samples_are_refused(self, tmp_path: Path, mode: str, found: str) -> None:
        path = self.saved(tmp_path / "mask.tiff", Image.new(mode, (3, 2)))
        with pytest.raises(ImageError, match=re.escape(f"{path}: expected a mask of whole")):
            load_mask(MaskFiles((NumberedPixels(path, 1),), None), (2, 3))

    def test_gray_of_four_bits_which_pillow_scales_is_refused(self, tmp_path: Path) -> None:
        # A PNG of 1 x 1 pixel, 4 bits of gray, value 1, which Pillow reads as 17.
        def chunk(kind: bytes, data: bytes) -> bytes:
            check = struct.pack(">I", zlib.crc32(kind + data))
            return struct.pack(">I", len(data)) + kind + data + check

        header = struct.pack(">IIBBBBB", 1, 1, 4, 0, 0, 0, 0)
        data = zlib.compress(b"\0\x10")
        path = tmp_path / "mask.png"
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", data)
            + chunk(b"IEND", b"")
        )
        with Image.open(path) as file:
            assert np.asarray(file).tolist() == [[17]]
        with pytest.raises(ImageError, match="less than 8 bits"):
            load_mask(MaskFiles((NumberedPixels(path, 1),), None), (1, 1))


def test_run_lengths_are_resized_as_a_file_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((13, 17)) < 0.5
    Image.fromarray(pixels.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    runs = MaskFiles((RunLengths(13, 17, encoded(pixels)),), None)
    file = MaskFiles((tmp_path / "mask.png",), None)
    np.testing.assert_array_equal(load_mask(runs, (7, 40)), load_mask(file, (7, 40)))
