"""What a run folder refuses: runs of another identity, and other things."""

import pytest
import torch
from colors import color_net, write_colors
from four_parts import assert_same, experiment, manifest, stopped_after, written

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.runs.differences import differences
from wsol_bench.runs.folder import RunFolder


class TestIdentity:
    def assert_refused(self, experiment, folder, match):
        before, state = written(folder), manifest(folder)
        with pytest.raises(RunError, match=match) as error:
            wsol_bench.run(experiment, out=folder)
        assert "holds another run" in str(error.value)
        assert "out=..." in str(error.value)
        assert "force=True" in str(error.value)
        assert (written(folder), manifest(folder)) == (before, state)

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"batch_size": 2}, r"config\.batch_size: 1 -> 2"),
            ({"limit": 3, "batch_size": 2}, r"config\.limit: None -> 3"),
            ({"part_size": 4}, r"n_parts: 4 -> 1"),
            ({"channels_last": False}, r"config\.channels_last: auto -> False"),
            ({"methods": ["cam"]}, r"config\.methods\.1\.name: grad_cam -> \(nothing\)"),
            ({"protocol": "zhou-2016"}, r"config\.protocol\.name: gradcam-2017 -> zhou-2016"),
            (
                {"protocol": {"name": "gradcam-2017", "box": {"threshold": 0.2}}},
                r"config\.protocol\.box\.threshold: \(nothing\) -> 0\.2",
            ),
        ],
    )
    def test_another_experiment_is_refused_and_told_apart(self, root, run, changes, match):
        self.assert_refused(
            experiment(root, **changes), run, rf"\(in the folder -> now\):(.|\n)*{match}"
        )

    def test_other_contents_of_the_same_weights_file_are_another_run(self, root, tmp_path):
        changed = experiment(root)
        changed["models"][0]["weights"] = str(tmp_path / "weights.pth")
        net = color_net()
        torch.save(net.state_dict(), tmp_path / "weights.pth")
        wsol_bench.run(changed, out=tmp_path / "run")
        wsol_bench.run(changed, out=tmp_path / "run")
        with torch.no_grad():
            net.fc.weight[0, 0] += 1e-6
        torch.save(net.state_dict(), tmp_path / "weights.pth")
        match = r"models\.color_net\.weights: (\w+) -> (?!\1)\w+"
        self.assert_refused(changed, tmp_path / "run", match)

    def test_another_box_of_the_same_data_set_is_another_run(self, tmp_path):
        root = write_colors(tmp_path / "root")
        wsol_bench.run(experiment(root), out=tmp_path / "run")
        annotation = next(root.glob("ILSVRC/Annotations/CLS-LOC/val/*1.xml"))
        annotation.write_text(annotation.read_text().replace("<xmin>64<", "<xmin>65<"))
        match = r"dataset\.fingerprint: (\w+) -> (?!\1)\w+"
        self.assert_refused(experiment(root), tmp_path / "run", match)

    def test_another_shard_is_another_run(self, root, tmp_path):
        wsol_bench.run(experiment(root), out=tmp_path / "run", shard="1/2")
        assert RunFolder(tmp_path / "run").parts() == [0, 2]
        with pytest.raises(RunError, match=r"shard: 1/2 -> 2/2"):
            wsol_bench.run(experiment(root), out=tmp_path / "run", shard="2/2")
        with pytest.raises(RunError, match=r"shard: 1/2 -> None"):
            wsol_bench.run(experiment(root), out=tmp_path / "run")

    def test_workers_and_what_becomes_of_bad_images_may_change(self, root, sound, tmp_path):
        stopped_after(2, root, tmp_path / "run")
        changed = experiment(root, workers=1, strict=True, max_failed=0.5)
        results = wsol_bench.run(changed, out=tmp_path / "run")
        assert results.n_before == 2
        assert_same(results, sound)

    @pytest.mark.parametrize("force", [False, True])
    def test_a_folder_of_something_else_is_refused_also_by_force(self, root, tmp_path, force):
        for name in ("images", "rows"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "holiday.jpg").write_text("precious")
        with pytest.raises(RunError, match="not empty"):
            wsol_bench.run(experiment(root), out=tmp_path, force=force)
        assert sorted(path.name for path in tmp_path.rglob("*")) == [
            "holiday.jpg", "holiday.jpg", "images", "rows",
        ]  # fmt: skip

    def test_differences_are_leaves_with_both_values(self):
        before = {"a": {"b": 1, "c": [1, 2]}, "d": {}, "e": None}
        assert differences(before, {"a": {"b": 1, "c": (1, 2)}, "d": {}, "e": None}) == []
        assert differences(before, {"a": {"b": "1", "c": [1, 3, 4]}, "d": {"x": 0}}) == [
            "a.b: 1 -> 1",
            "a.c.1: 2 -> 3",
            "d: {} -> (nothing)",
            "e: None -> (nothing)",
            "a.c.2: (nothing) -> 4",
            "d.x: (nothing) -> 0",
        ]
