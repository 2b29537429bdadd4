"""Stored maps scored by another protocol are what a new run with that protocol gives."""

import pytest
from colors import SCENES, color_experiment, write_colors
from rescoring import assert_same, broken_colors, with_network_free

import wsol_bench
from wsol_bench.runs.rescore import rescore

BOX = ["x0", "y0", "x1", "y1"]
NEAREST = {"name": "gradcam-2017", "map": {"upsample": "nearest"}}


def with_images_lost(root, folder):
    """One image unreadable, one overflows, one of an unknown class; one method gives NaN."""
    (folder / "classes.txt").write_text("n00000001 red\nn7 never\nn00000003 blue\n")
    experiment = color_experiment(broken_colors(folder), methods=["cam", "colors:nan_cam"])
    experiment["models"][0]["name"] = "colors:net_without_blue"
    experiment["models"][0]["classes"] = str(folder / "classes.txt")
    return experiment


def without_cam(root, folder):
    """The network has no head that CAM could read."""
    experiment = color_experiment(root)
    del experiment["models"][0]["head"]
    return experiment


def without_any_map(root, folder):
    return {**without_cam(root, folder), "methods": ["cam"]}


def of_two_models(root, folder):
    experiment = color_experiment(root)
    second = {**experiment["models"][0], "label": "again"}
    return {**experiment, "models": [*experiment["models"], second]}


def that_keeps_aspect_ratios(root, folder):
    """Inputs of three sizes, maps of three sizes, and an image whose shape is refused."""
    scenes = (*SCENES, ((1, 3000), 0, [(0, 0, 3000, 1)]))
    return color_experiment(
        write_colors(folder / "thin", scenes=scenes),
        protocol={**NEAREST, "input": {"geometry": "shorter_side"}},
    )


def that_crops(root, folder):
    crop = {"geometry": "center_crop", "resize_to": 256}
    return color_experiment(root, protocol={**NEAREST, "input": crop})


def on_shapes(root, folder):
    return {
        "name": "shapes", "dataset": {"name": "shapes", "n_images": 9}, "models": ["shapes_net"],
        "methods": ["cam", "grad_cam"], "protocol": "gradcam-2017", "part_size": 1,
    }  # fmt: skip


WORLDS = [
    color_experiment, of_two_models, with_images_lost, without_cam, without_any_map,
    that_keeps_aspect_ratios, that_crops, on_shapes, with_network_free,
]  # fmt: skip


@pytest.fixture(scope="module", params=WORLDS, ids=lambda world: world.__name__)
def world(request, root, tmp_path_factory):
    """An experiment in several parts, and its run."""
    folder = tmp_path_factory.mktemp("world")
    made = request.param(root, *([] if request.param is color_experiment else [folder]))
    made = {"part_size": 3, **made, "workers": 0, "batch_size": 3, "device": "cpu"}
    return made, wsol_bench.run(made, out=folder / "run")


class TestRows:
    def test_are_those_of_a_fresh_run_with_that_protocol(self, world):
        experiment, source = world
        protocol = {"name": "zhou-2016"}
        if "input" in experiment["protocol"]:
            protocol["input"] = experiment["protocol"]["input"]
        ours = rescore(source.folder, protocol)
        assert_same(ours, wsol_bench.run({**experiment, "protocol": protocol}))
        assert ours.rows["protocol"].iloc[0].startswith("zhou-2016")
        if (source.rows["status"] == "box").any():
            assert not ours.rows[BOX].equals(source.rows[BOX])

    def test_are_those_of_a_fresh_run_with_that_override(self, world):
        experiment, source = world
        protocol = experiment["protocol"]
        protocol = {"name": protocol} if isinstance(protocol, str) else protocol
        changed = {**protocol, "box": {"threshold": 0.4}}
        ours = rescore(source.folder, overrides=["protocol.box.threshold=0.4"])
        assert_same(ours, wsol_bench.run({**experiment, "protocol": changed}))
        assert ours.rows["protocol"].iloc[0].endswith("box.threshold=0.4")

    def test_of_the_same_protocol_are_the_runs_own(self, world):
        _, source = world
        assert_same(rescore(source.folder), source)


def test_another_least_iou_changes_the_errors_and_no_box(source, fresh):
    ours = rescore(source, {"name": "zhou-2016", "scoring": {"iou": 1.0}})
    assert ours.rows[BOX].equals(fresh.rows[BOX])
    assert (ours.summary["top1_loc_error"] > fresh.summary["top1_loc_error"]).all()


def test_a_map_loses_its_box_and_gets_it_back(source, experiment):
    """Nothing is above the maximum."""
    nothing = {"name": "zhou-2016", "box": {"threshold": 1.0, "comparison": "above"}}
    ours = rescore(source, nothing)
    assert set(ours.rows["status"]) == {"no_box", "zero"}
    assert_same(ours, wsol_bench.run({**experiment, "protocol": nothing}))
    assert_same(rescore(ours.folder, experiment["protocol"]), rescore(source))


def test_a_rescored_run_can_be_scored_again(source, fresh):
    there = rescore(source, overrides=["protocol.box.threshold=0.4"]).folder
    assert_same(rescore(there, "zhou-2016"), fresh)
