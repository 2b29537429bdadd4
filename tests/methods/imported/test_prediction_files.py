import os

import pytest
from three_images import dataset

from wsol_bench.errors import PredictionError
from wsol_bench.methods.imported.boxes_from import boxes_from
from wsol_bench.methods.imported.prediction_files import (
    read_predictions,
    score_predictions,
)

BOXES = ["x0", "y0", "x1", "y1"]


def score(tmp_path, text, data=None):
    path = tmp_path / "predictions.txt"
    path.write_text(text)
    data = data or dataset()
    return score_predictions(read_predictions(path, data), data, name="p").iloc[0]


class TestDevkitFormat:
    def test_line_i_is_image_i_and_labels_are_ids(self, tmp_path):
        line = score(tmp_path, "7 0 0 9 9\n7 20 20 29 29 9 20 20 29 29\n7 50 50 59 59\n")
        assert line["top1_cls_error"] == line["top1_loc_error"] == pytest.approx(1 / 3)
        assert line["top5_cls_error"] == line["top5_loc_error"] == 0
        assert line["gt_known_loc_error"] == 0  # every image has a guess of its class

    def test_labels_0_and_1001_and_a_sixth_prediction_are_read_and_wrong(self, tmp_path):
        sixth = " ".join(["9 0 0 9 9"] * 5 + ["7 0 0 9 9"])
        line = score(tmp_path, f"0 0 0 9 9\n1001 20 20 29 29\n{sixth}\n")
        assert line["top5_cls_error"] == line["top5_loc_error"] == 1

    def test_inverted_outside_and_not_finite_boxes_are_read_and_miss(self, tmp_path):
        line = score(tmp_path, "7 9 9 0 0\n9 -500 -500 -400 9999\n7 nan 0 inf 9\n")
        assert line["top1_cls_error"] == 0
        assert line["top1_loc_error"] == 1

    @pytest.mark.parametrize("corners", ["0.1 0.2 0.5 0.9", "0 0 1.0000001 1", "0 0 1 1"])
    def test_shares_of_the_image_are_no_pixels(self, tmp_path, corners):
        line = f"7 {corners}\n"
        with pytest.raises(PredictionError, match=r"predictions\.txt: .* found shares of their"):
            score(tmp_path, f"{line}\n{line}")
        assert score(tmp_path, f"{line}\n7 0 0 9 9\n")["top1_loc_error"] == pytest.approx(2 / 3)

    @pytest.mark.parametrize("corners", ["0 0 -1 -1", "0 0 0 0", "nan 0 0.5 1"])
    def test_boxes_without_a_pixel_are_no_shares(self, tmp_path, corners):
        assert score(tmp_path, f"7 {corners}\n\n\n")["top1_loc_error"] == 1

    @pytest.mark.parametrize("corners", ["0.4,0.4,2.4,2.4", "0,0,2,2"])
    def test_small_half_open_boxes_are_no_shares(self, tmp_path, corners):
        """Also where a corner less one, the last pixel, would be small enough for a share."""
        (tmp_path / "p.csv").write_text(f"image_id,x0,y0,x1,y1\na_1,{corners}\n")
        [found] = read_predictions(tmp_path / "p.csv", dataset()).table[BOXES].to_numpy().tolist()
        assert found == [float(corner) for corner in corners.split(",")]

    @pytest.mark.parametrize("corners", ["0.1,0.2,0.5,0.9", "0,0,1,1"])
    def test_half_open_shares_are_no_pixels(self, tmp_path, corners):
        (tmp_path / "p.csv").write_text(f"image_id,x0,y0,x1,y1\na_1,{corners}\n")
        largest = corners.rpartition(",")[2]
        with pytest.raises(PredictionError, match=f"no coordinate is above {largest}; multiply"):
            read_predictions(tmp_path / "p.csv", dataset())

    def test_an_empty_line_in_the_middle_is_an_image_without_a_prediction(self, tmp_path):
        assert score(tmp_path, "7 0 0 9 9\n\n7 0 0 9 9\n")["top5_cls_error"] == pytest.approx(1 / 3)

    def test_an_empty_line_at_the_end_may_be_the_last_image_or_none(self, tmp_path):
        assert score(tmp_path, "7 0 0 9 9\n9 20 20 29 29\n\n")["top5_cls_error"] == 1 / 3
        full = "7 0 0 9 9\n9 20 20 29 29\n7 0 0 9 9\n"
        assert score(tmp_path, full + "\n\n")["top5_cls_error"] == 0

    def test_a_byte_order_mark_and_windows_line_ends_are_ignored(self, tmp_path):
        text = "\ufeff7 0 0 9 9\r\n9 20 20 29 29\r\n7 0 0 9 9\r\n"
        assert score(tmp_path, text)["top1_loc_error"] == 0

    def test_numbers_may_be_written_as_matlab_writes_them(self, tmp_path):
        assert (
            score(tmp_path, "7e0 0.0 0 9.0 9\n9 20 20 2.9e1 29\n7 0 0 9 9\n")["top1_loc_error"] == 0
        )

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("7 0 0 9 9\n", "expected one line for each image, 3 in the data set, found 1"),
            ("7 0 0 9\n9 0 0 9 9\n7 0 0 9 9\n", r":1: expected groups of 5 .* found 4 fields"),
            ("7 0 0 9 9\nx 0 0 9 9\n7 0 0 9 9\n", r":2: expected an ILSVRC2012_ID and 4 numbers"),
            ("7 0 0 9 9\n9 0 0 ? 9\n7 0 0 9 9\n", r":2: .* found '9 0 0 \? 9'"),
        ],
    )
    def test_a_malformed_file_is_an_error_with_line_expected_and_found(
        self, tmp_path, text, message
    ):
        with pytest.raises(PredictionError, match=message):
            score(tmp_path, text)

    def test_a_root_without_ids_says_how_to_point_at_a_devkit(self, tmp_path):
        with pytest.raises(PredictionError, match="devkit=DIR"):
            score(tmp_path, "7 0 0 9 9\n", dataset(ilsvrc_ids=(0, 0)))


