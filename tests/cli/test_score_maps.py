"""The command that scores maps of other tools."""

import json

import numpy as np
import pytest
from colors import SCENES
from command_line import cli


@pytest.fixture
def maps(tmp_path):
    """Maps of three of the color world's four images: one in the first box, else zero."""
    (tmp_path / "my_tool").mkdir()
    for number, ((height, width), _, boxes) in enumerate(SCENES[:3], 1):
        values = np.zeros((height, width), bool)
        [x0, y0, x1, y1] = boxes[0]
        values[y0:y1, x0:x1] = True
        np.save(tmp_path / f"my_tool/ILSVRC2012_val_{number:08d}.npy", values)
    return tmp_path / "my_tool"


def test_json_is_all_of_standard_output(world, maps):
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
def test_maps_are_scored_by_another_protocol(world, maps, version):
    arguments = ("score-maps", maps, "--root", world / "root", "--json")
    out, _ = cli(*arguments, "--protocol", f"choe-2020-v{version}")
    [record] = json.loads(out)
    assert record["protocol"] == f"choe-2020-v{version}"
    assert record["max_box_acc"] == 1
    assert ("max_box_acc_v2" in record) == (version == 2)
    changed = ("--set", "protocol.box.threshold.step=0.01")
    [record] = json.loads(cli(*arguments, "--protocol", f"choe-2020-v{version}", *changed)[0])
    assert record["protocol"].startswith(f"choe-2020-v{version}+box.threshold.step=")


def test_the_run_is_kept_if_out_names_its_folder(world, maps, tmp_path):
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


def test_an_option_of_the_data_set_chooses_some_of_its_images(world, maps, tmp_path):
    (tmp_path / "subset.txt").write_text("ILSVRC2012_val_00000002\n")
    option = ("--option", f"subset={tmp_path / 'subset.txt'}")
    out, _ = cli("score-maps", maps, "--root", world / "root", *option, "--json")
    [record] = json.loads(out)
    assert (record["n_images"], record["n_skipped"]) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--root", "ROOT"], "nowhere: expected a folder with a map of each image"),
        (["MAPS"], "the data set imagenet needs its root folder"),
        (["MAPS", "--root", "ROOT", "--protocol", "choe"], "unknown protocol 'choe'"),
        (["MAPS", "--root", "ROOT", "--protocol", "choe-2020-pxap"], "has no masks"),
        (["BAD", "--root", "ROOT"], "ILSVRC2012_val_00000001.npy: no map can be read"),
    ],
)
def test_a_wrong_input_is_one_clear_message(world, maps, tmp_path, arguments, message):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/ILSVRC2012_val_00000001.npy").write_text("no map")
    places = {"MAPS": maps, "ROOT": world / "root", "BAD": tmp_path / "bad"}
    paths = [places.get(argument, argument) for argument in arguments]
    out, err = cli("score-maps", *paths, "--json", cwd=tmp_path, code=1)
    assert out == ""
    assert "Traceback" not in err
    assert f"Error: {message}" in err or message in err.rpartition("Error: ")[2]
