"""Files of wsolevaluation's metadata folders that are malformed."""

from pathlib import Path

import pytest
from wsol_folders import FIRST, ILSVRC, SECOND, write

from wsol_bench.datasets.wsol_metadata import wsol_metadata
from wsol_bench.errors import DatasetError

FOLDER = "below its folder"
MALFORMED = [
    ("image_ids", [FIRST, SECOND, FIRST], "image_ids.txt, line 3: expected each file once"),
    ("image_ids", [], "image_ids.txt, line 1: expected lines"),
    ("class_labels", [f"{FIRST},x"], "class_labels.txt, line 1: expected 'file label'"),
    ("class_labels", [f"{FIRST},1", f"{SECOND},-1"], rf"class_labels.txt: .*{SECOND}', found -1"),
    ("class_labels", [f"{FIRST},1.5"], "number of a class, from 0 to 99999, of .*found 1.5"),
    ("class_labels", [f"{FIRST},100000"], "from 0 to 99999"),
    ("class_labels", [FIRST], "class_labels.txt, line 1: expected 'file label'"),
    ("class_labels", [f"{FIRST},1", f"{FIRST},2"], "class_labels.txt, line 2: .*each file once"),
    ("class_labels", [",1"], "class_labels.txt, line 1"),
    ("class_labels", [], "class_labels.txt, line 1"),
    ("class_labels", None, "class_labels.txt: cannot be read"),
    ("image_sizes", [f"{FIRST},0,375"], "image_sizes.txt: expected a width .* found 0, 375"),
    ("image_sizes", [f"{FIRST},500,37.5"], "image_sizes.txt: expected a width .* found 500, 37.5"),
    ("image_sizes", [f"{FIRST},500"], "image_sizes.txt, line 1: expected 'file width height'"),
    ("image_sizes", [f"{FIRST},5,5", f"{FIRST},5,5"], "image_sizes.txt, line 2"),
    ("localization", [f"{FIRST},1,2,3,4", f"{FIRST},1,2,3"], "localization.txt, line 2: expected"),
    ("localization", [f"{FIRST},1,2,3,nan"], "localization.txt, line 1: .*4 numbers"),
    ("localization", [f"{FIRST},1,2,3,1e99"], "localization.txt, line 1: .*4 numbers"),
    ("localization", [f"{FIRST},1,2,3,4,5"], "localization.txt, line 1: .*4 numbers"),
    ("image_ids", ["../secret.jpg"], f"image_ids.txt, line 1: .*{FOLDER}"),
    ("image_ids", [FIRST, "val/../../secret.jpg"], f"image_ids.txt, line 2: .*{FOLDER}.*secret"),
    ("image_ids", ["/etc/passwd"], f"image_ids.txt, line 1: .*{FOLDER}"),
    ("image_ids", ["C:\\secret.jpg"], f"image_ids.txt, line 1: .*{FOLDER}"),
    ("image_ids", ["val\\..\\..\\secret.jpg"], f"image_ids.txt, line 1: .*{FOLDER}"),
    ("image_ids", ["val/\0.jpg"], f"image_ids.txt, line 1: .*{FOLDER}"),
]


@pytest.mark.parametrize(("name", "lines", "message"), MALFORMED)
def test_malformed_files_are_named_with_their_line(
    tmp_path: Path, name: str, lines: list[str] | None, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        wsol_metadata(metadata=write(tmp_path, ILSVRC, **{name: lines}))


def test_two_dots_in_a_name_are_a_name(tmp_path: Path) -> None:
    names = ["val/a..b.jpg", "val/..c.jpg"]
    labels = [f"{name},0" for name in names]
    metadata = write(tmp_path, {"image_ids": names, "class_labels": labels})
    assert wsol_metadata(metadata=metadata).images["image_id"].tolist() == names


def test_text_that_is_none_is_an_error(tmp_path: Path) -> None:
    metadata = write(tmp_path, ILSVRC)
    (metadata / "class_labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"class_labels\.txt: cannot be read as text"):
        wsol_metadata(metadata=metadata)


def test_the_folder_above_the_splits_is_an_error_that_names_them(tmp_path: Path) -> None:
    write(tmp_path / "ILSVRC/val", ILSVRC)
    write(tmp_path / "ILSVRC/test", ILSVRC)
    with pytest.raises(DatasetError, match=r"no image_ids\.txt; is it one of .*test, .*val\?"):
        wsol_metadata(metadata=tmp_path / "ILSVRC")
