"""Data sets of Hugging Face's library: embedded images, boxes in lists, names of classes."""

import io
from pathlib import Path
from typing import Any

import datasets as library
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.hf_datasets import hf_datasets
from wsol_bench.errors import DatasetError

BOX = library.List(library.Value("float64"), length=4)
KIND = library.ClassLabel(names=["jay", "finch", "owl"])
OBJECTS = [
    [([1, 2, 10, 20], 0), ([3, 4, 5, 6], 1), ([0, 0, 40, 30], 0)],
    [([5, 5, 10, 10], 1)],
    [],
]
EXPECTED = {
    "00000000/finch": [[3, 4, 8, 10]],
    "00000000/jay": [[1, 2, 11, 22], [0, 0, 40, 30]],
    "00000001/finch": [[5, 5, 15, 15]],
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(folder))
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", folder / "hf")
    return folder


def encoded(color: str = "red", format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), color).save(file, format)
    return file.getvalue()


def rows(**columns: Any) -> library.Dataset:
    """Three images; the objects as a list of objects."""
    features = {
        "image": library.Image(),
        "objects": library.List({"bbox": BOX, "category": KIND}),
    }
    content = {
        "image": [{"bytes": encoded(color), "path": "a.jpg"} for color in ("red", "blue", "lime")],
        "objects": [[{"bbox": box, "category": k} for box, k in image] for image in OBJECTS],
    }
    kinds = {name: library.Value("int64") for name in columns}
    return library.Dataset.from_dict(content | columns, library.Features(features | kinds))


def as_lists() -> library.Dataset:
    """The same with lists of boxes and of classes, as ``Sequence`` of a mapping stores them."""
    objects = [
        {"bbox": [box for box, _ in image], "category": [kind for _, kind in image]}
        for image in OBJECTS
    ]
    lists = {"bbox": library.List(BOX), "category": library.List(KIND)}
    features = library.Features({"image": library.Image(), "objects": lists})
    content = {"image": rows()["image"], "objects": objects}
    return library.Dataset.from_dict(content, features)


def load(saved: Any, tmp_path: Path, convention: Any = "xywh", **options: Any) -> Dataset:
    saved.save_to_disk(tmp_path / "saved")
    return hf_datasets(path=str(tmp_path / "saved"), convention=convention, **options)


def boxes_of(loaded: Dataset) -> dict[str, list[list[float]]]:
    return {sample.image_id: sample.boxes.tolist() for sample in loaded}


@pytest.mark.parametrize("make", [rows, as_lists])
def test_a_sample_is_a_class_of_an_image(make: Any, tmp_path: Path) -> None:
    loaded = load(make(), tmp_path)
    assert boxes_of(loaded) == EXPECTED
    assert loaded.classes["wnid"].tolist() == ["finch", "jay", "owl"]
    assert loaded.images[["width", "height"]].to_numpy().tolist() == [[40, 30]] * 3
    assert [finding[:2] for finding in loaded.findings] == [("no_label", "00000002")]


def test_images_are_written_once_as_they_are(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(rows(), tmp_path)
    path = Path(loaded.images["path"].iloc[2])
    assert path.is_relative_to(cache)
    assert path.read_bytes() == encoded("blue")
    before = path.stat().st_mtime_ns
    again = hf_datasets(path=str(tmp_path / "saved"), convention="xywh")
    assert again.fingerprint == loaded.fingerprint
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"cut")
    hf_datasets(path=str(tmp_path / "saved"), convention="xywh")
    assert path.read_bytes() == encoded("blue")


def test_the_convention_is_the_users_word(tmp_path: Path) -> None:
    loaded = load(rows(), tmp_path, "one_based_inclusive")
    assert boxes_of(loaded)["00000000/finch"] == [[2, 3, 5, 6]]
    with pytest.raises(TypeError, match="convention"):
        hf_datasets(path="x")


