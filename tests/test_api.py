"""The functions of a notebook: objects in experiments, and what results can do."""

import io
import re
import shutil
import threading

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from command_line import cli
from PIL import Image

import wsol_bench
from wsol_bench import Plan, cam_method
from wsol_bench.calls import in_python, path_of, seed_of
from wsol_bench.errors import ConfigError, ModelError, RunError
from wsol_bench.models.build import build
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.given import given
from wsol_bench.runs.engines.ray import RayEngine


def columns_of(html):
    """The columns of the first table of a page, by title."""
    titles = re.findall(r"<th>(.*?)</th>", html)
    cells = re.findall(r"<td>(.*?)</td>", html.partition("</table>")[0])
    return {title: cells[place :: len(titles)] for place, title in enumerate(titles)}


def experiment(**changes):
    """A small experiment on the embedded data set."""
    return {
        "name": "notebook", "dataset": "shapes", "models": ["shapes_net"], "methods": ["grad_cam"],
        "protocol": "gradcam-2017", "workers": 0, "device": "cpu", "part_size": 4, **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def my_cam():
    """A map method of a notebook: CAM's gradients, rectified, to a power."""

    @cam_method("notebook_cam", plan=Plan(gradients=True))
    def notebook_cam(record, *, power: float = 1.0):
        alpha = record.gradients.relu().pow(power).mean(dim=(-2, -1))
        return torch.einsum("bkc,bchw->bkhw", alpha, record.activations).relu()

    return notebook_cam


@pytest.fixture(scope="module")
def results(my_cam):
    """A run of two methods on eight images."""
    methods = ["grad_cam", {"name": my_cam, "power": 2.0}]
    return wsol_bench.run(experiment(methods=methods), limit=8)


class TestObjects:
    def test_a_network_gives_what_its_name_gives(self):
        network = load_classifier("shapes_net").module.train()
        model = {"name": network, "layer": "features"}
        given = wsol_bench.run(experiment(models=[model]), limit=4)
        named = wsol_bench.run(experiment(), limit=4)
        assert given.rows["model"].unique().tolist() == ["ShapesNet"]
        pd.testing.assert_frame_equal(
            given.rows.drop(columns="model"), named.rows.drop(columns="model"), check_exact=True
        )
        assert network.training  # the run has a copy of its own

    def test_a_method_is_named_with_its_options(self, results):
        assert results.summary["method"].tolist() == ["grad_cam", "notebook_cam+power=2.0"]

    def test_a_run_of_objects_is_continued_by_the_same_objects_only(self, tmp_path):
        network = load_classifier("shapes_net").module
        content = experiment(models=[{"name": network, "label": "mine"}])
        wsol_bench.run(content, limit=4, out=tmp_path / "run")
        again = wsol_bench.run(content, limit=4, out=tmp_path / "run")
        assert again.n_before == 1
        with torch.no_grad():
            next(network.parameters()).add_(0.5)
        with pytest.raises(RunError, match=r"models\.mine\.weights"):
            wsol_bench.run(content, limit=4, out=tmp_path / "run")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"models": [3]}, r"models\.0: expected the name of a model, .* found int"),
            ({"models": [None]}, r"models\.0: expected the name of a model, .* found NoneType"),
            ({"models": torch.nn.ReLU()}, r"models: expected a list of models, found ReLU\(\)"),
            ({"methods": len}, r"methods: expected a list of methods, found .*; put it into"),
            ({"methods": [lambda record: record]}, r"methods\.0: .* is not registered: is @cam_me"),
            ({"metrics": [len]}, r"metrics\.0: expected the name of a metric"),
        ],
    )
    def test_other_objects_are_refused(self, changes, message):
        with pytest.raises(ConfigError, match=message):
            wsol_bench.run(experiment(**changes), limit=1)

    def test_a_network_has_its_weights(self):
        model = {"name": torch.nn.Linear(1, 1), "weights": "DEFAULT"}
        with pytest.raises(ConfigError, match="expected no 'weights', found 'DEFAULT'"):
            wsol_bench.run(experiment(models=[model]))

    def test_workers_cannot_be_given_a_network(self):
        with pytest.raises(ConfigError, match="my_module:builder, found Linear"):
            wsol_bench.run(experiment(models=[torch.nn.Linear(1, 1)]), engine=RayEngine())

    def test_another_run_does_not_find_it(self):
        given = {"name": "wsol_bench.models.given:network_0", "label": "mine"}
        wsol_bench.run(experiment(models=[load_classifier("shapes_net").module]), limit=1)
        with pytest.raises(ModelError, match="has no 'network_0'"):
            wsol_bench.run(experiment(models=[given]), limit=1)

    def test_each_thread_has_its_own(self):
        """Both networks have one class, and both are found while the other run goes on."""
        networks = [load_classifier("shapes_net").module for _ in range(2)]
        with torch.no_grad():
            next(networks[1].parameters()).add_(0.5)
        together, sums = threading.Barrier(2), {}

        def give(place):
            with given({"network_0": networks[place]}):
                together.wait(20)
                built = build("wsol_bench.models.given:network_0", None, {})
                sums[place] = next(built.parameters()).sum().item()
                together.wait(20)

        threads = [threading.Thread(target=give, args=[place]) for place in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for place, network in enumerate(networks):
            assert sums[place] == next(network.parameters()).sum().item()
        assert sums[0] != sums[1]


class TestErrors:
    def test_of_values_that_are_no_paths_name_the_parameter(self):
        with pytest.raises(ConfigError, match="config: expected a path, found int"):
            path_of("config", 3)
        with pytest.raises(ConfigError, match=r"shard: expected i/n .* found '5/2'"):
            wsol_bench.run(experiment(), shard="5/2")

    @pytest.mark.parametrize(
        ("spoken", "in_words"),
        [
            ("--number: expected a number", "number: expected a number"),
            ("7 of 9 are shown; --methods A,B chooses", "7 of 9 are shown; methods=... chooses"),
            ("or export with --format kaggle", "or export with format='kaggle'"),
            ("is it full (--actors takes fewer)?", "is it full (n_actors=... takes fewer)?"),
            ("fewer processes: --set workers=1", "fewer processes: workers=1"),
        ],
    )
    def test_name_no_option(self, spoken, in_words):
        assert in_python(spoken) == in_words

    def test_leave_paths_and_whole_commands_alone(self):
        text = "/data/vgg16--out/run (--out) is not --force, or --limit 5\nwsol-bench run --out x"
        assert in_python(text) == (
            "/data/vgg16--out/run (out=...) is not force=True, or limit=5\nwsol-bench run --out x"
        )

    def test_speak_of_parameters(self, tmp_path):
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(RunError, match=r"choose another folder with out=\.\.\.$"):
            wsol_bench.run(experiment(), out=tmp_path)

    def test_name_the_flag_that_deletes(self, tmp_path):
        wsol_bench.run(experiment(), limit=4, out=tmp_path / "run")
        changed = experiment(protocol="zhou-2016")
        with pytest.raises(RunError, match=r"delete that run with force=True"):
            wsol_bench.run(changed, limit=4, out=tmp_path / "run")


class TestResults:
    def test_a_run_is_opened_as_it_was(self, results):
        opened = wsol_bench.open_run(results.path)
        pd.testing.assert_frame_equal(opened.summary, results.summary)
        pd.testing.assert_frame_equal(opened.rows, results.rows)

    def test_a_run_that_is_not_finished_is_not_opened(self, tmp_path):
        with pytest.raises(RunError, match="is no run folder"):
            wsol_bench.open_run(tmp_path)

    def test_limit_and_device_are_those_of_the_call(self, results):
        config = yaml.safe_load((results.path / "config.yaml").read_text())
        assert (config["limit"], config["device"]) == (8, "cpu")
        assert len(results.images) == 8

    def test_an_analysis_shows_the_best_method_first(self, results):
        analysis = results.analyze(against="notebook_cam+power=2.0")
        assert set(analysis["comparisons"]["method"]) == {"grad_cam"}
        shown = columns_of(analysis._repr_html_())["top-1 loc error"]
        errors = [float(text.rstrip("* ")) for text in shown]
        assert errors == sorted(errors)
        assert len(errors) == 2

    def test_what_a_notebook_shows_is_the_summary_as_text(self, results):
        html = results._repr_html_()
        assert columns_of(html)["method"] == results.summary["method"].tolist()
        assert "gradcam-2017" in html
        assert str(results.path) in html

    def test_the_labels_of_others_are_text_in_a_notebook(self):
        hostile = {"name": "grad_cam", "label": "<script>alert(1)</script>"}
        shown = wsol_bench.run(experiment(methods=[hostile]), limit=4)
        for html in (shown._repr_html_(), shown.analyze()._repr_html_()):
            assert "<script>" not in html
            assert "&lt;script&gt;" in html

    def test_runs_are_compared(self, results):
        same = results.compare(wsol_bench.open_run(results.path))
        assert not same.numbers["differs"].any()
        assert "equal numbers" in same._repr_html_()
        moved = results.compare(results.rescore(changes=["protocol.box.threshold=0.5"]))
        assert moved.numbers["differs"].any()
        assert "protocol.box.threshold: 0.15 in A, 0.5 in B" in moved._repr_html_()

    def test_a_rescored_run_outlives_the_results_it_came_from(self):
        first = wsol_bench.run(experiment(), limit=4)
        folder = first.path
        second = first.rescore("zhou-2016")
        del first
        assert second.path.is_relative_to(folder)
        assert len(second.rows)
        del second
        assert not folder.exists()

    def test_the_page_is_written(self, results, tmp_path):
        folder = shutil.copytree(results.path, tmp_path / "run")
        assert wsol_bench.open_run(folder).report(images=2) == folder / "report.html"
        assert (folder / "report.html").stat().st_size > 1e5

    def test_an_image_is_shown_in_a_notebook_without_pyplot(self, results):
        figure = results.show(results.images["image_id"][0], methods=["grad_cam"])
        content, shown = figure._repr_png_()
        picture = Image.open(io.BytesIO(content))
        assert picture.format == "PNG"
        assert shown["width"] == pytest.approx(picture.width * 100 / 150, abs=1)
        assert np.asarray(picture.convert("L")).std() > 20
        with pytest.raises(
            ConfigError, match=r"ids: expected ids of images of the runs, found '3'"
        ):
            results.show("3")

    def test_a_table_is_that_of_the_command(self, results):
        arguments = ["--format", "latex", "--intervals", "--numbers", "gt_known_loc_error", "-q"]
        out, _ = cli("table", results.path, *arguments)
        assert results.table("latex", numbers="gt_known_loc_error", intervals=True) == out
        with pytest.raises(ConfigError, match="numbers: expected a number of the runs, found 'x'"):
            results.table(numbers=["x"])

    def test_figures_are_those_of_the_command(self, results, tmp_path):
        options = ["--choose", "worst", "--n", "2", "--format", "png", "-q"]
        cli("figures", results.path, "--out", tmp_path / "a", *options)
        files = results.figures(tmp_path / "b", choose="worst", n=2, formats="png")
        assert [file.name for file in files] == ["images_worst.png", "curves.png", "bars.png"]
        for file in files:
            assert file.read_bytes() == (tmp_path / "a" / file.name).read_bytes()

    @pytest.mark.parametrize(
        ("choice", "message"),
        [
            ({"choose": "worts"}, "choose: .* found 'worts'; did you mean 'worst'"),
            ({"chose": "worst"}, "found 'chose'; did you mean 'choose'"),
            ({"n": 0}, "n: expected from 1 to 200 images, found 0"),
            ({"n": 201}, "n: expected from 1 to 200 images, found 201"),
            ({"ids": [3]}, "expected a name or a list of names, found \\[3\\]"),
            ({"seed": -1}, "seed: expected a whole number of at least 0, found -1"),
            ({"methods": "gradcam"}, "methods: .* found 'gradcam'; did you mean 'grad_cam'"),
        ],
    )
    def test_figures_of_wrong_names_are_refused(self, results, tmp_path, choice, message):
        with pytest.raises(ConfigError, match=message):
            results.figures(tmp_path, **choice)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("seed", [-1, True])
    def test_seeds_are_whole_numbers(self, results, tmp_path, seed):
        for other in (0.5, "x", None):
            with pytest.raises(ConfigError, match="seed: expected a whole number of at least 0"):
                seed_of(other)
        assert seed_of(np.int64(3)) == 3
        run = results
        calls = (
            lambda: run.analyze(seed=seed),
            lambda: run.compare(run, seed=seed),
            lambda: run.table(seed=seed),
            lambda: run.report(tmp_path / "page.html", seed=seed),
            lambda: wsol_bench.leaderboard(run.path, seed=seed),
        )
        for call in calls:
            with pytest.raises(ConfigError, match="seed: expected a whole number of at least 0"):
                call()

    def test_a_notebook_shows_the_metrics_that_the_experiment_names(self, results):
        measured = results.rescore(changes="metrics=[pointing_game]")
        assert "pointing game" in columns_of(measured.analyze()._repr_html_())
        assert "pointing game" not in columns_of(results.analyze()._repr_html_())

    def test_how_to_continue_a_run_of_a_notebooks_method_is_no_command(
        self, my_cam, tmp_path, monkeypatch
    ):
        methods = {"nb": [my_cam], "named": ["grad_cam"]}
        for name, used in methods.items():
            run = wsol_bench.run(experiment(methods=used), limit=2, out=tmp_path / name)
            manifest = run.folder.manifest.model_copy(update={"finished": None})
            monkeypatch.setattr(run.folder, "manifest", manifest)
            with pytest.raises(RunError) as raised:
                run.folder.require_finished()
            assert ("wsol-bench run" in str(raised.value)) == (name == "named")

    def test_what_would_be_written_of_several_runs_needs_a_place(self, results, tmp_path):
        for method in (results.report, results.figures):
            with pytest.raises(
                ConfigError, match="out: expected the place of what is written of 2"
            ):
                method(others=[results.path])
        with pytest.raises(ConfigError, match=r"name another file with out=\.\.\."):
            results.report(tmp_path)

    def test_several_runs_are_analyzed_together(self, results):
        other = results.rescore(changes="protocol.box.threshold=0.5")
        for others in ([other], [other.path], other):
            intervals = results.analyze(others=others)["intervals"]
            assert {*intervals["run"]} == {str(results.path), str(other.path)}

    def test_boxes_are_exported_as_by_the_command(self, results, tmp_path):
        out, _ = cli("export", results.path, "--format", "kaggle", "--out", tmp_path / "a", "-q")
        said = results.export("kaggle", tmp_path / "b")
        assert "\n".join(said).replace(f"{tmp_path}/b", f"{tmp_path}/a") == out.rstrip("\n")
        for file in (tmp_path / "a").iterdir():
            assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()

    def test_each_is_told_in_a_line(self, results):
        opened = wsol_bench.open_run(results.path)
        told = {
            repr(opened): ("2 methods of shapes_net on 8 images, gradcam-2017", ".analyze()"),
            repr(opened.analyze()): ("intervals (", "analysis['intervals']"),
            repr(opened.compare(results.path)): ("equal numbers", ".numbers"),
            repr(wsol_bench.leaderboard(results.path)): ("gradcam-2017", ".tables"),
        }
        for line, parts in told.items():
            assert "\n" not in line
            assert len(line) < 400 + len(str(results.path))
            assert all(part in line for part in parts)


class TestCommandsInPython:
    def test_shards_are_merged(self, tmp_path):
        whole = wsol_bench.run(experiment(), limit=8, out=tmp_path / "whole")
        for shard in ("1/2", "2/2"):
            wsol_bench.run(experiment(), limit=8, shard=shard, out=tmp_path / shard[0])
        merged = wsol_bench.merge([tmp_path / "1", tmp_path / "2"], tmp_path / "merged")
        pd.testing.assert_frame_equal(merged.rows, whole.rows)

    def test_a_leaderboard_is_shown(self, results, tmp_path):
        shutil.copytree(results.path, tmp_path / "a", ignore=lambda *_: ["rescored"])
        board = wsol_bench.leaderboard([tmp_path])
        [(_, table)] = board.tables
        assert {*table["method"]} == {"grad_cam", "notebook_cam+power=2.0"}
        assert columns_of(board._repr_html_())["method"] == table["method"].tolist()

    def test_a_leaderboard_of_no_folder_is_refused(self):
        with pytest.raises(ConfigError, match=r"folders: expected a folder or several, found \[\]"):
            wsol_bench.leaderboard([])

    def test_a_name_to_check_may_be_a_metrics(self):
        with pytest.raises(ConfigError, match="'mean_iu'; did you mean 'mean_iou'"):
            wsol_bench.check("mean_iu")

    def test_an_experiment_of_objects_is_examined(self):
        model = {"name": load_classifier("shapes_net").module, "layer": "features", "label": "mine"}
        lines = wsol_bench.doctor(experiment(models=[model], limit=8))
        assert any(line.startswith("Model mine") for line in lines)

    def test_a_method_of_a_notebook_is_checked(self, my_cam):
        found = wsol_bench.check(my_cam, power=2.0)
        failed = found[~found["result"].isin(["passed", "-"])]
        assert failed.to_dict("records") == []

        @cam_method("notebook_nan", plan=Plan())
        def notebook_nan(record):
            return record.activations[:, :1].expand(-1, record.classes.shape[1], -1, -1) * torch.nan

        assert "FAILED" in {*wsol_bench.check(notebook_nan)["result"]}
        assert {*wsol_bench.check("mean_iou")["result"]} <= {"passed", "-"}
        with pytest.raises(ConfigError, match="plugin: expected a map method or a metric"):
            wsol_bench.check(len)

    def test_steps_and_bars_can_be_silenced(self, capsys):
        try:
            wsol_bench.set_verbosity("quiet")
            wsol_bench.run(experiment(), limit=4).analyze()
            assert capsys.readouterr() == ("", "")
            wsol_bench.set_verbosity("normal")
            wsol_bench.run(experiment(), limit=4)
            assert "evaluating: 4 of 4 images" in capsys.readouterr().err
        finally:
            wsol_bench.set_verbosity("normal")
