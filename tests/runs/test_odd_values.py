"""Whatever is given for a key of an experiment, the answer is a configuration or a clear error.

The slow tests try many more values than the others.
"""

import contextlib
import inspect
from pathlib import Path

import pytest
import yaml
from command_line import cli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_values import ODD_KEYS, ODD_TEXTS, ODD_VALUES, answer_or_harmless_error

from wsol_bench.common.catalog import METHODS, METRICS, NETWORK_FREE
from wsol_bench.datasets import datasets
from wsol_bench.errors import ConfigError
from wsol_bench.methods.base import cam_methods
from wsol_bench.methods.network_free import network_free_methods
from wsol_bench.metrics.base import metrics
from wsol_bench.protocols.load import load_protocol, protocol_names
from wsol_bench.runs import experiment_config
from wsol_bench.runs.experiment_config import (
    DatasetConfig,
    ExperimentConfig,
    MethodConfig,
    MetricConfig,
    ModelConfig,
    ProtocolConfig,
    load_dataset,
)
from wsol_bench.runs.methods import build_methods
from wsol_bench.runs.metrics import build_metrics

# Users have no type checker at run time.
load_config = inspect.unwrap(experiment_config.load_config)

BASE = {
    "name": "odd",
    "dataset": "shapes",
    "models": ["shapes_net"],
    "methods": ["cam", "center_box"],
    "protocol": "gradcam-2017",
}


@pytest.fixture(scope="module", autouse=True)
def empty_folder(tmp_path_factory):
    """The working folder: nothing that a value may name is there."""
    with contextlib.chdir(tmp_path_factory.mktemp("odd")):
        yield


def options_of(function):
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]


def resolve(content, overrides=()):
    """All of an experiment that is known without reading data."""
    config = load_config(content, overrides)
    protocol = config.build_protocol()
    build_methods(config)
    build_metrics(config.metrics, protocol, faithfulness=config.faithfulness is not None)
    return config


# A key, and the experiment in which the key has a value.
KEYS = {key: lambda value, key=key: {**BASE, key: value} for key in ExperimentConfig.model_fields}
for key in ModelConfig.model_fields:
    KEYS[f"models.0.{key}"] = lambda value, key=key: {
        **BASE, "models": [{"name": "shapes_net", key: value}]
    }  # fmt: skip
for part, model in {
    "dataset": DatasetConfig,
    "protocol": ProtocolConfig,
}.items():
    for key in model.model_fields:
        KEYS[f"{part}.{key}"] = lambda value, part=part, key=key: {**BASE, part: {key: value}}
for key in MethodConfig.model_fields:
    KEYS[f"methods.0.{key}"] = lambda value, key=key: {
        **BASE, "methods": [{"name": "random_map", key: value}]
    }  # fmt: skip
for key in MetricConfig.model_fields:
    KEYS[f"metrics.0.{key}"] = lambda value, key=key: {**BASE, "metrics": [{key: value}]}
for name in [*METHODS, *NETWORK_FREE]:
    method = network_free_methods.get(name) if name in NETWORK_FREE else cam_methods.get(name)
    for key in options_of(getattr(method, "opener", None) or method.function):
        KEYS[f"{name}.{key}"] = lambda value, name=name, key=key: {
            **BASE, "methods": [{"name": name, key: value}]
        }  # fmt: skip
for name in METRICS:
    for key in options_of(metrics.get(name).function):
        KEYS[f"{name}.{key}"] = lambda value, name=name, key=key: {
            **BASE, "metrics": [{"name": name, key: value}]
        }  # fmt: skip
OPTIONS = [(name, key) for name in datasets for key in options_of(datasets.get(name).load)]
FIELDS = [
    (protocol, section, key)
    for protocol in protocol_names()
    for section, content in load_protocol(protocol).model_dump().items()
    for key in [*(content if isinstance(content, dict) else ()), None]
]


def try_key(key, value):
    answer_or_harmless_error(lambda: resolve(KEYS[key](value)))


def try_dataset_option(place, value):
    name, option = place
    needed = {"root": "nothing", "path": "nothing.csv", "metadata": "nothing"}
    takes = options_of(datasets.get(name).load)
    content = {"name": name, **{key: path for key, path in needed.items() if key in takes}}
    if name == "shapes" and isinstance(value, int | float | str):
        return  # another data set would be drawn
    answer_or_harmless_error(lambda: load_dataset({**content, option: value}))


def try_protocol_field(field, value):
    name, section, key = field
    changes = {section: value if key is None else {key: value}}
    answer_or_harmless_error(lambda: load_protocol(name, changes))


def try_experiment(content, overrides):
    answer_or_harmless_error(lambda: resolve(content, overrides))


