"""A configuration is resolved once: it is the same in the table, the files and a resume."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import yaml
from annotations_only import without_model, write_annotations_only
from command_line import cli
from pydantic import ValidationError
from user_modules import importable

import wsol_bench
from wsol_bench.errors import ConfigError
from wsol_bench.runs.differences import differences
from wsol_bench.runs.experiment_config import (
    DatasetConfig,
    ExperimentConfig,
    MethodConfig,
    ModelConfig,
    ProtocolConfig,
    load_config,
)
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.manifest import read_manifest
from wsol_bench.runs.rescore import rescore

MODULE = """
from typing import Any
import numpy as np
from wsol_bench.methods.maps_or_boxes import ImageMaps
from wsol_bench.methods.network_free import network_free_method

@network_free_method("clipped", gives="maps")
def clipped(dataset, *, clip: float = 1.0, near: tuple[int, ...] = (), file: Any = None):
    values = np.minimum(np.arange(12.0).reshape(3, 4), clip).astype(np.float32)
    return ImageMaps(lambda image_id: values, "")
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resolved")
    write_annotations_only(folder / "root")
    (folder / "clipping.py").write_text(MODULE)
    with importable(folder):
        yield folder


def experiment(world, **options):
    return without_model(world / "root", {"name": "clipping:clipped", **options})


@pytest.mark.parametrize("value", [".inf", "-.inf", "1.0e+308", "0.1"])
def test_an_option_is_the_same_in_the_table_the_files_and_a_resume(world, tmp_path, value):
    number = float(value.replace(".inf", "inf"))
    content = yaml.safe_dump(experiment(world, clip=1.0)).replace("clip: 1.0", f"clip: {value}")
    (tmp_path / "e.yaml").write_text(content)
    arguments = ("run", tmp_path / "e.yaml", "--out", tmp_path / "run")
    out, _ = cli(*arguments, "--limit", 3, "--device", "cpu", "--json", cwd=world)
    [line] = json.loads(out)
    assert line["method"] == f"clipped+clip={yaml.safe_load(value)}"

    folder = RunFolder(tmp_path / "run")
    assert folder.identity.config["methods"][0]["clip"] == number
    stored = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert load_config(stored) == load_config(
        tmp_path / "e.yaml", [], {"limit": 3, "device": "cpu"}
    )
    before = folder.identity.digest()
    again, told = cli(*arguments, "--limit", 3, "--device", "cpu", "--json", cwd=world)
    assert again == out
    assert "1 of 1 parts were done before" in told
    assert RunFolder(tmp_path / "run").identity.digest() == before


def test_an_infinite_option_passes_rescore_and_merge(world, tmp_path):
    content = experiment(world, clip=math.inf)
    shards = [
        wsol_bench.run(content, out=tmp_path / str(index), shard=f"{index}/2") for index in (1, 2)
    ]
    cli("merge", tmp_path / "1", tmp_path / "2", "--out", tmp_path / "whole")
    whole = RunFolder(tmp_path / "whole")
    assert set(whole.read("rows")["method"]) == {"clipped+clip=inf"}
    again = rescore(whole, "zhou-2016")
    assert set(again.rows["method"]) == {"clipped+clip=inf"}
    assert again.folder.identity.config == {
        **shards[0].folder.identity.config,
        "protocol": {"name": "zhou-2016"},
    }


def test_values_that_json_writes_otherwise_are_made_plain_before_they_name_a_method(
    world, tmp_path
):
    content = experiment(world, near=(3, 16), file=Path("a/b"))
    config = load_config(content)
    assert config.methods[0].options == {"near": [3, 16], "file": "a/b"}
    results = wsol_bench.run(config, out=tmp_path / "run")
    assert set(results.rows["method"]) == {"clipped+near=[3, 16]+file=a/b"}
    again = rescore(results.folder, "zhou-2016")
    assert set(again.rows["method"]) == set(results.rows["method"])
    resumed = wsol_bench.run(content, out=tmp_path / "run")
    assert resumed.n_before == 3
    pd.testing.assert_frame_equal(resumed.summary, results.summary)


def test_a_validated_configuration_passes_as_it_is(world, monkeypatch):
    monkeypatch.setenv("ROOT_OF_TESTS", "${ROOT_OF_TESTS}")
    config = load_config(
        {**experiment(world, clip=math.inf), "dataset": {"name": "cub", "root": "${ROOT_OF_TESTS}"}}
    )
    assert config.dataset.options == {"root": "${ROOT_OF_TESTS}"}  # a variable is replaced once
    assert load_config(config) == config
    assert load_config(load_config(config)).model_dump() == config.model_dump()


