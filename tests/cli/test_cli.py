"""The command line as a stranger uses it: arguments, streams and exit codes."""

import contextlib
import io
import json
import re
import shutil
import sys
import textwrap
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import yaml
from colors import SCENES, color_experiment, write_colors
from user_modules import importable

import wsol_bench
from wsol_bench.cli import main

KEYS = [
    "model", "method", "layer", "protocol", "n_images", "n_blacklisted",
    "top1_cls_error", "top5_cls_error", "top1_loc_error", "top5_loc_error",
    "gt_known_loc_error", "top1_loc_error_all", "top5_loc_error_all",
]  # fmt: skip


def cli(*arguments, cwd=".", code=0):
    """Call the entry point with these arguments; standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["wsol-bench", *map(str, arguments)]
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", argv),
        pytest.raises(SystemExit) as exit,
    ):
        main()
        sys.exit(0)
    assert (exit.value.code or 0) == code, err.getvalue()
    return out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The color world, its experiment file, and a run of it by the command line."""
    folder = tmp_path_factory.mktemp("world")
    write_colors(folder / "root")
    (folder / "experiment.yaml").write_text(yaml.safe_dump(color_experiment(folder / "root")))
    out, err = cli("run", folder / "experiment.yaml", "--out", folder / "run", "--json")
    (folder / "out.json").write_text(out)
    (folder / "err.txt").write_text(err)
    return folder


def test_json_is_all_of_standard_output(world):
    records = json.loads((world / "out.json").read_text())
    assert [record["method"] for record in records] == ["cam", "grad_cam"]
    for record in records:
        assert set(KEYS) <= set(record)
        assert record["top1_loc_error"] == 0
        assert record["n_images"] == 4


def test_progress_and_the_place_of_the_results_go_to_standard_error(world):
    text = (world / "err.txt").read_text()
    assert str(world / "run") in text
    assert "evaluating" in text


def test_without_json_a_person_gets_a_table(world, tmp_path):
    out, _ = cli("run", world / "experiment.yaml", "--out", tmp_path / "run", "--limit", "2")
    assert "color_net" in out
    assert "0.00/0.00" in out
    assert "gradcam-2017+map.upsample=nearest" in out


def test_results_go_below_results_and_the_experiments_name(world, tmp_path):
    cli("run", world / "experiment.yaml", "--limit", "1", cwd=tmp_path)
    [run] = (tmp_path / "results/colors").iterdir()
    assert (run / "tables/summary.csv").is_file()
    assert yaml.safe_load((run / "config.yaml").read_text())["limit"] == 1


def test_set_overrides_and_the_config_in_the_folder_says_so(world, tmp_path):
    out, _ = cli(
        "run", world / "experiment.yaml", "--out", tmp_path / "run", "--json",
        "--set", "methods=[cam]", "--set", "protocol=zhou-2016", "--device", "cpu",
    )  # fmt: skip
    [record] = json.loads(out)
    assert (record["method"], record["protocol"]) == ("cam", "zhou-2016")
    content = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert content["protocol"]["name"] == "zhou-2016"


def test_export_then_score_gives_the_runs_own_numbers_in_both_formats(world, tmp_path):
    """A devkit file too: the IDs come from a devkit beside the root."""
    devkit = tmp_path / "devkit"
    devkit.mkdir()
    (devkit / "synsets.csv").write_text(
        "ilsvrc2012_id,wnid,sorted_index,words\n"
        "2,n00000001,0,red\n3,n00000002,1,green\n1,n00000003,2,blue\n"
    )
    (devkit / "ILSVRC2014_clsloc_validation_blacklist.txt").write_text("3\n")
    option = f"devkit={devkit}"
    out, _ = cli(
        "run", world / "experiment.yaml", "--out", tmp_path / "run", "--json",
        "--set", f"dataset.{option}", "--set", "protocol.box={threshold: 0.9}",
    )  # fmt: skip
    run = json.loads(out)[0]
    assert run["n_blacklisted"] == 1
    root = ("--dataset", "imagenet", "--root", world / "root", "--option", option)
    for format, suffix in (("devkit", "txt"), ("kaggle", "csv")):
        listing, _ = cli("export", tmp_path / "run", "--format", format)
        assert f"color_net-cam-cells.{suffix}" in listing
        file = tmp_path / f"run/predictions/color_net-cam-cells.{suffix}"
        [scored] = json.loads(cli("score", file, *root, "--json")[0])
        assert set(KEYS) <= set(scored)
        for key in (*KEYS[4:10], *KEYS[11:]):
            assert scored[key] == run[key], (format, key)
    subset = tmp_path / "run/predictions/color_net-cam-cells.images.txt"
    file = tmp_path / "run/predictions/color_net-cam-cells.txt"
    assert json.loads(cli("score", file, *root, "--option", f"subset={subset}", "--json")[0])


