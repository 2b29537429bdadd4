"""Prediction files that are written: they read back as they were, or are refused."""

import numpy as np
import pandas as pd
import pytest
from three_images import dataset

from wsol_bench.errors import PredictionError
from wsol_bench.methods.imported.prediction_files import read_predictions, score_predictions
from wsol_bench.methods.imported.written_predictions import write_image_list, write_predictions


class TestWriting:
    ROWS = pd.DataFrame(
        {
            "image_id": ["a_1", "a_1", "a_2", "a_3", "a_3"],
            "rank": [2, 1, 1, 1, 17],
            "class": ["n00000001", "n00000002", "n00000002", "n00000001", "n00000001"],
            "x0": [0.1, 5.0, np.nan, 50.0, 0.0],
            "y0": [0.2, 5.0, np.nan, 50.0, 0.0],
            "x1": [9.7, 8.0, np.nan, 60.0, 1.0],
            "y1": [9.9, 8.0, np.nan, 60.0, 1.0],
        }
    )

    def write(self, path, format, status="evaluated"):
        data = dataset()
        images = data.images.assign(status=status)
        evaluated = images.loc[images["status"] == "evaluated", "image_id"]
        rows = self.ROWS[self.ROWS["image_id"].isin(evaluated)]
        write_predictions(path, rows, images, data.classes, format=format)
        return data

    @pytest.mark.parametrize("format", ["devkit", "kaggle"])
    def test_a_written_file_reads_back(self, tmp_path, format):
        data = self.write(tmp_path / "p", format)
        table = read_predictions(tmp_path / "p", data).table.sort_values(["image_id", "rank"])
        first = table[table["image_id"] == "a_1"]
        assert first["class"].tolist() == ["n00000002", "n00000001"]
        boxes = first[["x0", "y0", "x1", "y1"]].to_numpy()
        assert np.abs(boxes - [[5, 5, 8, 8], [0.1, 0.2, 9.7, 9.9]]).max() < 1e-12
        assert len(table) == 4  # the row of rank 17 is no prediction

    def test_a_prediction_without_a_box_keeps_its_class_and_overlaps_nothing(self, tmp_path):
        data = self.write(tmp_path / "p", "devkit")
        assert (tmp_path / "p").read_text().splitlines()[1] == "9 0 0 -1 -1"
        line = score_predictions(read_predictions(tmp_path / "p", data), data, name="p").iloc[0]
        assert line["top1_cls_error"] == pytest.approx(1 / 3)
        assert line["top1_loc_error"] == pytest.approx(2 / 3)

    def test_a_class_without_an_id_is_an_error_only_in_devkit_format(self, tmp_path):
        data = dataset()
        images, rows = data.images.assign(status="evaluated"), self.ROWS.assign(**{"class": "n9"})
        write_predictions(tmp_path / "p", rows, images, data.classes, format="kaggle")
        assert "n9 5.0 5.0 7.0 7.0" in (tmp_path / "p").read_text()
        with pytest.raises(PredictionError, match="held no ID for n9"):
            write_predictions(tmp_path / "p", rows, images, data.classes, format="devkit")

    def test_an_image_id_with_a_comma_reads_back(self, tmp_path):
        data = dataset(ids=("a,1", "a_2", "a_3"))
        rows = self.ROWS.replace({"a_1": "a,1"})
        images = data.images.assign(status="evaluated")
        write_predictions(tmp_path / "p", rows, images, data.classes, format="kaggle")
        assert set(read_predictions(tmp_path / "p", data).table["image_id"]) == {
            "a,1",
            "a_2",
            "a_3",
        }

    def test_images_that_were_not_evaluated_are_not_written(self, tmp_path):
        self.write(tmp_path / "p", "kaggle", status=["evaluated", "unreadable", "evaluated"])
        lines = (tmp_path / "p").read_text().splitlines()
        assert [line.partition(",")[0] for line in lines] == ["ImageId", "a_1", "a_3"]

    def test_a_row_without_a_rank_is_no_prediction(self, tmp_path):
        data = dataset()
        images, rows = data.images.assign(status="evaluated"), self.ROWS.assign(rank=0)
        write_predictions(tmp_path / "p", rows, images, data.classes, format="kaggle")
        assert (tmp_path / "p").read_text().splitlines()[1:] == ["a_1,", "a_2,", "a_3,"]

    @pytest.mark.parametrize("format", ["devkit", "kaggle"])
    @pytest.mark.parametrize("without", ["a_1", "a_3"])
    def test_an_image_without_a_prediction_reads_back(self, tmp_path, format, without):
        """Such an image has one row, of no class and without a box."""
        data = dataset()
        rows = self.ROWS[self.ROWS["image_id"] != without]
        none = pd.DataFrame([{"image_id": without, "rank": 1, "class": ""}])
        images = data.images.assign(status="evaluated")
        rows = pd.concat([none, rows], ignore_index=True)
        write_predictions(tmp_path / "p", rows, images, data.classes, format=format)
        predictions = read_predictions(tmp_path / "p", data)
        assert predictions.image_ids == ("a_1", "a_2", "a_3")
        assert set(predictions.table["image_id"]) == {"a_1", "a_2", "a_3"} - {without}
        first = (tmp_path / "p").read_text().splitlines()
        assert (f"{without}," if format == "kaggle" else "") in first

    @pytest.mark.parametrize("format", ["devkit", "kaggle"])
    def test_a_file_without_any_prediction_reads_back(self, tmp_path, format):
        data = dataset()
        images, rows = data.images.assign(status="evaluated"), self.ROWS.assign(**{"class": ""})
        for written in (rows, rows[:0]):
            write_predictions(tmp_path / "p", written, images, data.classes, format=format)
            predictions = read_predictions(tmp_path / "p", data)
            assert len(predictions.table) == 0
            assert len(predictions.image_ids) == 3

    @pytest.mark.parametrize("format", ["devkit", "kaggle"])
    def test_a_label_of_no_class_keeps_the_ranks_of_later_predictions(self, tmp_path, format):
        data = dataset()
        text = "0 0 0 9 9 7 0 0 9 9 0 1 1 2 2\n1001 20 20 29 29\n7 0 0 9 9 0 5 5 6 6\n"
        (tmp_path / "original").write_text(text)
        original = read_predictions(tmp_path / "original", data)
        images = data.images.assign(status="evaluated")
        write_predictions(tmp_path / "p", original.table, images, data.classes, format=format)
        written = read_predictions(tmp_path / "p", data)
        table = written.table
        of_class = table[table["class"].isin(data.classes["wnid"])]
        assert of_class[["image_id", "rank"]].to_numpy().tolist() == [["a_1", 2], ["a_3", 1]]
        assert len(table) == 4  # nothing stands behind an image's last class
        before, after = (score_predictions(each, data, name="p") for each in (original, written))
        pd.testing.assert_frame_equal(before, after)
        assert after["top1_cls_error"].iloc[0] == pytest.approx(2 / 3)

    @pytest.mark.parametrize("format", ["devkit", "kaggle"])
    def test_a_rank_without_a_row_keeps_its_place(self, tmp_path, format):
        """A method that makes only the label's map has no other rows."""
        data = dataset()
        images = data.images.assign(status="evaluated")
        rows = self.ROWS[self.ROWS["class"] == "n00000001"]
        write_predictions(tmp_path / "p", rows, images, data.classes, format=format)
        table = read_predictions(tmp_path / "p", data).table
        of_class = table[table["class"] == "n00000001"]
        assert of_class[["image_id", "rank"]].to_numpy().tolist() == [["a_1", 2], ["a_3", 1]]

    def test_kaggle_names_no_class_with_blanks(self, tmp_path):
        """They would be read as several values."""
        data = dataset()
        rows = self.ROWS.assign(**{"class": "tree frog"})
        images = data.images.assign(status="evaluated")
        with pytest.raises(PredictionError, match="cannot name the class 'tree frog'; rename"):
            write_predictions(tmp_path / "p", rows, images, data.classes, format="kaggle")
        assert not (tmp_path / "p").exists()

    def test_a_list_of_images_holds_no_id_of_several_lines(self, tmp_path):
        with pytest.raises(PredictionError, match="cannot hold the image"):
            write_image_list(tmp_path / "p.txt", pd.Series(["a", "b\nc"]))
        assert write_image_list(tmp_path / "p.txt", pd.Series(["a", "b"])).read_text() == "a\nb\n"
