"""Prediction files of runs: the official scorer gives the run's own numbers for them."""

import csv
import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest
from annotations_only import IMAGES, image_id, without_model, write_annotations_only
from colors import color_experiment, write_colors, write_masks
from command_line import cli
from PIL import Image

import wsol_bench
from wsol_bench.errors import PredictionError, RunError
from wsol_bench.methods.imported.prediction_files import read_predictions, score_predictions
from wsol_bench.report.export import export_run
from wsol_bench.runs.experiment_config import load_dataset
from wsol_bench.runs.rescore import rescore

# What a picture shows beside its first box, and the class that it is of. Bright is 255, dim is 64:
# above 15% of the maximum and below 50%. The left half of an image is 112 columns.
RED, GREEN, BLUE = range(3)


@pytest.fixture(scope="module")
def halos(tmp_path_factory):
    """Four images whose box is that of the bright or of the dim part of one color.

    1 red: the bright part is the object: the tight box of rank 1 is right.
    2 red: all of the dim part is the object: the loose box of rank 1 is right.
    3 red, but there is more green: rank 2, and its tight box is right.
    4 red, but there is more green and blue: rank 3, whose tight box would be right.
    """
    folder = tmp_path_factory.mktemp("halos")
    small, whole = [(64, 64, 128, 128)], [(0, 0, 224, 224)]
    scenes = [((224, 224), RED, box) for box in (small, whole, small, small)]
    root = write_colors(folder / "root", scenes=scenes)
    for number in range(1, 5):
        pixels = np.zeros((224, 224, 3), np.uint8)
        pixels[..., RED] = 64
        pixels[64:128, 64:128, RED] = 255
        pixels[..., GREEN] = 200 if number >= 3 else 0
        pixels[..., BLUE] = 150 if number == 4 else 0
        file = root / f"ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_{number:08d}.JPEG"
        Image.fromarray(pixels).save(file, format="PNG")
    (folder / "synsets.csv").write_text(
        "ilsvrc2012_id,wnid,sorted_index,words\n"
        "2,n00000001,0,red\n3,n00000002,1,green\n1,n00000003,2,blue\n"
    )
    experiment = color_experiment(root, workers=0, methods=["cam", "center_gaussian"])
    experiment["dataset"]["devkit"] = str(folder)
    loose = wsol_bench.run(experiment, out=folder / "loose")
    tight = rescore(loose.folder, overrides=["protocol.box.threshold=0.5"], out=folder / "tight")
    return experiment, loose, tight


def scored(experiment, path):
    dataset = load_dataset(experiment["dataset"])
    return score_predictions(read_predictions(path, dataset), dataset, name="p").iloc[0]


def devkit_error(experiment, path, k):
    """The devkit's own words, image by image: min over guesses of max(class, overlap)."""
    truths = {sample.image_id: sample for sample in load_dataset(experiment["dataset"])}
    errors = []
    for text in path.read_text().splitlines()[1:]:
        image_id, _, guesses = text.partition(",")
        fields, truth = guesses.split(), truths[image_id]
        wrong = []
        for start in range(0, min(len(fields), 5 * k), 5):
            x0, y0, x1, y1 = map(float, fields[start + 1 : start + 5])
            [[gx0, gy0, gx1, gy1]] = (truth.boxes - [0, 0, 1, 1]).tolist()
            across = max(0, min(x1, gx1) - max(x0, gx0) + 1)
            down = max(0, min(y1, gy1) - max(y0, gy0) + 1)
            areas = [(x1 - x0 + 1) * (y1 - y0 + 1), (gx1 - gx0 + 1) * (gy1 - gy0 + 1)]
            overlap = across * down / (sum(areas) - across * down)
            wrong.append(max(fields[start] != truth.label, overlap < 0.5))
        errors.append(min(wrong))
    return np.mean(errors)


