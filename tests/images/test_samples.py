"""Every mode and kind of sample that Pillow reads: the same picture gives the same pixels."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imagenet_roots import kinds, the_finding
from PIL import Image

from wsol_bench.datasets import Dataset, MaskFiles
from wsol_bench.datasets.table import table
from wsol_bench.errors import ImageError
from wsol_bench.images.decode import load_image
from wsol_bench.images.masks import load_mask

GRAY = np.arange(256, dtype=np.uint8).reshape(16, 16)
IN_RGB = np.repeat(GRAY[:, :, None], 3, axis=2)
COLOR = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def save(path: Path, image: Image.Image, format: str, **options: Any) -> Path:
    image.save(path, format=format, **options)
    return path


def tiff(
    pixels: np.ndarray, *, bits: int, kind: int = 1, photometric: int = 1, channels: int = 1
) -> bytes:
    """An uncompressed TIFF of 16 x 16 pixels, by the specification, of packed samples.

    A second channel is a premultiplied alpha.
    """
    entries = [
        (256, 4, 1, 16), (257, 4, 1, 16), (258, 3, channels, bits | bits << 16 * (channels - 1)),
        (259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, 8), (277, 3, 1, channels),
        (278, 4, 1, 16), (279, 4, 1, pixels.nbytes), (338, 3, 1, 1), (339, 3, 1, kind),
    ]  # fmt: skip
    entries = [entry for entry in entries if entry[0] != 338 or channels == 2]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = struct.pack("<2sHI", b"II", 42, 8 + pixels.nbytes)
    return head + pixels.tobytes() + struct.pack("<H", len(entries)) + directory + bytes(4)


def twelve_bits() -> np.ndarray:
    """Gray values as 12 bits a sample, two samples in three bytes, scaled from 8 bits."""
    first, second = (GRAY.astype(np.int64).reshape(-1, 2) * 4095 // 255).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    return packed.astype(np.uint8)


def channels(bits: int) -> bytes:
    """A PNG in color with 16 bits a sample, by the specification."""
    import zlib

    rows = (COLOR.astype(">u2") * 257).reshape(16, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 16, 16, bits, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


# Modes of 8 bits that a file of each format may have.
PALETTES_AND_CHANNELS = {
    "PNG": ("L", "LA", "P", "RGB", "RGBA"),
    "TIFF": ("L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK"),
    "BMP": ("L", "P", "RGB", "RGBA"),
    "WEBP": ("L", "LA", "P", "RGB", "RGBA"),
    "GIF": ("L", "P"),
}

# Files of GRAY, by name: mode that Pillow opens them with, and bytes or an image with its format.
DEEP: dict[str, tuple[str, Any]] = {
    "16-bit PNG": ("I;16", (Image.fromarray(GRAY * np.uint16(257)), "PNG")),
    "16-bit TIFF": ("I;16", (Image.fromarray(GRAY * np.uint16(257)), "TIFF")),
    "16-bit TIFF, big-endian": (
        "I;16B",
        (Image.frombytes("I;16B", (16, 16), np.repeat(GRAY, 2).tobytes()), "TIFF"),
    ),
    "16-bit TIFF, white is zero": (
        "I;16",
        tiff((255 - GRAY) * np.uint16(257), bits=16, photometric=0),
    ),
    "12-bit TIFF": ("I;16", tiff(twelve_bits(), bits=12)),
    "float TIFF": ("F", (Image.fromarray(GRAY / np.float32(255)), "TIFF")),
    "float TIFF, white is zero": (
        "F",
        tiff((255 - GRAY) / np.float32(255), bits=32, kind=3, photometric=0),
    ),
}  # fmt: skip


def write(path: Path, content: Any) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
        return path
    return save(path, *content)


def load(folder: Path, *names: str) -> Dataset:
    """A data set of the images in a folder, each with a box."""
    rows = [f"{name},a,1,2,9,12" for name in names]
    path = folder / "boxes.csv"
    path.write_text("\n".join(["image,label,x0,y0,x1,y1", *rows]))
    return table(path=path, images=folder, convention="half_open")


class TestEightBits:
    @pytest.mark.parametrize("format", PALETTES_AND_CHANNELS)
    def test_every_mode_has_the_same_pixels_and_no_finding(
        self, tmp_path: Path, format: str
    ) -> None:
        for mode in PALETTES_AND_CHANNELS[format]:
            image = Image.fromarray(GRAY)
            if mode in ("P", "PA"):
                image.putpalette(bytes(value for value in range(256) for _ in range(3)))
            elif mode not in ("L", "LA"):
                image = image.convert("RGB")
            name = f"image {mode}"
            options = {"lossless": True} if format == "WEBP" else {}
            path = save(tmp_path / name, image.convert(mode), format, **options)
            assert np.array_equal(np.asarray(load_image(path)), IN_RGB), mode
            assert load(tmp_path, name).findings == ()

    def test_premultiplied_alpha_is_divided_out(self, tmp_path: Path) -> None:
        half = np.full((16, 16, 2), 128, np.uint8)
        half[..., 0] = 64
        path = write(tmp_path / "image", tiff(half, bits=8, channels=2))
        with Image.open(path) as image:
            assert image.mode == "La"
        assert set(np.asarray(load_image(path)).ravel().tolist()) <= {127, 128}

    def test_two_levels_are_black_and_white(self, tmp_path: Path) -> None:
        path = save(tmp_path / "image.png", Image.fromarray(GRAY > 99), "PNG")
        assert np.array_equal(np.asarray(load_image(path))[:, :, 1], (GRAY > 99) * np.uint8(255))

    def test_transparency_is_ignored(self, tmp_path: Path) -> None:
        image = Image.fromarray(np.dstack([COLOR, GRAY]))
        assert np.array_equal(np.asarray(load_image(save(tmp_path / "1", image, "PNG"))), COLOR)
        few = Image.fromarray(GRAY)
        few.putpalette([255, 0, 0] * 256)
        path = save(tmp_path / "2", few, "PNG", transparency=0)
        assert np.asarray(load_image(path))[0, 0].tolist() == [255, 0, 0]

    def test_ycbcr_is_rgb_up_to_rounding(self, tmp_path: Path) -> None:
        image = Image.fromarray(GRAY).convert("YCbCr")
        pixels = np.asarray(load_image(save(tmp_path / "image", image, "TIFF"))).astype(int)
        assert np.abs(pixels - GRAY[:, :, None]).max() <= 1


class TestDeepPixels:
    @pytest.mark.parametrize("name", DEEP)
    def test_a_copy_with_more_bits_has_the_pixels_of_8_bits(
        self, tmp_path: Path, name: str
    ) -> None:
        mode, content = DEEP[name]
        path = write(tmp_path / "image", content)
        with Image.open(path) as image:
            assert image.mode == mode
        pixels = np.asarray(load_image(path))
        assert np.array_equal(pixels, IN_RGB)

    @pytest.mark.parametrize("name", DEEP)
    def test_and_the_data_set_says_how_it_is_scaled(self, tmp_path: Path, name: str) -> None:
        write(tmp_path / "image", DEEP[name][1])
        loaded = load(tmp_path, "image")
        assert kinds(loaded) == {"deep_pixels": 1}
        scale = {"1": "bits a sample, scaled from 0..", "f": "scaled from 0..1 to 8 bits"}[name[0]]
        assert scale in the_finding(loaded, "deep_pixels")

    def test_colors_of_16_bits_are_scaled_and_said(self, tmp_path: Path) -> None:
        path = write(tmp_path / "image", channels(16))
        assert np.array_equal(np.asarray(load_image(path)), COLOR)
        assert "from 0..65535" in the_finding(load(tmp_path, "image"), "deep_pixels")

    def test_images_of_mode_i_that_are_png_have_16_bits(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As some versions of Pillow open a PNG of 16 bits."""
        path = write(tmp_path / "image", DEEP["16-bit PNG"][1])
        real = Image.open

        def as_integers(*args: Any, **options: Any) -> Image.Image:
            opened = real(*args, **options)
            integers = Image.fromarray(np.asarray(opened).astype(np.int32))
            integers.format = opened.format
            return integers

        monkeypatch.setattr(Image, "open", as_integers)
        pixels = np.asarray(load_image(path))
        assert np.array_equal(pixels, IN_RGB)

    @pytest.mark.parametrize(
        ("change", "found"),
        [
            (lambda pixels: pixels * 255, "from 0 to 1, found 0 to 255; divide"),
            (lambda pixels: pixels - 0.5, "found -0.5 to 0.5"),
            (lambda pixels: np.where(pixels > 0.9, np.nan, pixels), "found NaN or infinity"),
            (lambda pixels: np.where(pixels > 0.9, np.inf, pixels), "found NaN or infinity"),
        ],
    )
    def test_floats_beyond_0_and_1_are_refused(
        self, tmp_path: Path, change: Any, found: str
    ) -> None:
        pixels = change(GRAY / np.float32(255)).astype(np.float32)
        path = save(tmp_path / "image.tif", Image.fromarray(pixels), "TIFF")
        with pytest.raises(ImageError, match=rf"image\.tif: expected .*{found}"):
            load_image(path)

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (tiff(GRAY.astype(np.uint32), bits=32), "range the file does not tell"),
            (tiff(GRAY.astype(np.int16), bits=16, kind=2), "range the file does not tell"),
            ((Image.new("LAB", (16, 16)), "TIFF"), "found colors as LAB"),
        ],
    )
    def test_a_range_that_no_header_tells_is_refused(
        self, tmp_path: Path, content: Any, found: str
    ) -> None:
        path = write(tmp_path / "image.tif", content)
        with pytest.raises(ImageError, match=rf"image\.tif: expected .*{found}"):
            load_image(path)
        save(tmp_path / "good.png", Image.fromarray(GRAY), "PNG")
        loaded = load(tmp_path, "image.tif", "good.png")
        assert loaded.images["image_id"].tolist() == ["good.png"]
        assert found in the_finding(loaded, "unreadable_image")


