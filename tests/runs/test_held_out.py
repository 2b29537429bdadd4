"""Images that a threshold is selected on: the same ones however a run is split or scored."""

import pandas as pd
import pytest
from annotations_only import IMAGES, image_id, without_model, write_annotations_only
from timeless import timeless

import wsol_bench
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.runs.doctor import diagnose
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.merge import merge
from wsol_bench.runs.rescore import rescore

CHOSEN = (1, 4)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_annotations_only(tmp_path_factory.mktemp("held_out") / "root")


@pytest.fixture(params=["file", "share"])
def protocol(request, tmp_path):
    select_on = 0.4
    if request.param == "file":
        path = tmp_path / "ids.txt"
        path.write_text("".join(f"{image_id(number)}\n" for number in CHOSEN))
        select_on = str(path)
    return {"name": "choe-2020-v2", "box": {"threshold": {"select_on": select_on}}}


def experiment(root, protocol="gradcam-2017", **changes):
    return without_model(root, "center_gaussian", protocol=protocol, **changes)


def assert_equal(ours, theirs):
    for name in ("images", "rows", "curves", "summary"):
        pd.testing.assert_frame_equal(
            timeless(getattr(ours, name)), timeless(getattr(theirs, name)), check_exact=True
        )


def test_a_change_within_the_sweep_leaves_the_rest_of_it(protocol):
    changed = load_config({**experiment("x"), "protocol": protocol}).build_protocol()
    assert changed.box.threshold.step == 0.001
    assert changed.name.startswith("choe-2020-v2+box.threshold.select_on=")


def test_are_in_no_number(root, protocol):
    results = wsol_bench.run(experiment(root, protocol))
    [line] = results.summary.to_dict(orient="records")
    held_out = results.images["held_out"]
    assert 0 < held_out.sum() < len(IMAGES)
    assert line["n_held_out"] == held_out.sum()
    assert line["n_scored"] == (~held_out).sum()
    own = results.rows.merge(results.images[["image_id", "boxes", "held_out"]], on="image_id")
    own = own[~own["held_out"]]
    hits = [
        any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes.reshape(-1, 4))
        for x, y, boxes in zip(own["peak_x"], own["peak_y"], own["boxes"], strict=True)
    ]
    assert line["pointing_game"] == sum(hits) / len(hits)
    assert line["energy_pointing_game"] == pytest.approx(own["energy"].mean())


def test_shards_that_are_scored_again_and_put_together_are_the_run(root, protocol, tmp_path):
    whole = wsol_bench.run(experiment(root, protocol))
    scored = []
    for shard in ("1/3", "2/3", "3/3"):
        out = tmp_path / shard.replace("/", "-")
        part = wsol_bench.run(experiment(root), out=out, shard=shard)
        again = rescore(part.folder, protocol, out=out.with_name(f"{out.name}-again"))
        scored.append(again.folder)
    assert_equal(merge(scored, tmp_path / "all"), whole)


def test_another_list_under_the_same_name_is_another_run(root, tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text(f"{image_id(1)}\n")
    protocol = {"name": "choe-2020-v1", "box": {"threshold": {"select_on": str(path)}}}
    wsol_bench.run(experiment(root, protocol), out=tmp_path / "run")
    path.write_text(f"{image_id(2)}\n")
    with pytest.raises(RunError, match="selected_on"):
        wsol_bench.run(experiment(root, protocol), out=tmp_path / "run")


def test_none_on_a_side_is_an_error_before_anything_is_evaluated(root, tmp_path):
    protocol = {"name": "choe-2020-v1", "box": {"threshold": {"select_on": 1e-9}}}
    with pytest.raises(ConfigError, match=r"picks 0 of 7 images; it must pick at least one"):
        wsol_bench.run(experiment(root, protocol), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_doctor_does_not_mind(root, protocol):
    lines = list(diagnose(load_config(experiment(root, protocol))))
    assert "Method center_gaussian: maps of 7 of 7 images" in lines
