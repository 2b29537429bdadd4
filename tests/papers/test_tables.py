"""The tables of papers: each is an experiment, and each of its numbers has a source."""

import re
from decimal import Decimal

import pytest
from command_line import cli

from wsol_bench.errors import ConfigError
from wsol_bench.papers.published import Published
from wsol_bench.papers.shelf import table_file, table_names, table_purpose
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.runs.published import require_numbers
from wsol_bench.scoring.kinds import scoring_of

NAMES = table_names()


def experiment(name):
    return load_config(table_file(name), variables={"DATA": "data", "WEIGHTS": "weights"})


@pytest.mark.parametrize("name", NAMES)
class TestEveryTable:
    def test_bears_the_name_of_its_file(self, name):
        assert experiment(name).name == name

    def test_has_a_header_with_purpose_command_runtime_and_expectation(self, name):
        header = table_file(name).read_text().partition("\nname:")[0]
        for word in ("Purpose", "Command", "Expected runtime", "Expected"):
            assert f"# {word}" in header
        assert f"wsol-bench reproduce {name} " in header
        assert table_purpose(name)

    def test_has_numbers_of_its_protocol_in_their_ranges(self, name):
        config = experiment(name)
        protocol = config.build_protocol()
        metrics = build_metrics(config.metrics, protocol, faithfulness=False)
        require_numbers(config.published, scoring_of(protocol, metrics))

    def test_has_a_source_and_a_status_for_every_number(self, name):
        numbers = list(experiment(name).published.numbers)
        assert numbers
        for number in numbers:
            assert re.search(r"arXiv:\d{4}\.\d{5}|Nagy|CVPR|list of published", number.source)
            assert number.status in ("read", "quoted", "memory")

    def test_gives_each_row_or_says_what_it_needs(self, name):
        config = experiment(name)
        models = {NO_MODEL, *(model.shown_name for model in config.models)}
        methods = {method.label or method.name for method in config.methods}
        for row in config.published.rows:
            given = row.model in models and row.method in methods
            assert given != bool(row.needs), row

    def test_runs_no_network_without_a_row_and_knows_where_weights_are(self, name):
        config = experiment(name)
        published = config.published
        for model in config.models:
            if name != "cam_2016_table_3":  # whose rows are those of the test set
                assert published.methods_of(model.shown_name)
            is_file = model.weights.startswith("weights/")
            assert bool(published.weights_of(model.shown_name)) == is_file or not is_file

    def test_lists_no_weights_of_other_networks(self, name):
        config = experiment(name)
        if isinstance(config.published.weights, dict):
            assert {*config.published.weights} <= {model.shown_name for model in config.models}


def test_numbers_are_the_printed_ones_to_the_last_bit():
    published = Published.model_validate(
        {
            "source": "a paper",
            "unit": "percent",
            "rows": [{"model": "m", "method": "cam", "numbers": {"top1_loc_error": 56.51}}],
        }
    )
    [number] = published.numbers
    assert number.value == 0.5651 == float(Decimal("0.5651"))


def test_a_number_of_memory_says_so():
    memory = {
        (number.model, number.method)
        for number in experiment("grad_cam_2017").published.numbers
        if number.status == "memory"
    }
    assert memory == {("VGG-16", "c_mwp"), ("AlexNet", "c_mwp")}


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown table 'grad_cam'; .*grad_cam_2017"):
        table_file("grad_cam")


def test_they_are_listed():
    out, _ = cli("list", "papers")
    assert [line.split()[0] for line in out.splitlines() if line[:1].strip()] == NAMES


class TestWithoutData:
    def test_a_table_is_printed_with_what_it_needs(self):
        out, err = cli("reproduce", "grad_cam_2017")
        assert re.search(r"grad_cam +top-1 loc error +56.51", out)
        assert "memory" in out
        assert "VGGnet-GAP: weights/vgg16CAM_train_iter_90000.caffemodel. Source: Caffe" in out
        assert "VGG-16: torchvision's IMAGENET1K_V1" in out
        assert "wsol-bench reproduce grad_cam_2017 --data FOLDER" in err
