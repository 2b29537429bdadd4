"""A file that holds no map is an error that names it, and nothing in it is executed."""

import io
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from map_files import RAMP, read

from wsol_bench.errors import PredictionError
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