class TestKaggleFormat:
    HEADER = "ImageId,PredictionString\n"

    def test_images_may_be_any_subset_in_any_order(self, tmp_path):
        text = "a_3,n00000001 50 50 59 59\na_1,n00000002 0 0 9 9 n00000001 0 0 9 9 \n"
        line = score(tmp_path, self.HEADER + text)
        assert (line["n_images"], line["n_skipped"]) == (2, 1)
        assert line["top1_cls_error"] == line["top1_loc_error"] == 0.5
        assert line["top5_loc_error"] == 0

    def test_any_of_several_boxes_may_match(self, tmp_path):
        text = "a_3,n00000001 0 0 9 9\n"
        assert score(tmp_path, self.HEADER + text)["top1_loc_error"] == 0

    def test_the_best_overlap_is_with_boxes_of_the_same_image(self, tmp_path):
        text = "a_1,n00000001 50 50 59 59\na_2,n00000002 0 0 9 9\n"
        assert score(tmp_path, self.HEADER + text)["top1_loc_error"] == 1

    def test_quotes_and_a_byte_order_mark_are_read(self, tmp_path):
        text = '"ImageId","PredictionString"\n"a_1","n00000001 0 0 9 9"\n'
        assert score(tmp_path, text)["top1_loc_error"] == 0
        assert score(tmp_path, "\ufeff" + text)["n_images"] == 1

    def test_images_without_a_prediction_are_wrong_also_if_no_image_has_one(self, tmp_path):
        line = score(tmp_path, self.HEADER + "a_1,\na_2,\n")
        assert line["n_images"] == 2
        assert line["top5_cls_error"] == line["top5_loc_error"] == 1

    def test_gt_known_counts_the_first_of_two_predictions_of_the_label(self, tmp_path):
        text = "a_1,n00000001 50 50 59 59 n00000001 0 0 9 9\n"
        line = score(tmp_path, self.HEADER + text)
        assert line["top5_loc_error"] == 0
        assert line["gt_known_loc_error"] == 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (HEADER + "a_1," + "9" * 200_000 + "\n", "field larger than field limit"),
            ("Id,Box\n", "expected the header ImageId,PredictionString, found 'Id,Box'"),
            (HEADER + "a_9,n00000001 0 0 9 9\n", ":2: image 'a_9' is not in data set three"),
            (HEADER + "a_1,\na_1,\n", ":3: image 'a_1' has two lines"),
            (HEADER + "a_1,n1 0 0 9\n", ":2: expected groups of 5"),
            (HEADER + "a_1,x,y\n", ":2: expected 2 columns, found 3"),
            (HEADER, "no image is predicted"),
        ],
    )
    def test_a_malformed_file_is_an_error_with_line_expected_and_found(
        self, tmp_path, text, message
    ):
        path = tmp_path / "p.csv"
        path.write_text(text)
        with pytest.raises(PredictionError, match=message):
            predictions = read_predictions(path, dataset(), format="kaggle")
            score_predictions(predictions, dataset(), name="p")