def test_version():
    assert cli("--version")[0].strip() == wsol_bench.__version__


def test_schema_is_json():
    assert "models" in json.loads(cli("schema")[0])["properties"]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("methods", ["cam", "grad_cam", "center_gaussian", "maps_from", "boxes_from"]),
        ("models", ["shapes_net", "resnet50", "vgg16"]),
        ("datasets", ["imagenet", "shapes"]),
        ("protocols", ["gradcam-2017", "zhou-2016"]),
        ("metrics", ["max_top1_loc", "pointing_game", "top_k_intersection"]),
    ],
)
def test_list(kind, names):
    listed = [line.split()[0] for line in cli("list", kind)[0].splitlines()]
    assert set(names) <= set(listed)


def test_what_a_builder_prints_stays_out_of_standard_output(world, tmp_path):
    argument = "models.0.name=colors:chatty_net"
    out, err = cli(
        "run", world / "experiment.yaml", "--out", tmp_path / "run", "--json", "--set", argument
    )
    assert json.loads(out)
    assert "hello from the builder" in err


def test_progress_shows_a_rate(world):
    assert re.search(r"[\d.]+ images/s", (world / "err.txt").read_text())


def test_a_method_in_the_working_directory_is_found_by_its_import_path(world, tmp_path):
    """The README's own example."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [example] = re.findall(
        r"(    from wsol_bench import Plan.*?)\n\n`wsol-bench check", readme, re.DOTALL
    )
    (tmp_path / "my_readme_module.py").write_text(textwrap.dedent(example))
    methods = "methods=[cam, grad_cam, my_readme_module:my_cam]"
    arguments = ("run", world / "experiment.yaml", "--out", tmp_path / "run", "--json")
    with importable(tmp_path):
        out, _ = cli(*arguments, "--set", methods, cwd=tmp_path)
    assert [record["method"] for record in json.loads(out)] == ["cam", "grad_cam", "my_cam"]


class TestCheck:
    @pytest.fixture
    def modules(self, tmp_path):
        head = "import torch\nfrom wsol_bench import Plan, cam_method\n"
        (tmp_path / "checked_cams.py").write_text(
            head
            + textwrap.dedent(
                """
                @cam_method("checked", plan=Plan(gradients=True))
                def checked(record, *, power: float = 1.0):
                    print("hello from the method")
                    return (record.gradients.relu() ** power * record.activations[:, None]).sum(2)

                @cam_method("cursed", plan=Plan(gradients=True))
                def cursed(record):
                    raise ValueError("\\x1b[2Jon purpose")

                def bare(record):
                    return record.activations
                """
            )
        )
        with importable(tmp_path):
            yield tmp_path

    def test_a_line_a_clause_and_a_last_one(self, modules):
        arguments = ("check", "checked_cams:checked", "--option", "power=2")
        out, err = cli(*arguments, cwd=modules)
        first, *lines, last = out.splitlines()
        assert first.startswith("checked+power=2")
        assert "  passed  maps hold no NaN and no infinity" in lines
        assert lines[-1].startswith(
            "  -       if it claims to generalize CAM, its maps are ReLU(CAM)"
        )
        assert re.fullmatch(
            r"checked\+power=[\d.]+: \d+ passed, 0 failed, 1 not applicable or not checked, in "
            r"\d+\.\d s",
            last,
        )
        assert "hello from the method" in err

    def test_a_clause_that_does_not_hold_is_exit_code_1_and_the_others_are_checked(self, modules):
        out, _ = cli("check", "checked_cams:cursed", "checked_cams:checked", cwd=modules, code=1)
        assert (
            "  FAILED  it returns one map for each class slot: ValueError: \\x1b[2Jon purpose"
            in out
        )
        assert "cursed: 0 passed, 1 failed, 17 not applicable or not checked" in out
        assert re.search(r"checked: 17 passed, 0 failed", out)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["grad_kam"], "unknown map method 'grad_kam'; did you mean 'grad_cam'?"),
            (["nowhere:my_cam"], "cannot import 'nowhere'"),
            (["checked_cams:bare"], 'write above it: @cam_method("bare", plan=Plan('),
            (["grad_cam", "--option", "power=2"], "methods.grad_cam: unknown option 'power'"),
            (["grad_cam", "--option", "power"], "expected key.path=value"),
            (["center_gaussian"], "'center_gaussian' reads what was made elsewhere"),
        ],
    )
    def test_what_cannot_be_meant_is_one_clear_message(self, modules, arguments, message):
        out, err = cli("check", *arguments, cwd=modules, code=1)
        assert out == ""
        assert err.startswith("Error: ")
        assert message in err


def test_an_unfinished_or_damaged_run_is_not_exported(world, tmp_path):
    shutil.copytree(world / "run", tmp_path / "unfinished")
    manifest = tmp_path / "unfinished/manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "finished": None}))
    shutil.copytree(world / "run", tmp_path / "damaged")
    (tmp_path / "damaged/rows/000000.parquet").write_bytes(b"PAR1 and no more")
    for name, message in (
        ("unfinished", "is not finished"),
        ("damaged", r"rows/000000.parquet cannot be read"),
    ):
        _, err = cli("export", tmp_path / name, "--format", "kaggle", code=1)
        assert message in err


class TestDoctor:
    def test_counts_and_checks_the_label_order(self, world, tmp_path):
        out, _ = cli("doctor", world / "experiment.yaml")
        assert "4 images of 3 classes" in out
        assert "100% right at top-1" in out
        assert "plausible" in out
        (tmp_path / "classes.txt").write_text("n00000002\nn00000003\nn00000001\n")
        wrong = ("--set", f"models.0.classes={tmp_path / 'classes.txt'}")
        assert "SUSPICIOUS" in cli("doctor", world / "experiment.yaml", *wrong)[0]

    def test_says_what_is_odd_and_what_a_run_would_skip(self, tmp_path):
        root = write_colors(tmp_path / "root")
        data = root / "ILSVRC/Data/CLS-LOC/val"
        (data / "ILSVRC2012_val_00000002.JPEG").write_bytes(b"no image")
        annotation = root / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000003.xml"
        annotation.write_text(annotation.read_text()[:90])
        (tmp_path / "classes.txt").write_text("n00000001\nn9\nn8\n")
        experiment = color_experiment(root)
        experiment["models"][0]["classes"] = str(tmp_path / "classes.txt")
        experiment["models"].append("resnet5")
        (tmp_path / "e.yaml").write_text(yaml.safe_dump(experiment))
        out, err = cli("doctor", tmp_path / "e.yaml", code=1)
        assert "1 of 2 models cannot be loaded" in err
        assert "1 x unreadable_image" in out
        assert "1 x bad_annotation" in out
        assert "ILSVRC2012_val_00000003" in out
        assert "CANNOT BE LOADED" in out
        assert "did you mean 'resnet50'" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["run", "typo.yaml"], "unknown key 'metods'; did you mean 'methods'?"),
        (["run", "rootless.yaml"], "missing-root"),
        (["score", "nothing.txt", "--root", "."], "nothing.txt does not exist"),
        (["score", "typo.yaml", "--root", "missing-root"], "missing-root"),
        (["score", "typo.yaml"], "missing option 'root'"),
        (["score", "typo.yaml", "--root", ".", "--option", "name=5"], "name"),
        (["score", "typo.yaml", "--root", ".", "--option", "subset=["], "subset=["),
        (["run", "typo.yaml", "--set", "limit=["], "limit=["),
        (["export", "missing-root", "--format", "kaggle"], "is no run folder"),
    ],
)
def test_a_wrong_input_is_one_clear_message_and_exit_code_1(tmp_path, arguments, message):
    experiment = color_experiment(Path("missing-root"))
    (tmp_path / "rootless.yaml").write_text(yaml.safe_dump(experiment))
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump({**experiment, "metods": []}))
    out, err = cli(*arguments, cwd=tmp_path, code=1)
    assert out == ""
    assert err.startswith("Error: ")
    assert message in err


class TestScoreMaps:
    """The color world's four images, and a map of three of them: one where the first box is."""

    @pytest.fixture
    def maps(self, world, tmp_path):
        (tmp_path / "my_tool").mkdir()
        for number, ((height, width), _, boxes) in enumerate(SCENES[:3], 1):
            made = np.zeros((height, width), bool)
            [x0, y0, x1, y1] = boxes[0]
            made[y0:y1, x0:x1] = True
            np.save(tmp_path / f"my_tool/ILSVRC2012_val_{number:08d}.npy", made)
        return tmp_path / "my_tool"

    def test_json_is_all_of_standard_output(self, world, maps):
        root = ("--dataset", "imagenet", "--root", world / "root")
        out, err = cli("score-maps", maps, *root, "--json")
        [record] = json.loads(out)
        assert (record["model"], record["method"]) == ("-", "my_tool")
        assert record["protocol"] == "gradcam-2017"
        assert (record["n_images"], record["n_skipped"], record["n_missing"]) == (3, 1, 0)
        assert record["gt_known_loc_error"] == 0
        assert record["mean_iou"] > 0.95
        assert record["top1_cls_error"] is None
        assert "evaluating" in err

    @pytest.mark.parametrize("version", [1, 2])
    def test_by_another_protocol(self, world, maps, version):
        arguments = ("score-maps", maps, "--root", world / "root", "--json")
        out, _ = cli(*arguments, "--protocol", f"choe-2020-v{version}")
        [record] = json.loads(out)
        assert record["protocol"] == f"choe-2020-v{version}"
        assert record["max_box_acc"] == 1
        assert ("max_box_acc_v2" in record) == (version == 2)
        changed = ("--set", "protocol.box.threshold.step=0.01")
        [record] = json.loads(cli(*arguments, "--protocol", f"choe-2020-v{version}", *changed)[0])
        assert record["protocol"].startswith(f"choe-2020-v{version}+box.threshold.step=")

    def test_the_run_is_kept_where_out_says(self, world, maps, tmp_path):
        arguments = ("score-maps", maps, "--root", world / "root", "--out", tmp_path / "run")
        out, err = cli(*arguments, cwd=tmp_path)
        assert "my_tool" in out
        assert "0.00" in out
        assert f"Results: {tmp_path / 'run'}" in err
        assert (tmp_path / "run/tables/summary.csv").is_file()
        assert not (tmp_path / "results").exists()
        np.save(maps / "ILSVRC2012_val_00000001.npy", np.ones((3, 3)))
        _, err = cli(*arguments, code=1)
        assert "holds another run" in err
        cli(*arguments, "--force")
        assert json.loads(cli("rescore", tmp_path / "run", "--protocol", "zhou-2016", "--json")[0])

    def test_a_part_of_the_data_set_is_named_by_an_option(self, world, maps, tmp_path):
        (tmp_path / "subset.txt").write_text("ILSVRC2012_val_00000002\n")
        option = ("--option", f"subset={tmp_path / 'subset.txt'}")
        out, _ = cli("score-maps", maps, "--root", world / "root", *option, "--json")
        [record] = json.loads(out)
        assert (record["n_images"], record["n_skipped"]) == (1, 0)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nowhere", "--root", "ROOT"], "maps_from: nowhere is no folder"),
            (["MAPS"], "missing option 'root'"),
            (["MAPS", "--root", "ROOT", "--protocol", "choe"], "unknown protocol 'choe'"),
            (["MAPS", "--root", "ROOT", "--protocol", "choe-2020-pxap"], "has no masks"),
            (["BAD", "--root", "ROOT"], "ILSVRC2012_val_00000001.npy: no map can be read"),
        ],
    )
    def test_a_wrong_input_is_one_clear_message(self, world, maps, tmp_path, arguments, message):
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad/ILSVRC2012_val_00000001.npy").write_text("no map")
        places = {"MAPS": maps, "ROOT": world / "root", "BAD": tmp_path / "bad"}
        given = [places.get(argument, argument) for argument in arguments]
        out, err = cli("score-maps", *given, "--json", cwd=tmp_path, code=1)
        assert out == ""
        assert "Traceback" not in err
        assert f"Error: {message}" in err or message in err.rpartition("Error: ")[2]


def test_a_tight_run_makes_five_guesses_an_image(world, tmp_path):
    tight = ("--set", "protocol.box.threshold=0.9", "--out", tmp_path / "tight")
    cli("rescore", world / "run", *tight)
    arguments = ("export", world / "run", "--format", "kaggle", "--out", tmp_path / "out")
    out, _ = cli(*arguments, "--tight", tmp_path / "tight")
    assert "color_net-cam-cells.csv: 4 images" in out
    lines = (tmp_path / "out/color_net-cam-cells.csv").read_text().splitlines()[1:]
    assert [len(line.split()) for line in lines] == [25] * 4
    cli("run", world / "experiment.yaml", "--limit", "2", "--out", tmp_path / "other")
    _, err = cli(*arguments, "--tight", tmp_path / "other", code=1)
    assert "is not" in err
    assert "rescored" in err
