"""Maps that other tools made: which file is whose, and what a file may hold."""

import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import wsol_bench
from wsol_bench.datasets import MaskFiles
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import ConfigError, DatasetError, PredictionError, RunError
from wsol_bench.methods.imported.maps_from import maps_from
from wsol_bench.methods.network_free import ImageMaps
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.config import load_config
from wsol_bench.runs.methods import build_methods
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.kinds import scoring_of

RAMP = np.arange(12, dtype=np.float32).reshape(3, 4)


def read(folder, image_id):
    return maps_from.opener(None, path=folder).map(image_id)


def is_ramp(values):
    return values is not None and values.dtype == np.float32 and np.array_equal(values, RAMP)


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
    def test_of_an_id_with_or_without_folders_and_extension(self, tmp_path, image_id, file, suffix):
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
        given = maps_from.opener(None, path=tmp_path)
        for ask in (given.map, given.has):
            with pytest.raises(PredictionError, match=rf"image '{image_id}' has 2 maps") as error:
                ask(image_id)
            assert all(str(tmp_path / file) in str(error.value) for file in files)
            assert ask("b") is not None

    @pytest.mark.parametrize("image_id", ["bird.v2", "bird.JPEG.v2", "bird.", "bird.npy", "x.tiff"])
    def test_what_is_no_image_suffix_belongs_to_the_id(self, tmp_path, image_id):
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
        given = maps_from.opener(None, path=tmp_path / "maps")
        assert given.map(image_id) is None
        assert not given.has(image_id)

    def test_a_folder_that_is_missing_or_holds_no_map_is_an_error(self, tmp_path):
        with pytest.raises(ConfigError, match=r"maps_from: .*nowhere is no folder"):
            read(tmp_path / "nowhere", "a")
        (tmp_path / "a.txt").write_text("no map")
        with pytest.raises(ConfigError, match=r"holds no \.npy, \.npz, \.pt or image file; expe"):
            read(tmp_path, "a")
        with pytest.raises(ConfigError, match="is no folder"):
            read(tmp_path / "a.txt", "a")