@pytest.mark.parametrize(
    "config",
    [
        MethodConfig(name="m", clip=math.inf, low=-math.inf, near=(1, 2), path=Path("a")),
        DatasetConfig(name="d", sizes={"a": [math.inf, None, True, 2**63]}),
        ProtocolConfig(name="p", box={"threshold": 0.1}),
        ModelConfig(name="m", arguments={"a": math.inf}, classes=Path("c"), mean=(1, 2, 3)),
    ],
    ids=["method", "data set", "protocol", "model"],
)
def test_the_json_of_a_configuration_is_read_back_as_it_was(config):
    dumped = config.model_dump(mode="json")
    assert type(config).model_validate(dumped) == config
    assert type(config).model_validate(json.loads(config.model_dump_json())) == config
    assert type(config).model_validate(yaml.safe_load(yaml.safe_dump(dumped))) == config
    assert json.loads(json.dumps(dumped)) == dumped


def test_a_manifest_with_an_infinite_option_is_read_back_as_it_was(world, tmp_path):
    results = wsol_bench.run(experiment(world, clip=math.inf), out=tmp_path / "run")
    manifest = read_manifest(tmp_path / "run")
    assert manifest.identity == results.folder.identity
    assert manifest.identity.changed(results.folder.identity) == []
    assert manifest.identity.config["methods"] == [
        {
            "name": "clipping:clipped",
            "label": None,
            "classes": None,
            "sanity": None,
            "seeds": None,
            "clip": math.inf,
        }
    ]


def test_nan_is_refused_since_it_would_make_each_run_another(world):
    with pytest.raises(
        ConfigError, match=r"config: 'methods\.0\.clip': expected a number, found NaN"
    ):
        load_config(experiment(world, clip=math.nan))
    with pytest.raises(ConfigError, match="found NaN"):
        load_config(experiment(world), ["methods.0.clip=.nan"])
    with pytest.raises(ValidationError, match="found NaN"):
        MethodConfig(name="m", clip=math.nan)


def test_nan_in_a_record_is_no_difference():
    assert differences({"a": math.nan, "b": 1}, {"a": math.nan, "b": 2}) == ["b: 1 -> 2"]
    assert differences({"a": math.nan}, {"a": 1.0}) == ["a: nan -> 1.0"]
    assert differences({"a": math.inf}, {"a": math.inf}) == []
    assert differences({"a": math.inf}, {"a": None}) == ["a: inf -> None"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": 0}, "'limit': expected at least 1, found 0"),
        ({"device": 3}, "'device': expected a text, found 3"),
        ({"strict": "perhaps"}, "'strict': expected true or false, found 'perhaps'"),
        ({"limits": 3}, "unknown key 'limits'; did you mean 'limit'"),
    ],
)
def test_a_change_by_a_flag_is_validated_as_the_file_is(world, changes, message):
    with pytest.raises(ConfigError, match=message):
        load_config(experiment(world), [], changes)
    with pytest.raises(ConfigError, match=message):
        load_config(load_config(experiment(world)), [], changes)


def test_a_copy_with_a_wrong_value_is_refused(world):
    wrong = load_config(experiment(world)).model_copy(update={"limit": 0, "device": 3})
    with pytest.raises(ConfigError, match="'limit': expected at least 1"):
        wsol_bench.run(wrong)


def test_ten_hundred_seeds_are_the_most_and_more_are_refused_at_once(world):
    method = {"name": "random_map", "seeds": 100_000}
    with pytest.raises(ConfigError, match=r"'methods\.0\.seeds': expected at most 1000"):
        load_config(without_model(world / "root", method))


@pytest.mark.parametrize("protocol", ["choe-2020-v1", "choe-2020-pxap"])
def test_a_step_of_a_billionth_is_refused_at_once(world, protocol):
    section = (
        {"pixels": {"step": 1e-9}} if "px" in protocol else {"box": {"threshold": {"step": 1e-9}}}
    )
    content = without_model(world / "root", "center_box", protocol={"name": protocol, **section})
    with pytest.raises(ConfigError, match="step': expected at least 1e-05, found 1e-09"):
        load_config(content)


@pytest.mark.parametrize("command", ["run", "rescore", "merge", "export", "demo", "score-maps"])
def test_a_folder_of_results_whose_name_is_no_utf8_is_refused_before_the_work(tmp_path, command):
    odd = b"odd\xff".decode(errors="surrogateescape")
    rest = {"demo": [], "export": ["run", "--format", "kaggle"]}.get(command, ["nothing"])
    _, told = cli(command, *rest, "--out", odd, cwd=tmp_path, code=1)
    assert told.startswith("Error: 'odd\\udcff': expected a path whose name is valid UTF-8")
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_is_exact_as_json_too(world):
    config = load_config(experiment(world, clip=math.inf))
    assert ExperimentConfig.model_validate(config.model_dump(mode="json")) == config
