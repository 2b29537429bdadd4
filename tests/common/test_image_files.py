"""Image files: which files they are, and what is refused before it is decoded."""

import os
from pathlib import Path

import pytest
from PIL import Image

from wsol_bench.common.image_files import IMAGE_FORMATS, IMAGE_SUFFIXES, opened_image
from wsol_bench.errors import ImageError
from wsol_bench.images.decode import load_image, load_marks


def test_the_extensions_of_images_are_those_that_pillow_knows_for_these_formats() -> None:
    registered = Image.registered_extensions()
    assert {
        extension.removeprefix(".")
        for extension, format in registered.items()
        if format in IMAGE_FORMATS
    } == IMAGE_SUFFIXES


@pytest.mark.timeout(30)
@pytest.mark.parametrize("load", [load_image, load_marks])
def test_a_pipe_is_refused_unopened_whatever_names_it(tmp_path: Path, load) -> None:
    """A loader of a plug-in may name any path."""
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png: .* expected a regular file, found a pipe"):
        load(tmp_path / "a.png")


def test_an_image_above_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (20, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    with opened_image(tmp_path / "a.png") as image:
        assert image.size == (20, 30)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 599)
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(ImageError, match="expected at most 599 pixels, found 20 x 30"),
        opened_image(tmp_path / "a.png"),
    ):
        pass