class TestContent:
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

    def test_rows_are_rows_also_where_columns_lie_together(self, tmp_path):
        np.save(tmp_path / "a.npy", np.asfortranarray(RAMP))
        assert is_ramp(read(tmp_path, "a"))

    def test_beyond_float32_a_value_is_infinite_and_nobody_warns(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([[1e300, -1e300, 1.0]]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read(tmp_path, "a").tolist() == [[np.inf, -np.inf, 1]]


class TestTensors:
    @pytest.mark.parametrize(
        "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8, torch.int64]
    )
    def test_of_any_number_type_are_maps(self, tmp_path, dtype):
        torch.save(torch.from_numpy(RAMP).to(dtype)[None], tmp_path / "a.pt")
        assert is_ramp(read(tmp_path, "a.JPEG"))

    def test_that_require_gradients_or_are_views_are_maps(self, tmp_path):
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
    def test_what_is_no_map_is_an_error_that_names_the_file(self, tmp_path, content, message):
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(PredictionError, match=message) as error:
            read(tmp_path, "a")
        assert str(error.value).startswith(f"{tmp_path / 'a.pt'}: ")

    def test_damaged_ones_are_that_error(self, tmp_path):
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
    def test_of_one_channel_are_maps(self, tmp_path, file):
        Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / file)
        assert is_ramp(read(tmp_path, "a.JPEG"))

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_of_16_bits_keep_them(self, tmp_path, suffix):
        deep = (RAMP * 5000).astype(np.uint16)
        Image.fromarray(deep).save(tmp_path / f"a.{suffix}")
        assert np.array_equal(read(tmp_path, "a"), deep.astype(np.float32))

    def test_of_one_bit_are_maps(self, tmp_path):
        Image.fromarray(RAMP > 5).save(tmp_path / "a.png")
        assert np.array_equal(read(tmp_path, "a"), (RAMP > 5).astype(np.float32))

    def test_of_a_gray_jpeg_are_maps(self, tmp_path):
        Image.new("L", (6, 4), 77).save(tmp_path / "a.jpg")
        assert np.array_equal(read(tmp_path, "a"), np.full((4, 6), 77, np.float32))

    @pytest.mark.parametrize(
        ("mode", "file"),
        [("RGB", "a.png"), ("RGBA", "a.png"), ("LA", "a.png"), ("P", "a.png"), ("RGB", "a.jpg"),
         ("CMYK", "a.jpeg"), ("L", "a.webp"), ("RGB", "a.tif"), ("RGB", "a.bmp")],
    )  # fmt: skip
    def test_in_color_are_an_error(self, tmp_path, mode, file):
        np.save(tmp_path / "b.npy", RAMP)
        Image.new(mode, (4, 3)).save(tmp_path / file)
        given = maps_from.opener(None, path=tmp_path)  # beside arrays they may be pictures of them
        assert given.map("b") is not None
        with pytest.raises(PredictionError, match=r"expected one channel .* in color") as error:
            given.map("a")
        assert str(error.value).startswith(f"{tmp_path / file}: ")

    def test_the_data_sets_own_are_refused_before_all_are_read(self, tmp_path, monkeypatch):
        (tmp_path / "val").mkdir()
        for name in ("val/2.JPEG", "val/1.JPEG"):
            Image.new("RGB", (4, 3)).save(tmp_path / name)
        monkeypatch.setattr("wsol_bench.methods.imported.maps_from._content", None)
        with pytest.raises(ConfigError, match=r"val/1\.JPEG is an image in color \(mode RGB\).*is"):
            read(tmp_path, "val/1.JPEG")

    def test_too_many_pixels_are_an_error(self, tmp_path, monkeypatch):
        Image.new("L", (20, 20)).save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 399)
        with pytest.warns(Image.DecompressionBombWarning):
            given = maps_from.opener(None, path=tmp_path)
        with (
            pytest.warns(Image.DecompressionBombWarning),
            pytest.raises(PredictionError, match=r"a\.png: 20 x 20 pixels are too many"),
        ):
            given.map("a")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
        assert given.map("a").shape == (20, 20)

    def test_several_in_a_file_are_an_error(self, tmp_path):
        one = Image.new("L", (4, 3))
        one.save(tmp_path / "a.tif", save_all=True, append_images=[one])
        with pytest.raises(PredictionError, match="expected one image, found 2"):
            read(tmp_path, "a")

    @pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
    def test_what_is_no_image_is_an_error(self, tmp_path, content):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(PredictionError, match=r"a\.png: no map can be read"):
            read(tmp_path, "a")

    @pytest.mark.parametrize("other", ["a.npy", "a.JPEG.pt", "a.PNG", "a.JPEG"])
    def test_beside_another_file_of_the_image_are_an_error(self, tmp_path, other):
        Image.new("L", (4, 3)).save(tmp_path / "a.png")
        (tmp_path / other).touch()
        with pytest.raises(PredictionError, match=r"image 'a\.JPEG' has 2 maps"):
            maps_from.opener(None, path=tmp_path).has("a.JPEG")


def build(**method):
    """The sources of an experiment with this method alone."""
    content = {"name": "m", "dataset": "shapes", "methods": [method], "protocol": "gradcam-2017"}
    methods, sources = build_methods(load_config(content))
    assert methods == []
    return sources


