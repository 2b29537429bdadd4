"""What becomes of a run whose images cannot be evaluated."""

import numpy as np
import pandas as pd
import pytest
from colors import write_colors
from four_parts import TABLES, StopsAfter, experiment, manifest, stopped_after, written
from timeless import timeless

import wsol_bench
from wsol_bench.errors import DatasetError, RunError
from wsol_bench.runs.engines.local import LocalEngine
from wsol_bench.runs.folder import RunFolder


class TestImagesThatFail:
    @pytest.fixture
    def world(self, tmp_path):
        return write_colors(tmp_path / "root")

    def file(self, world, number):
        [path] = world.glob(f"ILSVRC/Data/CLS-LOC/val/*{number}.JPEG")
        return path

    def truncate(self, world, *numbers):
        """Cut the ends off some images, which keep their headers; what they were."""
        paths = [self.file(world, number) for number in numbers]
        contents = {path: path.read_bytes() for path in paths}
        for path, content in contents.items():
            path.write_bytes(content[:-40])
        return contents

    def mend(self, contents):
        for path, content in contents.items():
            path.write_bytes(content)

    def assert_same_numbers(self, results, sound):
        """But for the files' paths: the sound run lies elsewhere."""
        for table in TABLES:
            found, expected = timeless(getattr(results, table)), timeless(getattr(sound, table))
            if table == "images":
                found, expected = found.drop(columns="path"), expected.drop(columns="path")
            pd.testing.assert_frame_equal(found, expected, check_exact=True)

    def test_are_an_error_at_the_end_where_they_are_too_many_and_nothing_is_lost(
        self, world, tmp_path
    ):
        self.truncate(world, 3)
        match = r"1 of 4 images could not be evaluated.*\(0\.2\).*ILSVRC2012_val_00000003: "
        with pytest.raises(RunError, match=match):
            wsol_bench.run(experiment(world, max_failed=0.2), out=tmp_path / "run")
        folder = RunFolder(tmp_path / "run")
        assert folder.read("images")["status"].tolist() == [
            "evaluated", "evaluated", "unreadable", "evaluated",
        ]  # fmt: skip
        assert folder.read("rows")["image_id"].nunique() == 3
        assert folder.manifest.finished is None
        assert not (tmp_path / "run/tables").exists()

    def test_as_many_as_max_failed_are_no_error(self, world, tmp_path):
        self.truncate(world, 3)
        results = wsol_bench.run(experiment(world, max_failed=0.25), out=tmp_path / "run")
        assert set(results.summary["n_skipped"]) == {1}

    def test_are_evaluated_again_when_their_files_are_mended(self, world, sound, tmp_path):
        contents = self.truncate(world, 2, 3)
        with pytest.raises(RunError, match="2 of 4 images"):
            wsol_bench.run(experiment(world, max_failed=0), out=tmp_path / "run")
        before = written(tmp_path / "run")
        self.mend(dict([contents.popitem()]))
        with pytest.raises(RunError, match="1 of 4 images"):
            wsol_bench.run(experiment(world, max_failed=0), out=tmp_path / "run")
        self.mend(contents)
        engine = StopsAfter()
        results = wsol_bench.run(
            experiment(world, max_failed=0), out=tmp_path / "run", engine=engine
        )
        assert engine.part_numbers == [1]
        assert results.n_before == 3
        after = written(tmp_path / "run")
        for number in (0, 3):
            assert before[f"rows/00000{number}.parquet"] == after[f"rows/00000{number}.parquet"]
        assert manifest(tmp_path / "run")["finished"]
        self.assert_same_numbers(results, sound)

    def test_are_evaluated_again_also_where_the_second_try_is_killed(self, world, sound, tmp_path):
        contents = self.truncate(world, 2, 3)
        with pytest.raises(RunError):
            wsol_bench.run(experiment(world, max_failed=0), out=tmp_path / "run")
        self.mend(contents)
        stopped_after(1, world, tmp_path / "run", max_failed=0)
        results = wsol_bench.run(experiment(world, max_failed=0), out=tmp_path / "run")
        assert results.n_before == 3
        self.assert_same_numbers(results, sound)

    def test_may_be_allowed_afterwards(self, world, tmp_path):
        self.truncate(world, 3)
        with pytest.raises(RunError):
            wsol_bench.run(experiment(world, max_failed=0), out=tmp_path / "run")
        results = wsol_bench.run(experiment(world, max_failed=0.5), out=tmp_path / "run")
        assert set(results.summary["n_images"]) == {3}
        assert manifest(tmp_path / "run")["failed"] is None

    def test_all_of_them_are_an_error_and_can_be_mended_whatever_may_fail(
        self, world, sound, tmp_path
    ):
        contents = self.truncate(world, 1, 2, 3, 4)
        with pytest.raises(DatasetError, match=r"no image could be evaluated \(4 unreadable\)"):
            wsol_bench.run(experiment(world, max_failed=1), out=tmp_path / "run")
        self.mend(contents)
        results = wsol_bench.run(experiment(world, max_failed=1), out=tmp_path / "run")
        self.assert_same_numbers(results, sound)

    def test_stop_a_strict_run_at_once(self, world, sound, tmp_path):
        contents = self.truncate(world, 2)
        match = "ILSVRC2012_val_00000002 cannot be evaluated by color_net: .*cannot be decoded"
        with pytest.raises(DatasetError, match=match):
            wsol_bench.run(experiment(world, strict=True), out=tmp_path / "run")
        assert RunFolder(tmp_path / "run").parts() == [0]
        self.mend(contents)
        results = wsol_bench.run(experiment(world), out=tmp_path / "run")
        assert results.n_before == 1
        self.assert_same_numbers(results, sound)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_one_whose_file_goes_while_the_run_goes_on_is_unreadable(self, world, sound, workers):
        gone = self.file(world, 4)

        class Deleting(LocalEngine):
            def evaluate(self, experiment, parts, advance):
                gone.unlink()
                return super().evaluate(experiment, parts, advance)

        results = wsol_bench.run(experiment(world, workers=workers), engine=Deleting())
        assert results.images["status"].tolist() == ["evaluated"] * 3 + ["unreadable"]
        assert str(gone) in results.images["reason"].iloc[3]
        assert np.isnan(results.images["label_score"].iloc[3])
        three = sound.rows[sound.rows["image_id"].isin(results.images["image_id"][:3])]
        pd.testing.assert_frame_equal(results.rows, three, check_exact=True)
