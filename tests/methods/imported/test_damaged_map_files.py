"""A file that holds no map is an error that names it, and nothing in it is executed."""

import io
import math
import os
import pickle
import resource
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from map_files import RAMP, read

from wsol_bench.errors import PredictionError
from wsol_bench.methods.imported import map_files
from wsol_bench.methods.imported.map_files import MAP_FILES, read_map
from wsol_bench.methods.imported.maps_from import maps_from


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def saved(array, *, save=np.save):
    stream = io.BytesIO()
    save(stream, array)
    return stream.getvalue()


def header(text):
    line = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line


F4 = "'descr': '<f4', 'fortran_order': False"
WHOLE = saved(RAMP, save=np.savez_compressed)
BAD = {
    "empty": b"",
    "text": b"0 1 2\n3 4 5\n",
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "cut header": saved(RAMP)[:20],
    "cut values": saved(RAMP)[:-4],
    "cut zip": WHOLE[:-30],
    "begun zip": b"PK\x03\x04",
    "damaged zip": WHOLE[:60] + bytes(20) + WHOLE[80:],
    "zip of text": zipped(**{"a.txt": "0 1 2"}),
    "zip of nothing": b"PK\x05\x06" + bytes(18),
    "zip of a cut array": zipped(**{"a.npy": saved(RAMP)[:-4]}),
    "two arrays": saved(RAMP, save=lambda file, array: np.savez(file, array, array)),
    "3-d": saved(np.zeros((2, 3, 4))),
    "1-d": saved(np.zeros(12)),
    "0-d": saved(np.array(1.0)),
    "trailing axis": saved(np.zeros((3, 4, 2))),
    "no pixel": saved(np.zeros((0, 4))),
    "complex": saved(RAMP * 1j),
    "words": saved(np.array([["a", "b"]])),
    "times": saved(np.zeros((3, 4), "m8[s]")),
    "fields": saved(np.zeros((3, 4), "f4,f4")),
    "objects": saved(np.array([[None]], dtype=object)),
    "pickle": pickle.dumps(RAMP),
    "huge": header(f"{{{F4}, 'shape': (1000000000, 1000000000)}}"),
    "overflow": header(f"{{{F4}, 'shape': (4294967296, 4294967296)}}"),
    "negative": header(f"{{{F4}, 'shape': (-3, 4)}}") + bytes(48),
    "long header": header(f"{{{F4}, 'shape': (3, 4)}}{' ' * 20000}") + bytes(48),
    "deep header": header("(" * 9000),
    "open header": header("{'descr': ["),
    "code header": header("__import__('os').system('true')"),
}


class TestBadFiles:
    @pytest.mark.parametrize("kind", BAD)
    def test_a_bad_file_is_an_error_that_names_the_file(self, tmp_path, kind):
        path = tmp_path / f"a{'.npz' if b'PK' in BAD[kind][:2] else '.npy'}"
        path.write_bytes(BAD[kind])
        with pytest.raises(PredictionError) as error:
            read(tmp_path, "a")
        assert str(error.value).startswith(f"{path}: ")

    @pytest.mark.parametrize("packed", ["array", "archive", "plain"])
    def test_nothing_in_a_file_is_executed(self, tmp_path, packed):
        array = np.array([[Bomb(tmp_path / "executed")]], dtype=object)
        content = {
            "array": saved(array),
            "archive": saved(array, save=np.savez),
            "plain": pickle.dumps(array),
        }[packed]
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(PredictionError, match=r"a\.npy: no map can be read"):
            read(tmp_path, "a")
        assert not (tmp_path / "executed").exists()
        pickle.loads(pickle.dumps(array))  # the bomb does work
        assert (tmp_path / "executed").exists()

    @pytest.mark.parametrize("new", [True, False])
    def test_nothing_in_a_tensors_file_is_executed(self, tmp_path, new):
        content = [torch.ones(2, 2), Bomb(tmp_path / "executed")]
        torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        with pytest.raises(PredictionError, match=r"a\.pt: no map can be read"):
            read(tmp_path, "a")
        assert not (tmp_path / "executed").exists()
        torch.load(tmp_path / "a.pt", weights_only=False)  # the bomb does work
        assert (tmp_path / "executed").exists()

    def test_a_folder_with_the_name_of_a_map_is_an_error(self, tmp_path):
        (tmp_path / "a.npy").mkdir()
        maps = maps_from.opener(None, path=tmp_path)  # nobody has asked for it yet
        with pytest.raises(PredictionError, match=r"a\.npy: no map can be read"):
            maps.map_of("a")

    @pytest.mark.parametrize("whole", [saved(RAMP), WHOLE], ids=["npy", "npz"])
    def test_a_cut_or_changed_file_is_a_map_or_an_error(self, tmp_path, whole):
        path, random = tmp_path / "a.npy", np.random.default_rng(0)
        path.touch()
        maps = maps_from.opener(None, path=tmp_path)
        damaged = [whole[:length] for length in range(0, len(whole), 2)]
        for place in range(0, len(whole), 2):
            byte = bytes([random.integers(256)])
            damaged.append(whole[:place] + byte + whole[place + 1 :])
        n_errors = 0
        for content in damaged:
            path.write_bytes(content)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numpy's own, about headers and casts
                try:
                    assert maps.map_of("a").ndim == 2
                except PredictionError:
                    n_errors += 1
        assert n_errors >= len(whole) // 2