def test_ids_and_sizes_may_be_columns(tmp_path: Path) -> None:
    columns = {"width": [40, 80, 40], "height": [30, 60, 30], "number": [7, 8, 9]}
    loaded = load(rows(**columns), tmp_path, id="number")
    assert boxes_of(loaded)["8/finch"] == [[2.5, 2.5, 7.5, 7.5]]
    assert ("size_mismatch", "8/finch") in [finding[:2] for finding in loaded.findings]


def test_a_split_is_chosen_among_several(tmp_path: Path) -> None:
    splits = library.DatasetDict({"train": rows(), "test": rows().select([1])})
    with pytest.raises(DatasetError, match="one of train, test, found None"):
        load(splits, tmp_path)
    loaded = hf_datasets(path=str(tmp_path / "saved"), convention="xywh", split="test")
    assert boxes_of(loaded) == {"00000000/finch": [[5, 5, 15, 15]]}
    assert Path(loaded.images["path"].iloc[0]).read_bytes() == encoded("blue")


def test_a_folder_of_images_and_their_metadata_is_read_in_place(tmp_path: Path) -> None:
    """As the library's own ``imagefolder`` reads it."""
    (tmp_path / "data").mkdir()
    for name in ("1.png", "2.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / "data" / name)
    line = '{"file_name": "%s.png", "objects": {"bbox": [[1, 2, 3, 4]], "category": ["%s"]}}\n'
    text = line % (1, "cat") + line % (2, "dog")
    (tmp_path / "data/metadata.jsonl").write_text(text)
    loaded = hf_datasets(path=str(tmp_path / "data"), convention="xywh")
    assert boxes_of(loaded) == {"00000000/cat": [[1, 2, 4, 6]], "00000001/dog": [[1, 2, 4, 6]]}
    assert loaded.images["path"].tolist() == [str(tmp_path / f"data/{n}.png") for n in (1, 2)]


def test_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    """Whoever wrote the data set does not choose which files of this machine are read."""
    Image.new("RGB", (40, 30)).save(tmp_path / "secret.png")
    secret = {"bytes": None, "path": str(tmp_path / "secret.png")}
    content = {"image": [secret], "objects": [[{"bbox": [1.0, 2.0, 3.0, 4.0], "category": 0}]]}
    (tmp_path / "data").mkdir()
    schema = rows().features.arrow_schema
    pq.write_table(pa.Table.from_pydict(content, schema), tmp_path / "data/test.parquet")
    with pytest.raises(DatasetError, match="expected image files in its own folder"):
        hf_datasets(path=str(tmp_path / "data"), convention="xywh")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "img"}, "expected a column 'img', found none; did you mean 'image'"),
        ({"image": "objects"}, "expected images in the column 'objects'"),
        ({"bbox": "box"}, "expected 'box' and 'category' in 'objects', found bbox, category"),
        ({"objects": None}, "expected a column 'bbox'"),
    ],
)
def test_a_column_that_is_not_there_is_told(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        load(rows(), tmp_path, **options)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"bbox": [[1.0, 2.0, 3.0]], "category": [0]}, "row 0: expected a box of four numbers"),
        ({"bbox": [[1.0] * 4], "category": [0, 1]}, "found 2 classes and 1 boxes"),
    ],
)
def test_a_box_that_is_none_is_an_error_with_its_row(
    tmp_path: Path, objects: dict[str, Any], message: str
) -> None:
    numbers = library.List(library.List(library.Value("float64")))
    lists = {"bbox": numbers, "category": library.List(library.Value("int64"))}
    features = library.Features({"image": library.Image(), "objects": lists})
    content = {"image": [{"bytes": encoded(), "path": None}], "objects": [objects]}
    with pytest.raises(DatasetError, match=message):
        load(library.Dataset.from_dict(content, features), tmp_path)


def test_what_the_library_cannot_load_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(DatasetError, match=r"the library datasets cannot load it: [^\n]*$"):
        hf_datasets(path=str(tmp_path), convention="xywh")
