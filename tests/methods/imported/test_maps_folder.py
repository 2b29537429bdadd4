"""The file in a folder that is an image's map, and the folder's fingerprint."""

import os
from pathlib import Path

import numpy as np
import pytest
from map_files import RAMP, is_ramp, read, save

from wsol_bench.errors import ConfigError, PredictionError
from wsol_bench.methods.imported.maps_from import maps_from


class TestNames:
    @pytest.mark.parametrize(
        ("image_id", "file"),
        [
            ("a", "a.npy"),
            ("val/0001.JPEG", "val/0001.JPEG.npy"),
            ("val/0001.JPEG", "val/0001.npy"),
            ("0001.JPEG", "0001.npy"),
            ("x.y/0001.jpg", "x.y/0001.npy"),
            ("0001.v2.Png", "0001.v2.npy"),
            ("bird.v2", "bird.v2.npy"),
            ("x.y/Black_0046_18", "x.y/Black_0046_18.npy"),
            ("2008_000008/horse", "2008_000008/horse.npy"),
            ("two words ü", "two words ü.npy"),
        ],
    )
    @pytest.mark.parametrize("suffix", [".npy", ".npz"])
    def test_a_name_is_the_id_with_or_without_folders_and_extension(
        self, tmp_path, image_id, file, suffix
    ):
        path = tmp_path / (file.removesuffix(".npy") + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, RAMP) if suffix == ".npy" else np.savez_compressed(path, RAMP)
        assert is_ramp(read(tmp_path, image_id))

    @pytest.mark.parametrize(
        ("image_id", "files"),
        [
            ("a", ["a.npy", "a.npz"]),
            ("a.JPEG", ["a.JPEG.npy", "a.npy"]),
            ("a.JPEG", ["a.JPEG.npz", "a.npy"]),
            ("val/a.png", ["val/a.npy", "val/a.npz"]),
        ],
    )
    def test_two_files_of_an_image_are_an_error_that_names_both(self, tmp_path, image_id, files):
        (tmp_path / "val").mkdir()
        for file in (*files, "b.npy"):
            with (tmp_path / file).open("wb") as stream:
                np.save(stream, RAMP)
        maps = maps_from.opener(None, path=tmp_path)
        for ask in (maps.map_of, maps.covers):
            message = rf"image '{image_id}': expected one map, found 2"
            with pytest.raises(PredictionError, match=message) as error:
                ask(image_id)
            assert all(str(tmp_path / file) in str(error.value) for file in files)
            assert ask("b") is not None

    @pytest.mark.parametrize("image_id", ["bird.v2", "bird.JPEG.v2", "bird.", "bird.npy", "x.psd"])
    def test_a_suffix_of_no_image_belongs_to_the_id(self, tmp_path, image_id):
        np.save(tmp_path / "bird.npy", RAMP)
        np.save(tmp_path / "x.npy", RAMP)
        assert read(tmp_path, image_id) is None

    @pytest.mark.parametrize("image_id", [".JPEG", "val/.JPEG", "val//a.JPEG"])
    def test_an_image_suffix_alone_is_no_suffix(self, tmp_path, image_id):
        (tmp_path / "val").mkdir()
        for file in (".npy", "val/.npy", "val/a.npy"):
            np.save(tmp_path / file, RAMP)
        assert read(tmp_path, image_id) is None

    @pytest.mark.parametrize(
        "image_id", ["b", "val/a", "A", "", ".", "..", "/", "../maps/a", "a/../a", "a.npy/x"]
    )
    def test_another_id_has_no_map(self, tmp_path, image_id):
        (tmp_path / "maps").mkdir()
        np.save(tmp_path / "maps/a.npy", RAMP)
        assert read(tmp_path / "maps", image_id) is None

    @pytest.mark.parametrize("kind", ["relative", "absolute"])
    def test_an_id_cannot_leave_the_folder(self, tmp_path, kind):
        (tmp_path / "maps").mkdir()
        np.save(tmp_path / "maps/a.npy", RAMP)
        np.save(tmp_path / "secret.npy", RAMP)
        image_id = "../secret" if kind == "relative" else str(tmp_path / "secret")
        maps = maps_from.opener(None, path=tmp_path / "maps")
        assert maps.map_of(image_id) is None
        assert not maps.covers(image_id)

    def test_a_folder_that_is_missing_or_holds_no_map_is_an_error(self, tmp_path):
        with pytest.raises(ConfigError, match=r"maps_from: .*nowhere is no folder"):
            read(tmp_path / "nowhere", "a")
        (tmp_path / "a.txt").write_text("no map")
        with pytest.raises(ConfigError, match=r"holds no \.npy, \.npz, \.pt or image file; expe"):
            read(tmp_path, "a")
        with pytest.raises(ConfigError, match="is no folder"):
            read(tmp_path / "a.txt", "a")


class TestFingerprint:
    def test_the_fingerprint_depends_on_names_and_content_alone(self, tmp_path):
        def fingerprint():
            return maps_from.opener(None, path=tmp_path / "maps").fingerprint

        save(tmp_path, "a", RAMP)
        save(tmp_path, "b", RAMP + 1)
        before, size = fingerprint(), (tmp_path / "maps/a.npy").stat().st_size
        os.utime(tmp_path / "maps/a.npy", (0, 0))
        (tmp_path / "maps/readme.txt").write_text("no map")
        assert fingerprint() == before

        changed = RAMP.copy()
        changed[2, 3] += 1
        save(tmp_path, "a", changed)
        os.utime(tmp_path / "maps/a.npy", (0, 0))
        assert (tmp_path / "maps/a.npy").stat().st_size == size
        value = fingerprint()

        save(tmp_path, "a", RAMP + 1)
        save(tmp_path, "b", RAMP)
        swapped = fingerprint()
        (tmp_path / "maps/a.npy").unlink()
        fewer = fingerprint()
        (tmp_path / "maps/b.npy").rename(tmp_path / "maps/c.npy")
        assert len({before, value, swapped, fewer, fingerprint()}) == 5

    def test_the_fingerprint_does_not_depend_on_the_order_of_the_files(self, tmp_path, monkeypatch):
        for name in ("a", "val/b", "c"):
            save(tmp_path, name, RAMP + len(name))
        before, rglob = maps_from.opener(None, path=tmp_path / "maps").fingerprint, Path.rglob
        monkeypatch.setattr(Path, "rglob", lambda *args: reversed(list(rglob(*args))))
        assert maps_from.opener(None, path=tmp_path / "maps").fingerprint == before