class TestTightExport:
    def test_scores_as_the_devkit_scores_the_five_guesses(self, halos, tmp_path):
        experiment, loose, tight = halos
        list(export_run(loose.folder, tmp_path, format="kaggle", tight=tight.folder))
        path = tmp_path / "color_net-cam-cells.csv"
        line = scored(experiment, path)
        # By hand: right at guess 2, 1, 4 and never.
        assert [line[f"top{k}_loc_error"] for k in range(1, 6)] == [0.75, 0.5, 0.5, 0.25, 0.25]
        assert [line[f"top{k}_cls_error"] for k in range(1, 6)] == [0.5, 0.5, 0.25, 0.25, 0]
        for k in range(1, 6):
            assert line[f"top{k}_loc_error"] == devkit_error(experiment, path, k)
        # One guess a class: the loose ones are right in image 2 alone, the tight ones elsewhere.
        errors = [one.summary["top5_loc_error"].iloc[0] for one in (loose, tight)]
        assert errors == [0.75, 0.25]

    def test_a_devkit_file_scores_the_same(self, halos, tmp_path):
        experiment, loose, tight = halos
        for format in ("kaggle", "devkit"):
            list(export_run(loose.folder, tmp_path, format=format, tight=tight.folder))
        ours, theirs = (
            scored(experiment, tmp_path / f"color_net-cam-cells.{suffix}")
            for suffix in ("csv", "txt")
        )
        columns = [name for name in ours.index if "error" in name]
        assert ours[columns].equals(theirs[columns])

    def test_sources_beside_a_model_are_exported_too(self, halos, tmp_path):
        _, loose, tight = halos
        said = list(export_run(loose.folder, tmp_path, format="kaggle", tight=tight.folder))
        assert [text.splitlines()[0].partition(": ")[2] for text in said] == [
            "4 images",
            "4 images",
        ]
        assert (tmp_path / "color_net-center_gaussian.csv").is_file()

    def test_the_tight_rows_are_read_once_a_model(self, halos, tmp_path, monkeypatch):
        _, loose, tight = halos
        read, asked = type(tight.folder).read, []

        def spy(folder, table, *args, **options):
            asked.append((folder.path, table))
            return read(folder, table, *args, **options)

        monkeypatch.setattr(type(tight.folder), "read", spy)
        list(export_run(loose.folder, tmp_path, format="kaggle", tight=tight.folder))
        assert asked.count((tight.folder.path, "rows")) == 1

    @pytest.mark.parametrize(
        ("changes", "difference"),
        [
            ({"limit": 2}, "dataset.n_images: 4 -> 2"),
            ({"methods": ["cam"]}, "sources.center_gaussian"),
            ({"methods": ["grad_cam", "center_gaussian"]}, "methods.cam.source: "),
            ({"part_size": 1}, "n_parts: 1 -> 4"),
            ({"models": "other"}, "models.color_net.weights: "),
        ],
    )
    def test_a_run_of_something_else_is_refused(self, halos, tmp_path, changes, difference):
        experiment, loose, _ = halos
        if "models" in changes:
            changes = {"models": [{**experiment["models"][0], "label": "other"}]}
        other = wsol_bench.run({**experiment, **changes}, out=tmp_path / "other")
        with pytest.raises(RunError, match=rf"(?s)other is not .* rescored:.*{difference}"):
            list(export_run(loose.folder, tmp_path / "out", format="kaggle", tight=other.folder))
        assert not (tmp_path / "out").exists()

    def test_a_run_at_many_thresholds_is_refused(self, halos, tmp_path):
        _, loose, tight = halos
        swept = rescore(loose.folder, "choe-2020-v1", out=tmp_path / "swept").folder
        for run, tighter in ((swept, None), (swept, tight.folder), (loose.folder, swept)):
            with pytest.raises(
                RunError, match="swept was scored by choe-2020-v1, which takes"
            ) as e:
                list(export_run(run, tmp_path / "out", format="kaggle", tight=tighter))
            advice = f"wsol-bench rescore {swept.path} --protocol gradcam-2017"
            assert str(e.value).endswith(advice)
        assert not (tmp_path / "out").exists()

    def test_a_run_at_many_thresholds_is_refused_also_where_a_source_knows_no_image(self, tmp_path):
        """Its first file is of rows without any map."""
        root = write_annotations_only(tmp_path / "root")
        (tmp_path / "none.csv").write_text("ImageId,PredictionString\n")
        none = {"name": "boxes_from", "path": str(tmp_path / "none.csv")}
        config = without_model(root, none, "center_gaussian", protocol="choe-2020-v1")
        run = wsol_bench.run(config, out=tmp_path / "run").folder
        assert set(run.read("rows").groupby("method")["status"].first()) == {"missing", "swept"}
        with pytest.raises(
            RunError, match="takes boxes at many thresholds, not one box of each map"
        ):
            list(export_run(run, tmp_path / "out", format="kaggle"))
        assert not (tmp_path / "out").exists()

    def test_a_run_of_pixels_is_refused(self, halos, tmp_path):
        experiment, loose, _ = halos
        dataset, protocol = write_masks(tmp_path / "masks"), {"name": "choe-2020-pxap"}
        changes = {"dataset": dataset, "protocol": protocol}
        pixels = wsol_bench.run({**experiment, **changes}, out=tmp_path / "pixels").folder
        for run, tighter in ((pixels, None), (loose.folder, pixels)):
            message = "pixels was scored by choe-2020-pxap, which scores pixels: it has no boxes"
            with pytest.raises(RunError, match=message):
                list(export_run(run, tmp_path / "out", format="kaggle", tight=tighter))
        assert not (tmp_path / "out").exists()

    def test_an_unfinished_run_is_refused(self, halos, tmp_path):
        experiment, loose, _ = halos
        other = wsol_bench.run(experiment, out=tmp_path / "other").folder
        other.update(finished=None)
        with pytest.raises(RunError, match="is not finished"):
            list(export_run(loose.folder, tmp_path / "out", format="kaggle", tight=other))


