"""A file of a map is an array, a tensor or an image of one channel."""

import struct
import warnings

import numpy as np
import pytest
import torch
from map_files import RAMP, is_ramp, read
from PIL import Image

from wsol_bench.errors import ConfigError, PredictionError
from wsol_bench.methods.imported.maps_from import maps_from


class TestArrays:
    @pytest.mark.parametrize(
        "dtype",
        ["f2", "f4", "f8", ">f4", "g", "u1", "i1", "u2", "i4", "u8", "i8", ">i2"],
    )
    def test_any_number_type_is_converted(self, tmp_path, dtype):
        np.save(tmp_path / "a.npy", RAMP.astype(dtype))
        assert is_ramp(read(tmp_path, "a"))

    def test_true_is_one(self, tmp_path):
        np.save(tmp_path / "a.npy", RAMP > 5)
        assert np.array_equal(read(tmp_path, "a"), (RAMP > 5).astype(np.float32))

    @pytest.mark.parametrize("n", [1, 2, 5])
    def test_leading_axes_of_length_1_are_left_out(self, tmp_path, n):
        np.save(tmp_path / "a.npy", RAMP.reshape(*[1] * n, 3, 4))
        assert is_ramp(read(tmp_path, "a"))

    def test_an_array_in_column_order_has_the_same_rows(self, tmp_path):
        np.save(tmp_path / "a.npy", np.asfortranarray(RAMP))
        assert is_ramp(read(tmp_path, "a"))

    def test_a_value_beyond_float32_is_infinite_without_a_warning(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([[1e300, -1e300, 1.0]]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read(tmp_path, "a").tolist() == [[np.inf, -np.inf, 1]]


class TestTensors:
    @pytest.mark.parametrize(
        "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8, torch.int64]
    )
    def test_tensors_of_any_number_type_are_maps(self, tmp_path, dtype):
        torch.save(torch.from_numpy(RAMP).to(dtype)[None], tmp_path / "a.pt")
        assert is_ramp(read(tmp_path, "a.JPEG"))

    def test_tensors_that_require_gradients_or_are_views_are_maps(self, tmp_path):
        torch.save(torch.from_numpy(RAMP).T.contiguous().T.requires_grad_(), tmp_path / "a.pt")
        assert is_ramp(read(tmp_path, "a"))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"map": torch.ones(2, 2)}, "expected one tensor, found dict"),
            ([torch.ones(2, 2)], "expected one tensor, found list"),
            (RAMP, "no map can be read"),
            (torch.ones(2, 3, 4), r"expected a map of shape \(h, w\), found \(2, 3, 4\)"),
            (torch.ones(2, 2, dtype=torch.complex64), "expected numbers, found complex64"),
            (torch.ones(2, 2).to_sparse(), "expected a dense tensor|no map can be read"),
            (torch.ones(2, 2, device="meta"), "no map can be read|holds its values"),
            (torch.ones(1, 1).expand(10**6, 10**6), "holds its values, found .* of 4 bytes"),
        ],
    )
    def test_another_content_is_an_error_that_names_the_file(self, tmp_path, content, message):
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(PredictionError, match=message) as error:
            read(tmp_path, "a")
        assert str(error.value).startswith(f"{tmp_path / 'a.pt'}: ")

    def test_damaged_tensors_are_an_error(self, tmp_path):
        torch.save(torch.from_numpy(RAMP), tmp_path / "a.pt")
        whole = (tmp_path / "a.pt").read_bytes()
        for content in (b"", b"PK", whole[:-40], whole[: len(whole) // 2], b"no tensor"):
            (tmp_path / "a.pt").write_bytes(content)
            with pytest.raises(PredictionError, match=r"a\.pt: no map can be read"):
                read(tmp_path, "a")


class TestImages:
    @pytest.mark.parametrize(
        "file", ["a.png", "a.PNG", "a.JPEG.png", "a.bmp", "a.tif", "a.tiff", "a.JPEG.TIF"]
    )
    def test_images_of_one_channel_are_maps(self, tmp_path, file):
        Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / file)
        assert is_ramp(read(tmp_path, "a.JPEG"))

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_images_of_16_bits_keep_all_bits(self, tmp_path, suffix):
        deep = (RAMP * 5000).astype(np.uint16)
        Image.fromarray(deep).save(tmp_path / f"a.{suffix}")
        assert np.array_equal(read(tmp_path, "a"), deep.astype(np.float32))

    def test_images_of_floats_keep_their_values(self, tmp_path):
        Image.fromarray(RAMP / 7 - 1).save(tmp_path / "a.tif")
        assert np.array_equal(read(tmp_path, "a"), RAMP / 7 - 1)

    def test_a_tiff_that_its_orientation_turns_is_not_scrambled(self, tmp_path):
        image = Image.fromarray((RAMP * 5000).astype(np.uint16))
        image.save(tmp_path / "a.tif", tiffinfo={274: 6})
        assert np.array_equal(read(tmp_path, "a"), np.rot90(RAMP * 5000, -1))

    def test_deep_images_whose_white_is_zero_are_an_error(self, tmp_path):
        Image.fromarray(RAMP).save(tmp_path / "a.tif", tiffinfo={262: 0})
        content = (tmp_path / "a.tif").read_bytes()
        tag = content.index(struct.pack("<HHI", 262, 3, 1)) + 8
        (tmp_path / "a.tif").write_bytes(content[:tag] + bytes(2) + content[tag + 2 :])
        with pytest.raises(PredictionError, match=r"a\.tif: expected a map whose greatest value"):
            read(tmp_path, "a")

    def test_images_of_one_bit_are_maps(self, tmp_path):
        Image.fromarray(RAMP > 5).save(tmp_path / "a.png")
        assert np.array_equal(read(tmp_path, "a"), (RAMP > 5).astype(np.float32))

    def test_gray_jpegs_are_maps(self, tmp_path):
        Image.new("L", (6, 4), 77).save(tmp_path / "a.jpg")
        assert np.array_equal(read(tmp_path, "a"), np.full((4, 6), 77, np.float32))

    @pytest.mark.parametrize(
        ("mode", "file"),
        [("RGB", "a.png"), ("RGBA", "a.png"), ("LA", "a.png"), ("P", "a.png"), ("RGB", "a.jpg"),
         ("CMYK", "a.jpeg"), ("L", "a.webp"), ("RGB", "a.tif"), ("RGB", "a.bmp")],
    )  # fmt: skip
    def test_images_in_color_are_an_error(self, tmp_path, mode, file):
        np.save(tmp_path / "b.npy", RAMP)
        Image.new(mode, (4, 3)).save(tmp_path / file)
        maps = maps_from.opener(None, path=tmp_path)  # beside arrays they may be pictures of them
        assert maps.map_of("b") is not None
        with pytest.raises(PredictionError, match=r"expected one channel .* in color") as error:
            maps.map_of("a")
        assert str(error.value).startswith(f"{tmp_path / file}: ")

    def test_the_data_sets_images_are_refused_before_all_are_read(self, tmp_path, monkeypatch):
        (tmp_path / "val").mkdir()
        for name in ("val/2.JPEG", "val/1.JPEG"):
            Image.new("RGB", (4, 3)).save(tmp_path / name)
        monkeypatch.setattr("wsol_bench.methods.imported.maps_from._content_digest", None)
        with pytest.raises(ConfigError, match=r"val/1\.JPEG is an image in color \(mode RGB\).*is"):
            read(tmp_path, "val/1.JPEG")

    def test_too_many_pixels_are_an_error(self, tmp_path, monkeypatch):
        Image.new("L", (20, 20)).save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 399)
        with pytest.warns(Image.DecompressionBombWarning):
            maps = maps_from.opener(None, path=tmp_path)
        with (
            pytest.warns(Image.DecompressionBombWarning),
            pytest.raises(
                PredictionError, match=r"a\.png: expected at most 399 pixels, found 20 x 20"
            ),
        ):
            maps.map_of("a")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
        assert maps.map_of("a").shape == (20, 20)

    def test_several_images_in_a_file_are_an_error(self, tmp_path):
        image = Image.new("L", (4, 3))
        image.save(tmp_path / "a.tif", save_all=True, append_images=[image])
        with pytest.raises(PredictionError, match="expected one image, found 2"):
            read(tmp_path, "a")

    @pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
    def test_what_is_no_image_is_an_error(self, tmp_path, content):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(PredictionError, match=r"a\.png: no map can be read"):
            read(tmp_path, "a")

    @pytest.mark.parametrize("other", ["a.npy", "a.JPEG.pt", "a.PNG", "a.JPEG"])
    def test_a_second_map_of_an_image_is_an_error(self, tmp_path, other):
        Image.new("L", (4, 3)).save(tmp_path / "a.png")
        (tmp_path / other).touch()
        with pytest.raises(PredictionError, match=r"image 'a\.JPEG': expected one map, found 2"):
            maps_from.opener(None, path=tmp_path).covers("a.JPEG")