class TestShorthand:
    def test_names_the_folder(self, tmp_path, table):
        for name in SIZES:
            save(tmp_path, name, right_map(name))
        folder = f"maps_from/{tmp_path / 'maps'}"
        config = {"name": "m", "dataset": table, "methods": [folder], "protocol": NEAREST}
        rows = wsol_bench.run(config).rows
        assert rows["iou"].tolist() == [1, 1, 1]
        assert set(rows["method"]) == {folder}
        assert rows["status"].tolist() == run(tmp_path, table).rows["status"].tolist()

    def test_is_relative_to_the_working_directory(self, tmp_path, monkeypatch):
        (tmp_path / "some/maps").mkdir(parents=True)
        np.save(tmp_path / "some/maps/a.npy", RAMP)
        monkeypatch.chdir(tmp_path)
        [source] = build(name="maps_from/some/maps", label="mine")
        assert source.name == "mine"
        given = source.open(None)
        assert is_ramp(given.map("a"))
        assert given.fingerprint == maps_from.opener(None, path=Path("some/maps")).fingerprint

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"name": "maps_from/there", "path": "elsewhere"}, "unknown option 'path'"),
            ({"name": "maps_from/"}, "unknown map method 'maps_from/'"),
            ({"name": "maps_from"}, "missing option 'path'"),
        ],
    )
    def test_has_no_options(self, config, message):
        with pytest.raises(ConfigError, match=message):
            build(**config)

    def test_a_folder_that_is_missing_is_an_error(self, tmp_path):
        [source] = build(name=f"maps_from/{tmp_path}/C:/nowhere")
        with pytest.raises(ConfigError, match="nowhere is no folder"):
            source.open(None)


class Bomb:
    """Leaves a file where it is unpickled."""

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
    def test_is_an_error_that_names_the_file(self, tmp_path, kind):
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

    def test_a_folder_that_is_called_like_a_map_is_an_error(self, tmp_path):
        (tmp_path / "a.npy").mkdir()
        given = maps_from.opener(None, path=tmp_path)  # nobody has asked for it yet
        with pytest.raises(PredictionError, match=r"a\.npy: no map can be read"):
            given.map("a")

    @pytest.mark.parametrize("whole", [saved(RAMP), WHOLE])
    def test_cut_anywhere_or_with_any_byte_changed_it_is_a_map_or_that_error(self, tmp_path, whole):
        path, random = tmp_path / "a.npy", np.random.default_rng(0)
        path.touch()
        given = maps_from.opener(None, path=tmp_path)
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
                    assert given.map("a").ndim == 2
                except PredictionError:
                    n_errors += 1
        assert n_errors >= len(whole) // 2


SIZES = {"val/1.JPEG": (100, 200), "val/2.JPEG": (224, 224), "val/3.JPEG": (90, 50)}
TRUTH = {
    "val/1.JPEG": (50, 25, 100, 75),
    "val/2.JPEG": (0, 0, 112, 112),
    "val/3.JPEG": (0, 45, 25, 90),
}


@pytest.fixture
def table(tmp_path):
    """Three images, the box of each covers whole cells of a 4 x 4 grid."""
    lines = [
        f"{name},thing,{','.join(map(str, TRUTH[name]))},{width},{height}"
        for name, (height, width) in SIZES.items()
    ]
    header = "image,label,x0,y0,x1,y1,width,height"
    (tmp_path / "boxes.csv").write_text("\n".join([header, *lines]) + "\n")
    return {"name": "table", "path": str(tmp_path / "boxes.csv"), "convention": "half_open"}


def right_map(name, cells=4):
    """One in the box, zero elsewhere; ``cells`` a side, a multiple of four."""
    (height, width), (x0, y0, x1, y1) = SIZES[name], TRUTH[name]
    made = np.zeros((cells, cells), np.float32)
    rows = slice(round(cells * y0 / height), round(cells * y1 / height))
    made[rows, round(cells * x0 / width) : round(cells * x1 / width)] = 1
    return made


NEAREST = {"name": "gradcam-2017", "map": {"upsample": "nearest"}}


def run(folder, dataset, protocol=NEAREST, **changes):
    method = {"name": "maps_from", "path": str(folder / "maps"), "label": "mine"}
    return wsol_bench.run(
        {"name": "m", "dataset": dataset, "methods": [method], "protocol": protocol, **changes}
    )


def save(folder, name, array):
    path = folder / f"maps/{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