class TestTheCommandThatIsPrinted:
    """Pasted into a shell, it gives the run's own errors."""

    @pytest.mark.parametrize("format", ["devkit", "kaggle"])
    def test_scores_a_limited_run_as_the_run_itself(self, halos, tmp_path, format):
        experiment, _, _ = halos
        out = tmp_path / "it's a run: #1"
        run = wsol_bench.run({**experiment, "limit": 3, "methods": ["cam"]}, out=out)
        said, _ = cli("export", out, "--format", format)
        path, command = said.splitlines()
        assert path.endswith(": 3 images")
        program, *words = shlex.split(command)
        assert program == "wsol-bench"
        [scores] = json.loads(cli(*words, "--json")[0])
        errors = [name for name in scores if re.fullmatch(r"top\d_(cls|loc)_error(_all)?", name)]
        assert len(errors) >= 4
        for name in (*errors, "n_images"):
            assert scores[name] == run.summary[name].iloc[0], name

    def test_is_told_by_score_too_if_the_file_is_of_some_images(self, halos, tmp_path):
        experiment, _, _ = halos
        out = tmp_path / "a run"
        run = wsol_bench.run({**experiment, "limit": 3, "methods": ["cam"]}, out=out)
        cli("export", out, "--format", "devkit")
        root, devkit = (experiment["dataset"][name] for name in ("root", "devkit"))
        file = out / "predictions/color_net-cam-cells.txt"
        given = ("--root", root, "--option", f"devkit={devkit}")
        _, err = cli("score", file, *given, code=1)
        assert "4 in the data set, found 3" in err
        words = shlex.split(err.splitlines()[-1])
        [scores] = json.loads(cli(*words[1:], "--json")[0])
        assert scores["top1_loc_error"] == run.summary["top1_loc_error"].iloc[0]
        moved = file.rename(tmp_path / "moved.txt")
        _, err = cli("score", moved, *given, code=1)
        assert err.splitlines()[-1].endswith(f"--option subset=ids.txt --option devkit={devkit}")
        ids = (out / "predictions/color_net-cam-cells.images.txt").read_text()
        (tmp_path / "ids.txt").write_text(ids)
        words = shlex.split(err.splitlines()[-1])
        [scores] = json.loads(cli(*words[1:], "--json", cwd=tmp_path)[0])
        assert scores["top1_loc_error"] == run.summary["top1_loc_error"].iloc[0]


def test_where_nobody_predicts_classes_there_is_nothing_to_export(halos, tmp_path):
    experiment = {**halos[0], "models": [], "methods": ["center_gaussian"]}
    run = wsol_bench.run(experiment, out=tmp_path / "run").folder
    [said] = export_run(run, tmp_path / "out", format="kaggle")
    assert "no model predicts classes, nothing to export" in said
    assert not (tmp_path / "out").exists()


