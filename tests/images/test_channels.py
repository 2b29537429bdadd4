"""Images of one, three and four channels: the luma of RGB, RGB, and RGB with alpha."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wsol_bench.images.decode import load_image
from wsol_bench.images.preprocess import normalize, windows
from wsol_bench.protocols.load import load_protocol

PIXELS = np.random.default_rng(5).integers(0, 256, (30, 40, 4), np.uint8)
COLOR = Image.fromarray(PIXELS[..., :3])


def saved(folder: Path, image: Image.Image, name: str = "image.png", **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


def test_gray_is_the_luma_of_itu_r_601(tmp_path: Path) -> None:
    found = np.asarray(load_image(saved(tmp_path, COLOR), 1))
    luma = PIXELS[..., :3] @ np.array([0.299, 0.587, 0.114])
    assert found.shape == (30, 40)
    assert np.abs(found - luma).max() <= 0.51


def test_a_gray_image_stays_as_it_is(tmp_path: Path) -> None:
    gray = Image.fromarray(PIXELS[..., 0])
    assert np.array_equal(load_image(saved(tmp_path, gray), 1), PIXELS[..., 0])


@pytest.mark.parametrize("mode", ["P", "CMYK", "RGBA", "LA", "1"])
def test_gray_is_that_of_the_rgb_in_every_mode(tmp_path: Path, mode: str) -> None:
    source = Image.fromarray(PIXELS).convert("L" if mode == "LA" else "RGB").convert(mode)
    path = saved(tmp_path, source, "image.tif")
    assert np.array_equal(load_image(path, 1), load_image(path).convert("L"))


def test_samples_of_16_bits_are_scaled_in_gray_as_in_rgb(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 30 * 40).reshape(30, 40).astype(np.uint16)
    found = np.asarray(load_image(saved(tmp_path, Image.fromarray(values)), 1)).astype(int)
    assert np.abs(found * 257 - values.astype(int)).max() <= 129


def test_alpha_is_that_of_the_file_and_leaves_the_colors(tmp_path: Path) -> None:
    found = np.asarray(load_image(saved(tmp_path, Image.fromarray(PIXELS)), 4))
    assert np.array_equal(found, PIXELS)


def test_alpha_is_255_without_transparency(tmp_path: Path) -> None:
    for image in (COLOR, COLOR.convert("L"), COLOR.convert("P")):
        path = saved(tmp_path, image)
        found = np.asarray(load_image(path, 4))
        assert (found[..., 3] == 255).all()
        assert np.array_equal(found[..., :3], load_image(path))


def test_a_transparent_color_has_alpha_0(tmp_path: Path) -> None:
    color = tuple(map(int, PIXELS[0, 0, :3]))
    path = saved(tmp_path, COLOR, transparency=color)
    found = np.asarray(load_image(path, 4))
    assert found[0, 0].tolist() == [*color, 0]
    assert np.array_equal(found[..., :3], PIXELS[..., :3])
    gray = Image.fromarray(PIXELS[..., 0])
    found = np.asarray(load_image(saved(tmp_path, gray, transparency=int(PIXELS[0, 0, 0])), 4))
    assert np.array_equal(found[..., 3] == 0, PIXELS[..., 0] == PIXELS[0, 0, 0])


@pytest.mark.parametrize("antialias", [True, False])
def test_each_channel_is_resized_by_itself(tmp_path: Path, antialias: bool) -> None:
    section = load_protocol("gradcam-2017", {"input": {"size": 16, "antialias": antialias}}).input
    image = load_image(saved(tmp_path, Image.fromarray(PIXELS)), 4)
    placements = [section.place(30, 40)]
    [of_rgba] = windows(image, placements, section)
    [of_rgb] = windows(image.convert("RGB"), placements, section)
    [of_alpha] = windows(image.getchannel("A"), placements, section)
    assert torch.equal(of_rgba, torch.cat([of_rgb, of_alpha]))
    assert of_alpha.shape == (1, 16, 16)


def test_each_channel_is_normalized_by_its_own_numbers() -> None:
    pixels = torch.full((1, 4, 1, 1), 255.0)
    found = normalize(pixels, (0.5, 0.25, 0.0, 1.0), (0.5, 0.25, 2.0, 1.0))
    assert found.flatten().tolist() == [1.0, 3.0, 0.5, 0.0]
