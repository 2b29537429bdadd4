"""Open choices of a protocol on maps whose boxes are known by hand."""

import numpy as np
import pandas as pd
import pytest
import yaml
from colors import color_experiment, write_colors
from command_line import cli

import wsol_bench
from wsol_bench.errors import ConfigError
from wsol_bench.protocols.load import load_protocol, protocol_names
from wsol_bench.protocols.open_choices import open_choices
from wsol_bench.report.sensitivity import _cell, sensitivity, sensitivity_table
from wsol_bench.report.written_tables import text_table
from wsol_bench.runs.run import run as run_experiment
from wsol_bench.runs.stored_run import StoredRun

SIDE = 8


def write_world(folder):
    """Two images with maps of their own size, so that nothing is interpolated.

    The object of both is the left half. In the map of the first it has the value 0.5 but for one
    pixel of 1, so that the level at half of the maximum is hit or missed by the comparison. The map
    of the second has two blocks that touch at a corner alone, of 16 and 20 pixels; the object is
    the box of both.
    """
    first = np.zeros((SIDE, SIDE), np.float32)
    first[:, :4] = 0.5
    first[3, 1] = 1
    second = np.zeros((SIDE, SIDE), np.float32)
    second[:4, :4] = 1
    second[4:, 4:8] = 1
    maps = folder / "maps"
    maps.mkdir()
    np.save(maps / "first.npy", first)
    np.save(maps / "second.npy", second)
    lines = [
        {"image": f"{name}.jpg", "image_id": name, "label": "a", "width": SIDE, "height": SIDE,
         "x0": 0.0, "y0": 0.0, "x1": x1, "y1": 8.0}
        for name, x1 in (("first", 4.0), ("second", 8.0))
    ]  # fmt: skip
    table = folder / "truth.parquet"
    pd.DataFrame(lines).to_parquet(table)
    protocol = folder / "mine.yaml"
    protocol.write_text(
        "name: mine\n"
        f"input: {{size: {SIDE}, geometry: squash, filter: bilinear, antialias: true}}\n"
        "map: {rectify: never, upsample: bilinear, align_corners: false}\n"
        "box: {threshold: 0.5, of: maximum, measured_on: upsampled, comparison: at_least,\n"
        "      connectivity: 8, extractor: components, component: largest}\n"
        "scoring: {iou: 0.5, frame: original}\n"
        "open:\n"
        "  {box.comparison: [above, at_least], box.connectivity: [4], input.filter: [bicubic]}\n"
    )
    return {
        "name": "world",
        "dataset": {"name": "table", "path": str(table), "convention": "half_open"},
        "methods": [{"name": "maps_from", "path": str(maps), "label": "known"}],
        "protocol": str(protocol),
        "metrics": [],
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return wsol_bench.run(write_world(folder), out=folder / "run").folder


def gt_known(measured):
    lines = measured.numbers[measured.numbers["number"] == "gt_known_loc_error"]
    return lines.set_index("choice")[["value", "varied", "difference", "n"]].T.to_dict("list")


class TestSensitivity:
    def test_is_the_number_with_each_other_value(self, run):
        """At 0.5: > leaves the first object one pixel; 4 neighbors halve the second object."""
        assert gt_known(sensitivity(run)) == {
            "box.comparison=above": [0.0, 0.5, 0.5, 2],
            "box.connectivity=4": [0.0, 0.5, 0.5, 2],
        }

    def test_names_the_choices_that_need_new_maps(self, run):
        measured = sensitivity(run)
        assert measured.left_out == ("input.filter=bicubic",)
        [note] = [note for note in sensitivity_table([measured]).notes if "new maps" in note]
        assert "input.filter=bicubic" in note

    def test_leaves_nothing_behind(self, run):
        before = sorted(path for path in run.path.rglob("*"))
        sensitivity(run)
        assert sorted(path for path in run.path.rglob("*")) == before

    def test_has_an_interval_that_holds_the_difference(self, run):
        numbers = sensitivity(run).numbers
        assert (numbers["low"] <= numbers["difference"]).all()
        assert (numbers["difference"] <= numbers["high"]).all()

    def test_table_has_a_line_a_choice_and_a_column_a_method(self, run):
        table = text_table(sensitivity_table([sensitivity(run)]))
        assert list(table) == ["model", "choice", "known"]
        assert table["choice"].tolist() == [
            "box.comparison=above (not at_least)", "box.connectivity=4 (not 8)",
        ]  # fmt: skip
        assert table["known"].tolist() == ["+50.00", "+50.00"]


def test_a_table_of_several_runs_keeps_them_apart(run, tmp_path):
    """At 0.9 nothing of the first object but its pixel is left, so > or >= makes no difference."""
    content = write_world(tmp_path)
    content["protocol"] = {"name": content["protocol"], "box": {"threshold": 0.9}}
    other = wsol_bench.run(content, out=tmp_path / "run").folder
    table = text_table(sensitivity_table([sensitivity(run), sensitivity(other)]))
    assert table[["model", "choice", "known"]].to_numpy().tolist() == [
        ["no model, mine", "box.comparison=above (not at_least)", "+50.00"],
        ["no model, mine", "box.connectivity=4 (not 8)", "+50.00"],
        ["no model, mine+box.threshold=0.9", "box.comparison=above (not at_least)", "+0.00"],
        ["no model, mine+box.threshold=0.9", "box.connectivity=4 (not 8)", "+50.00"],
    ]  # fmt: skip


def test_a_table_of_runs_with_different_main_numbers_has_all_of_them(tmp_path):
    root = write_colors(tmp_path / "colors")
    measured = []
    for protocol in ("gradcam-2017", "wsol-2018-squash"):
        content = color_experiment(root, methods=["cam"], workers=0, protocol=protocol)
        measured.append(sensitivity(wsol_bench.run(content, out=tmp_path / protocol).folder))
    table = sensitivity_table(measured)
    assert {group.heading for group in table.groups} == {
        "color_net, gradcam-2017", "color_net, wsol-2018-squash",
    }  # fmt: skip
    assert "top-1 loc error or MaxBoxAcc (GT-known)" in table.notes[0]


def test_a_table_of_a_method_at_several_layers_has_a_column_for_each(tmp_path):
    root = write_colors(tmp_path / "colors")
    content = color_experiment(root, methods=["grad_cam"], workers=0)
    [model] = content["models"]
    del model["layer"], model["head"]
    run = wsol_bench.run(
        {**content, "models": [{**model, "layers": ["cells", "pool"]}]}, out=tmp_path / "run"
    ).folder
    table = text_table(sensitivity_table([sensitivity(run)]))
    assert list(table) == ["model", "choice", "grad_cam, cells", "grad_cam, pool"]


def test_a_protocol_file_that_was_changed_since_the_run_is_refused(tmp_path):
    run = wsol_bench.run(write_world(tmp_path), out=tmp_path / "run").folder
    file = tmp_path / "mine.yaml"
    file.write_text(file.read_text().replace("threshold: 0.5", "threshold: 0.9"))
    with pytest.raises(ConfigError, match="was changed since the run"):
        sensitivity(run)


def test_new_maps_are_those_of_a_run_with_the_choice(tmp_path):
    root = write_colors(tmp_path / "colors")
    content = color_experiment(root, methods=["cam"], workers=0)
    run = wsol_bench.run(content, out=tmp_path / "run").folder
    measured = sensitivity(run, new_maps=True)
    assert measured.left_out == ()
    choice = "input.geometry=center_crop,resize_to=256"
    protocol = {**content["protocol"], "input": {"geometry": "center_crop", "resize_to": 256}}
    direct = run_experiment({**content, "protocol": protocol}, out=tmp_path / "direct").summary
    lines = measured.numbers.set_index(["choice", "number"])["varied"]
    for number in ("top1_loc_error", "gt_known_loc_error"):
        assert lines[choice, number] == direct[number].iloc[0]
    again = sorted((run.path / "varied").iterdir())
    assert len(again) == 3
    assert StoredRun(again[0]).manifest.finished


class TestOpenChoices:
    @pytest.mark.parametrize("name", protocol_names())
    def test_of_every_built_in_protocol_are_other_protocols(self, name):
        choices = open_choices(name, {})
        assert choices
        hashes = {load_protocol(name).hash, *(choice.protocol.hash for choice in choices)}
        assert len(hashes) == len(choices) + 1
        assert all(choice.protocol.name.startswith(f"{name}+") for choice in choices)

    def test_are_not_in_the_hash(self):
        assert load_protocol("gradcam-2017").hash == "19c340b6ff8f"

    def test_that_an_experiment_has_made_are_left_out(self):
        choices = open_choices("gradcam-2017", {"box": {"connectivity": 4}})
        changed = [choice.changed for choice in choices]
        assert "box.connectivity=4" not in changed
        assert "box.comparison=above" in changed

    @pytest.mark.parametrize(
        "listed, told",
        [
            ("{box.comparison: [over]}", "open.box.comparison: .*'box.comparison'"),
            ("{box.comparison: above}", "open.box.comparison: expected a list"),
            ("[above]", "open: expected fields with lists"),
        ],
    )
    def test_that_are_wrong_are_an_error(self, listed, told, tmp_path):
        write_world(tmp_path)
        file = tmp_path / "mine.yaml"
        file.write_text(f"{file.read_text().partition('open:')[0]}open: {listed}\n")
        with pytest.raises(ConfigError, match=told):
            open_choices(str(file), {})


class TestCommand:
    def test_prints_and_writes(self, run):
        out, _ = cli("sensitivity", run.path)
        assert "box.connectivity=4 (not 8)" in out
        assert (run.path / "tables/sensitivity.csv").is_file()

    def test_says_if_nothing_is_open(self, tmp_path):
        content = write_world(tmp_path)
        file = tmp_path / "mine.yaml"
        file.write_text(file.read_text().partition("open:")[0])
        path = wsol_bench.run(content, out=tmp_path / "run").folder.path
        _, err = cli("sensitivity", path, "--quiet", code=1)
        assert "lists no other values under 'open'" in err

    def test_says_so_before_anything_is_run(self, tmp_path):
        experiment = tmp_path / "mine_too.yaml"
        experiment.write_text(yaml.safe_dump(write_world(tmp_path)))
        protocol = tmp_path / "mine.yaml"
        protocol.write_text(protocol.read_text().partition("open:")[0])
        out = tmp_path / "out"
        _, err = cli("reproduce", experiment, "--out", out, "--vary", "--quiet", code=1)
        assert "lists no other values under 'open'" in err
        assert not out.exists()


@pytest.mark.parametrize(
    "difference, low, high, shown",
    [
        (0.02, 0.01, 0.03, "+2.00*"),
        (-0.02, -0.03, -0.01, "-2.00*"),
        (0.02, -0.01, 0.05, "+2.00"),
        (0.0, 3e-5, 3e-5, "+0.00"),  # the interval is without the bias of two maxima
    ],
)
def test_a_star_marks_a_difference_whose_interval_does_not_hold_zero(difference, low, high, shown):
    assert _cell(difference, low, high) == shown