def try_text(text):
    def read():
        Path("odd.yaml").write_text(text, encoding="utf-8", errors="replace")
        resolve("odd.yaml")

    answer_or_harmless_error(read)


OVERRIDES = st.builds(
    "{}={}".format,
    st.one_of(
        ODD_TEXTS,
        st.sampled_from([*KEYS]),
        st.sampled_from(
            ["methods.0", "methods.9.x", "models.0.layers.0", "protocol.box.threshold.x"]
        ),
    ),
    st.one_of(ODD_TEXTS, st.sampled_from(["[", "{a: 1}", ".nan", "&a [*a]", "0x" + "f" * 9000])),
)
EXPERIMENTS = st.one_of(
    st.just(BASE),
    st.dictionaries(ODD_KEYS | st.sampled_from([*ExperimentConfig.model_fields]), ODD_VALUES),
    ODD_VALUES.filter(lambda value: isinstance(value, dict)),
)
YAML_TEXTS = st.one_of(
    st.text(),
    st.text("abc:-[]{}&*!|>'\"%@`#,?\n \t0123.", max_size=40),
    st.tuples(st.sampled_from([*KEYS]), ODD_VALUES).map(
        lambda pair: yaml.dump(KEYS[pair[0]](pair[1]))
    ),
)

ATTEMPTS = {
    "a key": (try_key, st.sampled_from([*KEYS]), ODD_VALUES),
    "an option of a data set": (try_dataset_option, st.sampled_from(OPTIONS), ODD_VALUES),
    "a field of a protocol": (try_protocol_field, st.sampled_from(FIELDS), ODD_VALUES),
    "an experiment with overrides": (try_experiment, EXPERIMENTS, st.lists(OVERRIDES, max_size=2)),
    "a file": (try_text, YAML_TEXTS),
}


@pytest.mark.parametrize("n", [100, pytest.param(1500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ATTEMPTS)
def test_the_answer_is_a_configuration_or_a_clear_error(what, n):
    attempt, *strategies = ATTEMPTS[what]

    @settings(max_examples=n, suppress_health_check=list(HealthCheck))
    @given(st.tuples(*strategies))
    def try_all(values):
        attempt(*values)

    try_all()


@pytest.mark.parametrize("n", [10, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_command_line_has_an_exit_code_and_no_traceback(n):
    """A wrong experiment is exit code 1; a wrong option of the command itself is 2."""

    @settings(max_examples=n, suppress_health_check=list(HealthCheck))
    @given(YAML_TEXTS, st.lists(OVERRIDES, max_size=2), st.sampled_from(["run", "doctor"]))
    def try_all(text, overrides, command):
        text = f"{text}\nnothing_has_this_key: 1\n"
        Path("odd.yaml").write_text(text, encoding="utf-8", errors="replace")
        settings_of = [word for one in overrides for word in ("--set", one)]
        out, told = cli(command, "odd.yaml", *settings_of, "--quiet", code=1)
        assert out == ""
        assert told.startswith("Error: ")
        assert "Traceback" not in told
        assert told.replace("\n", "").isprintable()

    try_all()


NUMBERS = {
    "limit": {"limit": True},
    "max_failed": {"max_failed": True},
    "part_size": {"part_size": False},
    "models.0.mean": {"models": [{"name": "shapes_net", "mean": [True, 0, 0]}]},
    "methods.0.seeds": {"methods": [{"name": "random_map", "seeds": True}]},
    "methods.random_map.seed": {"methods": [{"name": "random_map", "seed": True}]},
    "box.threshold": {"protocol": {"name": "gradcam-2017", "box": {"threshold": True}}},
    "box.threshold.step": {
        "protocol": {"name": "choe-2020-v2", "box": {"threshold": {"step": True}}}
    },
    "scoring.iou": {"protocol": {"name": "choe-2020-v2", "scoring": {"iou": [0.5, True]}}},
}


@pytest.mark.parametrize("key", NUMBERS)
def test_true_is_no_number(key):
    """Python takes it for 1: with ``limit: true`` a run would be of one image."""
    with pytest.raises(ConfigError, match=rf"{key}'?:? expected (a number|numbers), found "):
        resolve({**BASE, **NUMBERS[key]})


def test_a_flag_may_be_true_and_a_number_may_be_text():
    """YAML reads 1e-3 as text."""
    threshold = {"step": "1e-3"}
    config = resolve(
        {
            **BASE,
            "strict": True,
            "protocol": {"name": "choe-2020-v2", "box": {"threshold": threshold}},
        }
    )
    assert config.strict
    assert config.build_protocol().box.threshold.step == 0.001


def test_a_long_override_is_shown_in_short():
    with pytest.raises(ConfigError, match="nested levels") as error:
        load_config(BASE, ["methods=" + "[" * 5000])
    assert len(str(error.value)) < 400