class TestWithoutAModel:
    def test_a_prediction_file_is_scored_and_exported_as_it_was(self, tmp_path):
        """Some images have no guess, some a guess of no class before that of theirs."""
        root = write_annotations_only(tmp_path / "root")
        lines = ["0 0 0 9 9 2 20 10 179 89", "", "2 0 0 9 9", "0 0 0 19 19"]
        lines += [""] * (len(IMAGES) - len(lines))
        (tmp_path / "given.txt").write_text("\n".join(lines) + "\n")
        given = {"name": "boxes_from", "path": str(tmp_path / "given.txt"), "label": "theirs"}
        experiment = without_model(root, given)
        run = wsol_bench.run(experiment, out=tmp_path / "run").folder
        errors = []
        for format, file in (("devkit", "theirs.txt"), ("kaggle", "theirs.csv")):
            [said] = export_run(run, tmp_path / "out", format=format)
            assert said.startswith(f"{tmp_path / 'out' / file}: {len(IMAGES)} images")
            errors.append(scored(experiment, tmp_path / "out" / file))
        errors.append(scored(experiment, tmp_path / "given.txt"))
        for name in ("top1_cls_error", "top5_cls_error", "top1_loc_error", "top5_loc_error"):
            assert errors[0][name] == errors[1][name] == errors[2][name]
        assert errors[0]["top1_cls_error"] > errors[0]["top5_cls_error"]
        assert (tmp_path / "out/theirs.txt").read_text().splitlines()[1] == ""

    @pytest.mark.parametrize(
        ("label", "file"),
        [("-", "predictions"), ("--help", "help"), ("a b/c", "a_b_c"), ("a-b", "a-b")],
    )
    def test_a_file_is_called_after_what_there_is(self, tmp_path, label, file):
        root = write_annotations_only(tmp_path / "root")
        guesses = f"ImageId,PredictionString\n{image_id(1)},n00000001 0 0 9 9\n"
        (tmp_path / "given.csv").write_text(guesses)
        given = {"name": "boxes_from", "path": str(tmp_path / "given.csv"), "label": label}
        run = wsol_bench.run(without_model(root, given), out=tmp_path / "run").folder
        list(export_run(run, tmp_path / "out", format="kaggle"))
        assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{file}.csv"]


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory):
    """A run with an image id of several lines and a class of two words."""
    folder = tmp_path_factory.mktemp("names")
    shape = {"width": 100, "height": 80, "x0": 10.0, "y0": 10.0, "x1": 90.0, "y1": 70.0}
    rows = [
        {"image": image, "label": label, **shape}
        for image, label in [("a", "cat"), ("b\nc\rd", "golden retriever")]
    ]
    pd.DataFrame(rows).to_parquet(folder / "boxes.parquet")
    dataset = {"name": "table", "path": f"{folder}/boxes.parquet", "convention": "half_open"}
    content = {"name": "names", "dataset": dataset, "methods": ["full_image"]}
    return wsol_bench.run({**content, "protocol": "gradcam-2017"}, out=folder / "run").folder


class TestNamesThatAFormatCannotHold:
    def predict(self, run, monkeypatch, classes):
        """Let the run say that each image is predicted to be of a class."""
        rows = run.read("rows").assign(**{"rank": 1, "class": classes})
        tables = {"rows": rows, "images": run.read("images"), "classes": run.read("classes")}
        monkeypatch.setattr(run, "read", lambda name, **_: tables[name])

    @pytest.mark.parametrize(
        ("format", "classes", "match"),
        [
            ("devkit", ["", ""], r"one id a line, so it cannot hold the image 'b\\nc\\rd'"),
            ("kaggle", ["cat", "golden retriever"], "cannot name the class 'golden retriever'"),
        ],
    )
    def test_are_refused(self, odd_names, tmp_path, monkeypatch, format, classes, match):
        self.predict(odd_names, monkeypatch, classes)
        with pytest.raises(PredictionError, match=match):
            list(export_run(odd_names, tmp_path, format=format))

    def test_are_kept_if_it_can(self, odd_names, tmp_path, monkeypatch):
        self.predict(odd_names, monkeypatch, ["cat", "dog"])
        list(export_run(odd_names, tmp_path, format="kaggle"))
        [path] = tmp_path.iterdir()
        with path.open(newline="") as file:
            assert [line[0] for line in csv.reader(file)] == ["ImageId", "a", "b\nc\rd"]