class TestSeveralImagesInAFile:
    @pytest.mark.parametrize("format", ["GIF", "TIFF", "PNG", "WEBP"])
    def test_the_first_is_taken_and_it_is_said(self, tmp_path: Path, format: str) -> None:
        frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
        save(tmp_path / "image", frames[0], format, save_all=True, append_images=frames[1:])
        red, _, blue = np.asarray(load_image(tmp_path / "image"))[5, 5]
        assert red > 240
        assert blue < 20
        assert kinds(load(tmp_path, "image")) == {"several_frames": 1}

    @pytest.mark.parametrize("format", ["GIF", "TIFF", "PNG", "WEBP"])
    def test_one_image_is_no_finding(self, tmp_path: Path, format: str) -> None:
        save(tmp_path / "image", Image.fromarray(COLOR), format)
        assert load(tmp_path, "image").findings == ()

    def test_the_preview_in_a_photograph_is_no_finding(self, tmp_path: Path) -> None:
        photograph, preview = Image.fromarray(COLOR), Image.fromarray(COLOR[::2, ::2])
        save(tmp_path / "image", photograph, "MPO", save_all=True, append_images=[preview])
        assert load(tmp_path, "image").findings == ()

    def test_a_damaged_second_image_leaves_the_first(self, tmp_path: Path) -> None:
        frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
        content = io.BytesIO()
        frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
        (tmp_path / "image").write_bytes(content.getvalue()[:-30])
        assert np.asarray(load_image(tmp_path / "image"))[5, 5, 0] > 240
        assert "unreadable_image" not in kinds(load(tmp_path, "image"))


