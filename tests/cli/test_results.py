"""Commands that read stored runs, and the way from a run through a file to its scores."""

import json
import shlex
import shutil

import pytest
from command_line import SUMMARY_KEYS, cli
from forged import write_content
from PIL import Image


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
        assert set(SUMMARY_KEYS) <= set(scored)
        for key in (*SUMMARY_KEYS[4:10], *SUMMARY_KEYS[11:]):
            assert scored[key] == run[key], (format, key)
    subset = tmp_path / "run/predictions/color_net-cam-cells.images.txt"
    file = tmp_path / "run/predictions/color_net-cam-cells.txt"
    assert json.loads(cli("score", file, *root, "--option", f"subset={subset}", "--json")[0])
    (tmp_path / "one id.txt").write_text(subset.read_text().splitlines()[0])
    wrong = ("--option", f"subset={tmp_path / 'one id.txt'}", "--format", "devkit")
    _, err = cli("score", file, *root, *wrong, code=1)
    words = shlex.split(err.splitlines()[-1])
    assert [word for word in words if word.startswith("subset=")] == [f"subset={subset}"]
    assert words[-2:] == ["--format", "devkit"]
    assert json.loads(cli(*words[1:], "--json")[0])


def test_with_a_tight_run_every_image_has_five_boxes(world, tmp_path):
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


def test_an_unfinished_or_damaged_run_is_not_exported(world, tmp_path):
    shutil.copytree(world / "run", tmp_path / "unfinished")
    manifest = json.loads((tmp_path / "unfinished/manifest.json").read_text())
    write_content(tmp_path / "unfinished", {**manifest, "finished": None})
    shutil.copytree(world / "run", tmp_path / "damaged")
    (tmp_path / "damaged/rows/000000.parquet").write_bytes(b"PAR1 and no more")
    for name, message in (
        ("unfinished", "is not finished"),
        ("damaged", r"rows/000000.parquet is damaged"),
    ):
        _, err = cli("export", tmp_path / name, "--format", "kaggle", code=1)
        assert message in err


@pytest.mark.parametrize("shard", [(), ("--shard", "2/2")])
def test_an_unfinished_run_says_the_command_that_finishes_it(world, tmp_path, shard):
    place = tmp_path / "a run"
    part = ("--set", "part_size=2", *shard)
    cli("run", world / "experiment.yaml", "--out", place, *part)
    write_content(place, {**json.loads((place / "manifest.json").read_text()), "finished": None})
    _, err = cli("analyze", place, code=1)
    assert f"the run in {place} is not finished" in err
    *_, command = err.splitlines()
    assert command.startswith(f"  wsol-bench run '{place}/config.yaml' --out '{place}'")
    cli(*shlex.split(command)[1:])
    cli("analyze", place)


@pytest.mark.parametrize("as_json", [False, True])
def test_score_tells_what_is_odd_about_the_data_set(tmp_path, as_json):
    """Of images that were resized, most boxes are wrong."""
    rows = []
    for number in range(3):
        Image.new("RGB", (50, 40)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,cat,0,0,100,80\n")
    (tmp_path / "boxes.csv").write_text("image,label,x0,y0,x1,y1\n" + "".join(rows))
    lines = [f"{number}.png,cat 0 0 99 79\n" for number in range(3)]
    (tmp_path / "predictions.csv").write_text("ImageId,PredictionString\n" + "".join(lines))
    options = [f"path={tmp_path}/boxes.csv", f"images={tmp_path}", "convention=half_open"]
    arguments = [argument for option in options for argument in ("--option", option)]
    arguments += ["--json"] if as_json else []
    out, _ = cli("score", tmp_path / "predictions.csv", "--dataset", "table", *arguments)
    assert "Data set table: 1 x resized_images (images seem resized" in " ".join(out.split())