class TestBoxesFormat:
    """Each line is the one class-agnostic box of an image."""

    HEADER = "image_id,x0,y0,x1,y1\n"

    def read(self, tmp_path, text, **options):
        path = tmp_path / "p.csv"
        path.write_text(text)
        return read_predictions(path, dataset(), **options)

    @pytest.mark.parametrize(
        ("header", "line"),
        [
            ("image_id,xmin,ymin,xmax,ymax", "a_3,50,50,59,59"),
            ("image_id,x0,y0,x1,y1", "a_3,50,50,60,60"),
            ('"image_id", x0 ,"y0","x1","y1"', '" a_3 ",5e1,50.0,60,60'),
            ("\ufeffimage_id,xmin,ymin,xmax,ymax", "a_3,50,50,59,59\r\n"),
        ],
    )
    def test_the_header_says_whether_the_last_pixel_is_meant(self, tmp_path, header, line):
        predictions = self.read(tmp_path, f"{header}\n{line}\n")
        table = predictions.table
        [row] = table.to_dict(orient="records")
        assert (row["image_id"], row["rank"], row["class"]) == ("a_3", 0, "")
        assert table[["x0", "y0", "x1", "y1"]].to_numpy().tolist() == [[50, 50, 60, 60]]
        assert (predictions.image_ids, predictions.ranked) == (("a_3",), False)

    def test_images_are_in_the_order_of_the_file(self, tmp_path):
        predictions = self.read(tmp_path, self.HEADER + "a_3,0,0,1,1\n\na_1,0,0,2,2\n")
        assert predictions.table["image_id"].tolist() == [*predictions.image_ids] == ["a_3", "a_1"]
        assert predictions.table["x1"].tolist() == [1, 2]

    def test_any_finite_box_is_read_unchanged(self, tmp_path):
        text = self.HEADER + "a_1,9,9,0,0\na_2,-500,1e300,-400.25,9999\n"
        table = self.read(tmp_path, text).table
        boxes = table[["x0", "y0", "x1", "y1"]].to_numpy().tolist()
        assert boxes == [[9, 9, 0, 0], [-500, 1e300, -400.25, 9999]]

    def test_files_of_predictions_are_ranked(self, tmp_path):
        assert self.read(tmp_path, "ImageId,PredictionString\na_1,\n").ranked
        assert self.read(tmp_path, "\n\n\n").ranked

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "image_id,x,y,w,h\n",
                r"p\.csv:1: expected the header image_id,xmin,.* or image",
            ),
            ("image_id,x0,y0,x1\n", r":1: expected the header .*found image_id,x0,y0,x1$"),
            (HEADER + "a_1,0,0,9\n", r":2: expected 5 columns, found 4"),
            (HEADER + "a_1,0,0,9,9\na_9,0,0,9,9\n", r":3: image 'a_9' is not in data set three"),
            (HEADER + "a_1,0,0,9,9\n\na_2,0,0,?,9\n", r":4: expected 4 numbers, found .*'\?'"),
            (HEADER + "a_1,,,,\n", r":2: expected 4 numbers"),
            (HEADER + "a_1,0,0,9,9\n\na_1,0,0,9,9\n", r"p\.csv:4: image 'a_1' has two lines"),
            (HEADER + "a_1,0,0,nan,5\n", r"p\.csv:2: expected 4 finite numbers, found .*'nan'"),
            (HEADER + "a_1,-inf,0,9,9\n", r":2: expected 4 finite numbers, found .*'-inf'"),
            (HEADER + "a_2,0,0,9,9\na_1,0,0,9,1e999\n", r":3: expected 4 finite numbers"),
        ],
    )
    def test_a_malformed_file_is_an_error_with_line_expected_and_found(
        self, tmp_path, text, message
    ):
        with pytest.raises(PredictionError, match=message):
            self.read(tmp_path, text, format="boxes")


class TestLongFiles:
    """A file is read line by line: what is wrong is said at once, whatever follows."""

    @pytest.mark.parametrize(
        ("begin", "message"),
        [
            (
                "ImageId,PredictionString\nb_1,n1 0 0 9 9\n",
                ":2: image 'b_1' is not in data set three",
            ),
            ("image_id,x0,y0,x1,y1\nb_1,0,0,9,9\n", ":2: image 'b_1' is not in"),
            ("image_id,x0,y0,x1,y2\n", ":1: expected the header"),
            ("some words\n", "this is no prediction file"),
        ],
    )
    def test_a_wrong_line_is_an_error_before_the_rest_is_read(self, tmp_path, begin, message):
        path = tmp_path / "p"
        path.write_bytes(begin.encode() + b"\n" * 100_000 + b"\xff")  # which is no UTF-8
        with path.open("r+b") as file:
            file.truncate(10**11)  # takes no place on the disk
        with pytest.raises(PredictionError, match=message):
            read_predictions(path, dataset())

    def test_lines_that_follow_the_last_image_are_counted_and_not_kept(self, tmp_path):
        (tmp_path / "p").write_text("7 0 0 9 9\n" * 10**5 + "\n" * 10**5)
        expected = (
            "expected one line for each image, 3 in the data set, found 100000; name a subset"
        )
        with pytest.raises(PredictionError, match=expected):
            read_predictions(tmp_path / "p", dataset())

    def test_a_line_without_end_is_an_error(self, tmp_path):
        with (tmp_path / "p").open("wb") as file:
            file.truncate(10**11)  # one line of zeros
        with pytest.raises(PredictionError, match="line 1: expected at most 10000000 characters"):
            read_predictions(tmp_path / "p", dataset())

    def test_a_pipe_is_refused_before_it_is_opened(self, tmp_path):
        os.mkfifo(tmp_path / "p")
        with pytest.raises(PredictionError, match="expected a regular file, found a pipe"):
            read_predictions(tmp_path / "p", dataset())
        with pytest.raises(PredictionError, match="expected a regular file, found a pipe"):
            boxes_from.opener(dataset(), path=tmp_path / "p")