class TestMasks:
    def marked(self, path: Path) -> list[list[int]]:
        return load_mask(MaskFiles((path,), None), (1, 4)).tolist()

    @pytest.mark.parametrize(
        "pixels",
        [
            np.uint8([[0, 1, 128, 255]]),
            np.uint16([[0, 1, 300, 65535]]),  # the numbers of instances, say
            np.int32([[0, 1, -7, 70_000]]),
            np.float32([[0, 0.25, 0.5, 1]]),
        ],
    )
    def test_every_value_but_black_is_marked(self, tmp_path: Path, pixels: Any) -> None:
        assert self.marked(save(tmp_path / "mask", Image.fromarray(pixels), "TIFF")) == [
            [0, 1, 1, 1]
        ]

    def test_white_may_be_zero(self, tmp_path: Path) -> None:
        content = tiff((255 - GRAY) * np.uint16(257), bits=16, photometric=0)
        files = MaskFiles((write(tmp_path / "mask", content),), None)
        assert np.array_equal(load_mask(files, (16, 16)), GRAY > 0)

    def test_nan_is_refused(self, tmp_path: Path) -> None:
        path = save(tmp_path / "mask", Image.fromarray(np.float32([[0, np.nan]])), "TIFF")
        with pytest.raises(ImageError, match="mask: expected finite samples"):
            self.marked(path)