def sparse(path, shape, dtype="<f4"):
    """A .npy file whose header is true, and whose values take no place on the disk."""
    line = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}"
    with path.open("wb") as file:
        file.write(header(line))
        file.truncate(file.tell() + math.prod(shape) * np.dtype(dtype).itemsize)


class TestLargeFiles:
    """The size of a map is known before memory is taken for it."""

    @pytest.fixture(autouse=True)
    def memory_stays(self):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        yield
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # in KiB on Linux
        assert grown < 400 * 1024

    @pytest.mark.parametrize("shape", [(60_000, 60_000), (1, 1, 10**6, 10**3), (2, 10**9)])
    def test_an_array_of_too_many_values_is_refused_by_its_header(self, tmp_path, shape):
        sparse(tmp_path / "a.npy", shape)
        with pytest.raises(PredictionError, match=r"expected a map of at most 89478485 values"):
            read_map(tmp_path / "a.npy")

    def test_a_value_of_a_billion_bytes_is_refused_by_its_header(self, tmp_path):
        content = "{'descr': '|V1000000000', 'fortran_order': False, 'shape': (3, 4)}"
        (tmp_path / "a.npy").write_bytes(header(content))
        with pytest.raises(PredictionError, match="expected numbers, found "):
            read_map(tmp_path / "a.npy")

    @pytest.mark.parametrize("name", ["a.npz", "a.npy"])
    def test_an_archive_that_grows_is_refused_before_it_grows(self, tmp_path, name):
        zeros = header(f"{{{F4}, 'shape': (20000, 20000)}}") + bytes(2**20)
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", zeros)
        with pytest.raises(PredictionError, match="expected a map of at most 89478485 values"):
            read_map(tmp_path / name)

    def test_an_array_that_is_shorter_than_its_header_says_is_refused(self, tmp_path):
        (tmp_path / "a.npy").write_bytes(header(f"{{{F4}, 'shape': (8000, 8000)}}") + bytes(99))
        expected = r"expected 256000000 bytes for shape \(8000, 8000\), found 99; the file is cut"
        with pytest.raises(PredictionError, match=expected):
            read_map(tmp_path / "a.npy")

    def test_a_tensors_archive_that_grows_is_refused_before_it_grows(self, tmp_path, monkeypatch):
        monkeypatch.setattr(map_files, "_MOST_BYTES", 2**20)
        torch.save(torch.ones(2, 2), tmp_path / "a.pt")
        with zipfile.ZipFile(tmp_path / "a.pt") as archive:
            parts = {one.filename: archive.read(one) for one in archive.infolist()}
        with zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
            archive.writestr("bomb", bytes(2**20))
        with pytest.raises(PredictionError, match=r"b\.pt: expected a map of at most 89478485 val"):
            read_map(tmp_path / "b.pt")

    def test_a_tensors_file_of_too_many_bytes_is_refused_before_it_is_read(self, tmp_path):
        with (tmp_path / "a.pt").open("wb") as file:
            file.truncate(10**10)  # takes no place on the disk
        with pytest.raises(PredictionError, match="of at most 89478485 values, found 10000000000 "):
            read_map(tmp_path / "a.pt")

    @pytest.mark.parametrize("suffix", sorted(MAP_FILES))
    def test_a_pipe_or_a_device_is_refused_before_it_is_opened(self, tmp_path, suffix):
        os.mkfifo(tmp_path / f"a{suffix}")
        (tmp_path / f"b{suffix}").symlink_to("/dev/zero")
        maps = maps_from.opener(None, path=tmp_path)
        for name, kind in (("a", "pipe"), ("b", "device")):
            with pytest.raises(PredictionError, match=f"expected a regular file, found a {kind}"):
                maps.map_of(name)

    @pytest.mark.parametrize("shape", [(60_000, 2), (2, 60_000)])
    def test_a_long_thin_map_is_a_map(self, tmp_path, shape):
        np.save(tmp_path / "a.npy", np.zeros(shape))
        assert read_map(tmp_path / "a.npy").shape == shape

    def test_a_map_in_the_order_of_fortran_is_the_same_map(self, tmp_path):
        np.save(tmp_path / "a.npy", np.asfortranarray(RAMP))
        assert np.array_equal(read_map(tmp_path / "a.npy"), RAMP)
