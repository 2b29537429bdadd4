"""convert: what it prints, and that an experiment reads what it wrote."""

import pandas as pd
import pytest
import yaml
from command_line import cli
from loader_worlds import WORLDS

import wsol_bench
from wsol_bench.errors import ConfigError
from wsol_bench.runs.experiment_config import load_dataset

VOC = next(world for world in WORLDS if world.name == "voc")


@pytest.fixture
def root(tmp_path):
    VOC.write(tmp_path / "voc", VOC.stems, VOC.suffix)
    return tmp_path / "voc"


def test_the_line_that_it_prints_reads_the_file(root, tmp_path):
    out, err = cli("convert", "voc", "--root", root, "--to", tmp_path / "boxes.parquet")
    assert out == ""
    [line] = [line for line in err.splitlines() if line.startswith("To read it: ")]
    content = yaml.safe_load(line.removeprefix("To read it: "))
    assert load_dataset(content["dataset"]).fingerprint == VOC.load(root).fingerprint
    assert err.splitlines()[-1] == f"Written: {tmp_path / 'boxes.parquet'}, 4 images, 5 boxes"


def test_an_experiment_file_names_a_data_set(root, tmp_path):
    experiment = {
        "name": "x", "dataset": {"name": "voc", "root": str(root)}, "models": [],
        "methods": ["center_box"], "protocol": "gradcam-2017",
    }  # fmt: skip
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(experiment))
    cli("convert", path, "--to", tmp_path / "boxes.csv")
    assert len(pd.read_csv(tmp_path / "boxes.csv")) == 5
    _, err = cli("convert", path, "--to", tmp_path / "boxes.csv", code=1)
    assert "boxes.csv exists; name another file, or replace it with --force" in err
    cli("convert", path, "--to", tmp_path / "boxes.csv", "--force")
    _, err = cli("convert", path, "--to", tmp_path / "b.csv", "--root", root, code=1)
    assert "--root and --option are for the name of a data set" in err


def test_what_is_not_known_is_told(tmp_path):
    _, err = cli("convert", "vok", "--to", tmp_path / "boxes.csv", code=1)
    assert "unknown data set 'vok'; did you mean 'voc'? known:\n" in err
    (tmp_path / "my photos").mkdir()
    _, err = cli("convert", tmp_path / "my photos", "--to", tmp_path / "boxes.csv", code=1)
    assert f"wsol-bench init my.yaml --data '{tmp_path / 'my photos'}'" in err
    _, err = cli("convert", "photos", "--to", tmp_path / "boxes.csv", code=1)
    assert "unknown data set 'photos'; known:\n  caltech101: " in err
    _, err = cli("convert", "voc", "--to", tmp_path / "boxes.csv", code=1)
    assert "dataset: missing option 'root' (path): folder" in err
    _, err = cli("convert", "voc", "--to", tmp_path / "boxes.xls", code=1)
    assert "expected a file that ends with .parquet or .csv (a table) or .json (COCO)" in err


def test_python_has_the_same(root, tmp_path):
    loaded = VOC.load(root)
    for number, dataset in enumerate([loaded, {"name": "voc", "root": str(root)}]):
        path = tmp_path / f"{number}.csv"
        *_, line = wsol_bench.convert(dataset, path)
        assert line.startswith("To read it: dataset: {name: table, ")
        assert len(pd.read_csv(path)) == 5
    with pytest.raises(ConfigError, match="replace it with force=True"):
        wsol_bench.convert(loaded, tmp_path / "0.csv")


def test_a_missing_option_lists_its_values(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("image,label,x0,y0,x1,y1\n1,cat,1,2,3,4\n")
    with pytest.raises(ConfigError, match=r"missing option 'convention' \(half_open"):
        load_dataset({"name": "table", "path": str(path)})
