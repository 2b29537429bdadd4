"""The doctor stops where a run would, with the same checks, and speaks only of what is there."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from annotations_only import image_id, without_model, write_annotations_only
from colors import color_experiment

import wsol_bench
from wsol_bench.errors import ConfigError, DatasetError, RunError, WsolBenchError
from wsol_bench.runs.doctor import _failed_lines, diagnose
from wsol_bench.runs.experiment import Experiment


def lines_of(experiment):
    return list(diagnose(wsol_bench.load_config(experiment)))


def assert_stops_where_a_run_does(experiment, error, match):
    """The doctor raises the error that a run raises, or says the same of the images beforehand."""
    with pytest.raises(error, match=match):
        lines_of(experiment)
    with pytest.raises(WsolBenchError):
        wsol_bench.run(experiment)


class TestStops:
    def test_where_no_image_has_a_size(self, tmp_path):
        root = write_annotations_only(tmp_path / "root", sizes=False)
        experiment = without_model(root, "center_gaussian")
        assert_stops_where_a_run_does(
            experiment, DatasetError, r"^7 of 7 images cannot be evaluated, .*tells their size"
        )
        with pytest.raises(RunError, match=r"^7 of 7 images could not be evaluated"):
            wsol_bench.run(experiment)

    @pytest.mark.parametrize(("max_failed", "stops"), [(0.2, False), (0.1, True)])
    def test_where_more_images_lack_one_than_may_fail(self, tmp_path, max_failed, stops):
        root = write_annotations_only(tmp_path / "root")
        sizes = root / "image_sizes.csv"
        kept = [line for line in sizes.read_text().splitlines() if image_id(3) not in line]
        sizes.write_text("\n".join(kept) + "\n")
        experiment = without_model(root, "center_gaussian", max_failed=max_failed)
        if stops:
            assert_stops_where_a_run_does(experiment, DatasetError, rf"^1 of 7.* {image_id(3)}$")
        else:
            wsol_bench.run(experiment)
            assert lines_of(experiment)[-1].startswith("1 of 7 images cannot be evaluated: ")

    def test_only_for_images_within_the_limit(self, tmp_path):
        root = write_annotations_only(tmp_path / "root")
        sizes = root / "image_sizes.csv"
        sizes.write_text("\n".join(sizes.read_text().splitlines()[:4]) + "\n")
        wsol_bench.run(without_model(root, "center_gaussian", limit=3))
        lines_of(without_model(root, "center_gaussian", limit=3))
        assert_stops_where_a_run_does(
            without_model(root, "center_gaussian", limit=4), DatasetError, "^1 of 4"
        )

    def test_where_a_protocol_of_pixels_finds_no_masks(self, tmp_path):
        root = write_annotations_only(tmp_path / "root")
        experiment = without_model(root, "center_gaussian", protocol="choe-2020-pxap")
        assert_stops_where_a_run_does(experiment, DatasetError, "imagenet has no masks")

    def test_where_there_is_no_box(self, tmp_path):
        images = [((100, 200), 0, []), ((100, 200), 1, [])]
        root = write_annotations_only(tmp_path / "root", images=images)
        (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n")
        experiment = without_model(root, "center_gaussian")
        with pytest.raises(WsolBenchError) as of_run:
            wsol_bench.run(experiment)
        with pytest.raises(type(of_run.value)) as of_doctor:
            lines_of(experiment)
        assert str(of_doctor.value) == str(of_run.value)

    def test_where_a_network_finds_no_pixels(self, tmp_path):
        root = write_annotations_only(tmp_path / "root")
        experiment = without_model(root, "center_gaussian", models=["resnet50"])
        assert_stops_where_a_run_does(experiment, DatasetError, "expected image files, found none")

    def test_where_half_of_the_images_have_no_pixels(self, root):
        experiment = Experiment.resolve(
            wsol_bench.load_config(color_experiment(root, max_failed=0.1))
        )
        images = experiment.dataset.images.copy()
        images.loc[[1, 3], "path"] = ""
        lacking = replace(experiment, dataset=replace(experiment.dataset, images=images))
        everywhere = pd.Series([True] * 4)
        second = images["image_id"][1]
        with pytest.raises(DatasetError, match=f"^2 of 4 images .*holds no pixels.* {second}$"):
            list(_failed_lines(lacking, [everywhere]))
        # Images of classes that no model knows are not tried.
        assert list(_failed_lines(lacking, [everywhere & (images["path"] != "")])) == []

    def test_where_a_model_knows_no_class(self, root, tmp_path):
        (tmp_path / "classes.txt").write_text("n7\nn8\nn9\n")
        experiment = color_experiment(root)
        experiment["models"][0]["classes"] = str(tmp_path / "classes.txt")
        assert_stops_where_a_run_does(experiment, DatasetError, "^none of 4 images can be eval")

    def test_where_a_metric_does_not_fit(self, root):
        experiment = color_experiment(root, metrics=["insertion"])
        with pytest.raises(ConfigError) as of_run:
            wsol_bench.run(experiment)
        with pytest.raises(ConfigError) as of_doctor:
            lines_of(experiment)
        assert str(of_doctor.value) == str(of_run.value)

    def test_where_there_is_no_such_device(self, root):
        assert_stops_where_a_run_does(
            color_experiment(root, device="cuda:99"), ConfigError, "device 'cuda:99'"
        )


class TestSpeaksOfTheDevkit:
    def test_where_the_data_set_is_imagenet(self, root):
        text = "\n".join(lines_of(color_experiment(root)))
        assert "blacklisted: none known (a blacklist comes with a devkit)" in text
        assert "give 'devkit: DIR'" in text

    def test_where_one_was_read(self, tmp_path):
        root = write_annotations_only(tmp_path / "root")
        text = "\n".join(lines_of(without_model(root, "center_gaussian")))
        assert "blacklisted: 1\n" in text
        assert "classes with an ILSVRC2012_ID: 2\n" in text

    def test_nowhere_else(self, tmp_path):
        rows = ["image,label,width,height,x0,y0,x1,y1", "a,cat,100,80,10,10,90,70"]
        (tmp_path / "boxes.csv").write_text("\n".join(rows) + "\n")
        dataset = {"name": "table", "path": str(tmp_path / "boxes.csv"), "convention": "half_open"}
        experiment = without_model(tmp_path, "full_image", dataset=dataset)
        text = "\n".join(lines_of(experiment))
        assert "1 images of 1 classes" in text
        for word in ("devkit", "blacklist", "ILSVRC"):
            assert word not in text


MEMORY = """
import json, re, sys
from pathlib import Path
from wsol_bench.cli import main
sys.argv = ["wsol-bench", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    code = end.code or 0
else:
    code = 0
# The peak of this program; that of getrusage may be that of the process it was forked from.
[kilobytes] = re.findall("VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())
print(json.dumps([code, int(kilobytes) / 1024, "torch" in sys.modules]), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(("method", "code"), [("center_gaussian", 0), ("grad_cam", 1)])
def test_without_a_model_it_takes_little_memory_and_no_torch(tmp_path, method, code):
    """With torch it takes 0.9 GB, even to say that a map method needs a model."""
    root = write_annotations_only(tmp_path / "root")
    (tmp_path / "e.yaml").write_text(json.dumps(without_model(root, method)))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, "doctor", str(tmp_path / "e.yaml")],
        capture_output=True, text=True,
    )  # fmt: skip
    returned, megabytes, has_torch = json.loads(done.stderr.splitlines()[-1])
    assert (returned, has_torch) == (code, False)
    assert megabytes < 400
