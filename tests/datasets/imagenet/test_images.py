"""Image files of an ImageNet root, odd ones included."""

from pathlib import Path
from typing import Any

import pytest
from imagenet_roots import (
    WORLD,
    image_of,
    kaggle,
    kinds,
    name,
    picture,
    sample,
    the_finding,
    write_images,
    write_xml,
)
from PIL import Image

from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.errors import DatasetError


class TestImages:
    @pytest.mark.parametrize(
        ("mode", "save"),
        [
            ("RGB", {}),
            ("CMYK", {}),
            ("L", {}),
            ("RGB", {"format": "PNG"}),
            ("P", {"format": "PNG"}),
        ],
    )
    def test_the_size_is_read_whatever_is_in_the_file(
        self, tmp_path: Path, mode: str, save: dict[str, Any]
    ) -> None:
        root = kaggle(tmp_path)
        picture(image_of(root, 7), (30, 60), mode, **save)
        loaded = imagenet(root=root)
        assert loaded.findings == ()
        assert (sample(loaded, 7).height, sample(loaded, 7).width) == (60, 30)

    def test_an_exif_rotation_is_not_applied(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        exif = Image.Exif()
        exif[0x0112] = 6  # to be shown rotated by 90 degrees
        picture(image_of(root, 7), (30, 60), exif=exif)
        loaded = imagenet(root=root)
        assert (sample(loaded, 7).height, sample(loaded, 7).width) == (60, 30)
        assert loaded.findings == ()

    def test_broken_exif_does_not_matter(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        picture(image_of(root, 7), (30, 60), exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
        assert imagenet(root=root).findings == ()

    @pytest.mark.parametrize("content", [b"", b"this is text", b"\xff\xd8\xff\xe0\x00"])
    def test_an_unreadable_image_is_left_out(self, tmp_path: Path, content: bytes) -> None:
        root = kaggle(tmp_path)
        image_of(root, 7).write_bytes(content)
        loaded = imagenet(root=root)
        assert loaded.images["image_id"].tolist() == [name(2), name(3), name(10)]
        assert len(loaded.boxes) == 4
        assert name(7) in the_finding(loaded, "unreadable_image")

    def test_a_decompression_bomb_is_a_finding(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = kaggle(tmp_path)
        for number, factor in ((7, 10), (10, 100)):  # above PIL's warning, above its error
            picture(image_of(root, number), (10 * factor, 130))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
        loaded = imagenet(root=root)
        assert loaded.images["image_id"].tolist() == [name(2), name(3)]
        assert kinds(loaded) == {"unreadable_image": 2}
        assert "at most 10000 pixels, found 100 x 130" in loaded.findings[0].detail

    def test_a_listed_image_that_is_missing_is_left_out(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        image_of(root, 7).unlink()
        loaded = imagenet(root=root)
        assert len(loaded) == 3
        assert the_finding(loaded, "missing_file").startswith(f"{name(7)}: listed")

    def test_a_dangling_link_is_a_missing_file(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        image_of(root, 7).unlink()
        image_of(root, 7).symlink_to(tmp_path / "nowhere.JPEG")
        assert kinds(imagenet(root=root)) == {"missing_file": 1}

    @pytest.mark.parametrize("suffix", ["JPEG", "jpg", "jpeg", "JPG", "png"])
    def test_extensions_in_any_case(self, tmp_path: Path, suffix: str) -> None:
        write_images(tmp_path / "val", suffix=suffix)
        write_xml(tmp_path / "bbox")
        assert len(imagenet(root=tmp_path)) == len(WORLD)

    def test_two_files_of_one_stem_are_an_error(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        picture(image_of(root, 7).with_suffix(".png"), format="PNG")
        with pytest.raises(DatasetError, match=r"00000007\.(JPEG|png)' share one"):
            imagenet(root=root)
