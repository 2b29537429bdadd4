"""The input of a network from an image file, against torchvision's preprocessing."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from wsol_bench.errors import ImageError
from wsol_bench.images.decode import load_image
from wsol_bench.images.preprocess import normalize, windows
from wsol_bench.models.normalization import IMAGENET_MEAN, IMAGENET_STD
from wsol_bench.protocols.load import load_protocol


def noise(height=60, width=90, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def prepared(image, **changes):
    section = load_protocol("gradcam-2017", {"input": changes} if changes else None).input
    [pixels] = windows(image, [section.place(image.height, image.width)], section)
    return normalize(pixels[None], IMAGENET_MEAN, IMAGENET_STD)[0]


@pytest.mark.parametrize("size", [(60, 90), (500, 375), (1, 1), (224, 224)])
def test_squash_is_torchvisions_preprocessing_of_a_pil_image(size):
    image = Image.fromarray(noise(*size))
    reference = v2.Compose(
        [
            v2.Resize((224, 224)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    assert torch.allclose(prepared(image), reference(image), atol=1e-5)


def test_center_crop_is_torchvisions_preprocessing_of_a_pil_image():
    image = Image.fromarray(noise(300, 451))
    reference = v2.Compose(
        [
            v2.Resize(256),
            v2.CenterCrop(224),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    pixels = prepared(image, geometry="center_crop", resize_to=256)
    assert torch.allclose(pixels, reference(image), atol=1e-5)


def test_without_antialias_a_reduction_by_four_reads_two_pixels_a_sample():
    """By hand: sample i of 4 reads the average of pixels 4i + 1 and 4i + 2 along each axis."""
    pixels = noise(16, 16)
    section = load_protocol("gradcam-2017", {"input": {"size": 4, "antialias": False}}).input
    image = Image.fromarray(pixels)
    [sampled] = windows(image, [section.place(16, 16)], section)
    values = pixels.astype(np.float64)
    rows = (values[1::4] + values[2::4]) / 2
    expected = (rows[:, 1::4] + rows[:, 2::4]) / 2
    assert np.abs(sampled.permute(1, 2, 0).numpy() - expected).max() < 1e-3
    smooth = load_protocol("gradcam-2017", {"input": {"size": 4}}).input
    [antialiased] = windows(image, [smooth.place(16, 16)], smooth)
    assert (sampled - antialiased).abs().max() > 10


def views(image, **changes):
    section = load_protocol("gradcam-2017", {"input": changes}).input
    return section, windows(image, section.windows(image.height, image.width), section)


def seen(those, pixels):
    return [
        pixels[view.window].flip(-1) if view.mirrored else pixels[view.window] for view in those
    ]


class TestViews:
    @pytest.mark.parametrize(("scale", "side"), [(1.5, 336), (0.5, 112), (1.1, 246)])
    def test_a_scaled_view_is_resized_from_the_original(self, scale, side):
        image = Image.fromarray(noise(300, 451))
        _, [plain, scaled] = views(image, scales=[scale])
        expected = image.resize((side, side), Image.Resampling.BILINEAR)
        assert np.array_equal(scaled.permute(1, 2, 0), expected)
        assert plain.shape == (3, 224, 224)

    def test_a_scaled_center_crop_is_torchvisions_of_a_larger_image(self):
        image = Image.fromarray(noise(300, 450))
        _, [_, scaled] = views(image, geometry="center_crop", resize_to=256, scales=[1.5])
        reference = v2.Compose([v2.Resize(384), v2.CenterCrop(336), v2.PILToTensor()])
        assert torch.equal(scaled, reference(image))

    @pytest.mark.parametrize("size", [(300, 451), (333, 217), (256, 256)])
    @pytest.mark.parametrize("crop", [224, 227, 200, 181])
    def test_crops_of_an_image_that_keeps_its_shape_are_torchvisions(self, size, crop):
        image = Image.fromarray(noise(*size))
        ten_crop = {"resize": "shorter_side", "resize_to": 256}
        section, pixels = views(image, size=crop, ten_crop=ten_crop, scales=[0.5, 1.0])
        reference = v2.Compose([v2.Resize(256), v2.TenCrop(crop)])(image)
        expected = {v2.functional.pil_to_tensor(one).numpy().tobytes() for one in reference}
        assert len(expected) == 10
        assert {crop.numpy().tobytes() for crop in seen(section.crops, pixels)} == expected

    @pytest.mark.parametrize("crop", [224, 227])
    def test_crops_of_a_squashed_image_are_caffes(self, crop):
        """By hand, as pycaffe's oversample: corners, and the center at floor((256 - crop) / 2).

        Each crop is mirrored.
        """
        image = Image.fromarray(noise(300, 451))
        section, pixels = views(image, size=crop, ten_crop={"resize": "squash", "resize_to": 256})
        whole = np.asarray(image.resize((256, 256), Image.Resampling.BILINEAR))
        rest = 256 - crop
        center = rest // 2
        corners = [(0, 0), (0, rest), (rest, 0), (rest, rest), (center, center)]
        five = [whole[top : top + crop, left : left + crop] for top, left in corners]
        expected = [*five, *(one[:, ::-1] for one in five)]
        for ours, theirs in zip(seen(section.crops, pixels), expected, strict=True):
            assert np.array_equal(ours.permute(1, 2, 0), theirs)


class TestFiles:
    @pytest.mark.parametrize("mode", ["L", "CMYK", "RGB", "P", "RGBA", "1"])
    def test_every_mode_becomes_rgb(self, tmp_path, mode):
        pixels = noise()
        image = Image.fromarray(pixels).convert(mode)
        suffix = "JPEG" if mode in {"L", "CMYK", "RGB"} else "PNG"
        image.save(tmp_path / "image.JPEG", format=suffix)  # a PNG may be named .JPEG
        loaded = load_image(tmp_path / "image.JPEG")
        assert (loaded.mode, loaded.size) == ("RGB", (90, 60))

    def test_exif_rotation_is_not_applied(self, tmp_path):
        image = Image.fromarray(noise(60, 90))
        exif = image.getexif()
        exif[0x0112] = 6  # rotate by 90 degrees to show
        image.save(tmp_path / "rotated.jpg", exif=exif)
        assert load_image(tmp_path / "rotated.jpg").size == (90, 60)

    def test_what_cannot_be_decoded_is_an_error_with_the_path(self, tmp_path):
        whole = tmp_path / "whole.jpg"
        Image.fromarray(noise(200, 200)).save(whole)
        broken = {
            "truncated.jpg": whole.read_bytes()[:3000],
            "empty.jpg": b"",
            "text.jpg": b"<html>404</html>",
        }
        for name, content in broken.items():
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ImageError, match=rf"{name}: cannot be decoded"):
                load_image(tmp_path / name)
        with pytest.raises(ImageError, match=r"missing\.jpg: the file does not exist"):
            load_image(tmp_path / "missing.jpg")

    def test_no_file_starts_a_program_whatever_its_name(self, tmp_path):
        """Pillow hands PostScript to Ghostscript."""
        Image.fromarray(noise()).save(tmp_path / "image.JPEG", format="EPS")
        with pytest.raises(ImageError, match=r"image\.JPEG: cannot be decoded"):
            load_image(tmp_path / "image.JPEG")

    def test_decoding_leaves_the_warnings_of_the_process_alone(self, tmp_path):
        import warnings

        Image.fromarray(noise()).save(tmp_path / "image.jpg")
        before = list(warnings.filters)
        load_image(tmp_path / "image.jpg")
        assert warnings.filters == before

    def test_a_decompression_bomb_is_an_error_before_it_is_decoded(self, tmp_path, monkeypatch):
        Image.fromarray(noise(200, 200)).save(tmp_path / "bomb.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with pytest.raises(ImageError, match=r"bomb\.png"):
            load_image(tmp_path / "bomb.png")