class TestRun:
    def test_maps_of_any_size_lie_over_the_whole_input(self, tmp_path, table):
        for cells, name in zip((4, 28, 224), SIZES, strict=True):
            save(tmp_path, name, right_map(name, cells))
        results = run(tmp_path, table)
        rows = results.rows.set_index("image_id")
        for name, box in TRUTH.items():
            assert rows.loc[name, ["x0", "y0", "x1", "y1"]].tolist() == list(box)
        assert rows["iou"].tolist() == [1, 1, 1]
        assert rows["energy"].tolist() == [1, 1, 1]
        [line] = results.summary.to_dict(orient="records")
        assert (line["method"], line["model"], line["layer"]) == ("mine", "-", "")
        assert (line["n_images"], line["n_missing"]) == (3, 0)
        assert line["gt_known_loc_error"] == 0
        assert (line["mean_iou"], line["pointing_game"]) == (1, 1)
        # Nobody has classified.
        for error in ("top1_cls_error", "top5_loc_error", "top1_loc_error_all"):
            assert np.isnan(line[error])

    @pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float64])
    def test_whatever_the_number_type_the_rows_are_the_same(self, tmp_path, table, dtype):
        for name in SIZES:
            save(tmp_path, name, right_map(name).astype(dtype)[None])
        assert run(tmp_path, table).rows["iou"].tolist() == [1, 1, 1]

    @pytest.mark.parametrize(
        ("protocol", "status"),
        [
            (NEAREST, "box"),
            ("zhou-2016", "box"),
            ("choe-2020-v1", "swept"),
            ("choe-2020-v2", "swept"),
        ],
    )
    def test_a_missing_map_is_a_miss(self, tmp_path, table, protocol, status):
        """Beside another source, which knows the image."""
        for name in list(SIZES)[:2]:
            save(tmp_path, name, right_map(name, 28))
        config = {
            "name": "m", "dataset": table, "protocol": protocol,
            "methods": [{"name": "maps_from", "path": str(tmp_path / "maps"), "label": "mine"},
                        "center_gaussian"],
        }  # fmt: skip
        results = wsol_bench.run(config)
        rows = results.rows[results.rows["method"] == "mine"]
        assert rows["status"].tolist() == [status, status, "missing"]
        line = results.summary.set_index("method").loc["mine"]
        assert (line["n_images"], line["n_skipped"], line["n_missing"]) == (3, 0, 1)
        if status == "swept":
            assert line["n_scored"] == 3
            assert line["max_box_acc"] == pytest.approx(2 / 3)
        else:
            assert line["gt_known_loc_error"] == pytest.approx(1 / 3)
            assert rows["iou"].iloc[2] == 0
            assert line["mean_iou"] == pytest.approx(rows["iou"].mean())
            assert line["mean_iou"] > 0.5
            assert line["box_acc_area"] <= 2 / 3
        assert results.summary.set_index("method").loc["center_gaussian", "n_missing"] == 0

    def test_a_missing_map_has_pixels_that_are_all_alike(self, tmp_path):
        """Inputs of two sizes; the mask is the left half."""
        protocol = load_protocol("choe-2020-pxap", {"input": {"geometry": "shorter_side"}})
        truth, placements = [], []
        for name, (height, width) in {"a": (100, 200), "b": (300, 200)}.items():
            pixels = np.zeros((height, width), np.uint8)
            pixels[:, : width // 2] = 255
            Image.fromarray(pixels).save(tmp_path / f"{name}.png")
            mask = MaskFiles((tmp_path / f"{name}.png",), None)
            truth.append(ImageTruth("thing", np.zeros((0, 4)), mask))
            placements.append(protocol.input.place(height, width))
        given = ImageMaps(lambda image_id: None, "")
        scoring = scoring_of(protocol, build_metrics(None, protocol, faithfulness=False))
        images = ImageBatch(("a", "b"), tuple(truth), tuple(placements))
        rows, scores = given.alone(images, scoring)
        again = given.score(RowBatch.of_labels(images), scoring)
        assert rows.image_ids.tolist() == ["a", "b"]
        assert scores.status.tolist() == again.status.tolist() == ["missing", "missing"]
        assert scores.curve_rows.tolist() == again.curve_rows.tolist() == [0, 1]
        for index, (height, width) in enumerate([(224, 448), (336, 224)]):
            counts = [
                np.frombuffer(one.curves[name][index], "<u4")
                for one in (scores, again)
                for name in ("foreground", "background")
            ]
            for count in counts:
                assert count.nonzero()[0].tolist() == [0]
                assert count[0] == height * width / 2

    def test_an_image_that_no_source_knows_is_not_predicted(self, tmp_path, table):
        for name in list(SIZES)[:2]:
            save(tmp_path, name, right_map(name))
        results = run(tmp_path, table)
        images = results.images.set_index("image_id")
        assert images["status"].tolist() == ["evaluated", "evaluated", "not_predicted"]
        assert "neither a map nor a box" in images.loc["val/3.JPEG", "reason"]
        assert set(results.rows["image_id"]) == {"val/1.JPEG", "val/2.JPEG"}
        [line] = results.summary.to_dict(orient="records")
        assert (line["n_images"], line["n_skipped"], line["n_missing"]) == (2, 1, 0)
        assert line["gt_known_loc_error"] == 0

    def test_no_map_of_any_image_is_an_error(self, tmp_path, table):
        save(tmp_path, "other", RAMP)
        with pytest.raises(DatasetError, match=r"no image could be evaluated \(3 not_predicted\)"):
            run(tmp_path, table)

    def test_a_map_with_nan_or_without_a_positive_value_has_no_box(self, tmp_path, table):
        broken = right_map("val/1.JPEG")
        broken[3, 3] = np.nan
        save(tmp_path, "val/1.JPEG", broken)
        save(tmp_path, "val/2.JPEG", -np.ones((4, 4)))
        save(tmp_path, "val/3.JPEG", np.full((4, 4), np.inf))
        results = run(tmp_path, table)
        assert results.rows["status"].tolist() == ["no_box"] * 3
        assert results.rows["iou"].tolist() == [0, 0, 0]
        [line] = results.summary.to_dict(orient="records")
        assert (line["gt_known_loc_error"], line["n_missing"]) == (1, 0)

    def test_a_bad_file_stops_the_run_and_is_named(self, tmp_path, table):
        for name in SIZES:
            save(tmp_path, name, right_map(name))
        (tmp_path / "maps/val/2.JPEG.npy").write_bytes(b"no map")
        with pytest.raises(PredictionError, match=r"val/2\.JPEG\.npy: no map can be read"):
            run(tmp_path, table)

    def test_the_fingerprint_is_of_names_and_content_alone(self, tmp_path):
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

    def test_the_fingerprint_is_the_same_in_whatever_order_files_are_listed(
        self, tmp_path, monkeypatch
    ):
        for name in ("a", "val/b", "c"):
            save(tmp_path, name, RAMP + len(name))
        before, rglob = maps_from.opener(None, path=tmp_path / "maps").fingerprint, Path.rglob
        monkeypatch.setattr(Path, "rglob", lambda *args: reversed(list(rglob(*args))))
        assert maps_from.opener(None, path=tmp_path / "maps").fingerprint == before

    def test_touched_maps_are_the_same_run_and_changed_ones_another(self, tmp_path, table):
        def run_there():
            method = {"name": "maps_from", "path": str(tmp_path / "maps")}
            config = {"name": "m", "dataset": table, "methods": [method], "protocol": NEAREST}
            return wsol_bench.run(config, out=tmp_path / "run")

        for name in SIZES:
            save(tmp_path, name, right_map(name))
        run_there()
        for path in (tmp_path / "maps/val").iterdir():
            os.utime(path, (0, 0))
        assert run_there().rows["iou"].tolist() == [1, 1, 1]
        save(tmp_path, "val/1.JPEG", 1 - right_map("val/1.JPEG"))
        with pytest.raises(RunError, match=r"holds another run(?s:.)*sources\.maps_from"):
            run_there()
