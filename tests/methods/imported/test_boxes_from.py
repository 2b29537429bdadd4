"""Boxes that other tools made, scored without a model like prediction files, and beside a model."""

import numpy as np
import pandas as pd
import pytest
from annotations_only import IDS, IMAGES, WNIDS, image_id, without_model, write_annotations_only
from colors import SCENES, color_experiment, write_colors
from hits import unpacked

import wsol_bench
from wsol_bench.errors import ConfigError, PredictionError
from wsol_bench.methods.imported.prediction_files import read_predictions, score_predictions
from wsol_bench.runs.experiment_config import load_dataset

BOX = ["x0", "y0", "x1", "y1"]
ERRORS = [f"top{k}_{kind}_error" for k in range(1, 6) for kind in ("cls", "loc")]
ERRORS += ["gt_known_loc_error", "top1_loc_error_all", "top5_loc_error_all"]
COUNTS = ["n_images", "n_skipped", "n_blacklisted", "n_without_box"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    images = (*IMAGES[:2], ((80, 90), 1, []), *IMAGES[2:])  # one without a box
    return write_annotations_only(tmp_path_factory.mktemp("boxes") / "root", images=images)


N_IMAGES = len(IMAGES) + 1


def run(root, path, protocol="gradcam-2017", **options):
    method = {"name": "boxes_from", "path": str(path), "label": "imported", **options}
    return wsol_bench.run(without_model(root, method, protocol=protocol))


def scored(root, path):
    """The summary line that ``wsol-bench score`` prints."""
    dataset = load_dataset({"name": "imagenet", "root": str(root)})
    return score_predictions(read_predictions(path, dataset), dataset, name="p").iloc[0]


def random_predictions(seed):
    """Predictions of each image: 0 to 7 of its label, of the other class, or of an unknown class.

    Their boxes are jittered ground truth or anywhere; corners are inclusive.
    """
    random = np.random.default_rng(seed)
    predictions = []
    for (height, width), _, boxes in (*IMAGES[:2], ((80, 90), 1, []), *IMAGES[2:]):
        of_image = []
        for _ in range(random.integers(8)):
            box = random.uniform(0, [width, height, width, height])
            if boxes and random.random() < 0.7:
                jitter = random.choice([0, 0.15]) * random.uniform(-1, 1, 4)
                box = boxes[random.integers(len(boxes))] + jitter * [width, height, width, height]
            of_image.append(
                (random.choice([*WNIDS, "n9"], p=[0.45, 0.45, 0.1]), box - [0, 0, 1, 1])
            )
        predictions.append(of_image)
    return predictions


def write_file(path, predictions, format):
    """Write a prediction file; in devkit files an unknown ID stands for n9."""
    names = {**IDS, "n9": 0} if format == "devkit" else {name: name for name in (*WNIDS, "n9")}
    lines = [
        " ".join(f"{names[wnid]} {' '.join(map(repr, map(float, box)))}" for wnid, box in of_image)
        for of_image in predictions
    ]
    if format == "kaggle":
        lines = [f"{image_id(number)},{line}" for number, line in enumerate(lines, 1)]
        lines = ["ImageId,PredictionString", *reversed(lines)]
    path.write_text("\n".join(lines) + "\n")
    return path


class TestWithoutAModel:
    @pytest.mark.parametrize("format", ["kaggle", "devkit"])
    @pytest.mark.parametrize("seed", range(3))
    def test_errors_equal_those_of_scoring_the_file(self, root, tmp_path, seed, format):
        path = write_file(tmp_path / "p.txt", random_predictions(seed), format)
        [line] = run(root, path).summary.to_dict(orient="records")
        expected = scored(root, path)
        for name in (*ERRORS, *COUNTS):
            assert line[name] == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name
        assert (line["n_images"], line["n_blacklisted"], line["n_without_box"]) == (N_IMAGES, 1, 1)
        assert 0 < line["top1_cls_error"] < 1

    @pytest.mark.parametrize("format", ["kaggle", "devkit"])
    def test_rows_are_the_predictions_in_the_order_of_their_ranks(self, root, tmp_path, format):
        predictions = random_predictions(1)
        rows = run(root, write_file(tmp_path / "p.txt", predictions, format)).rows
        for number, of_image in enumerate(predictions, 1):
            image_rows = rows[rows["image_id"] == image_id(number)]
            if not of_image:
                assert image_rows["status"].tolist() == ["missing"]
                continue
            assert image_rows["rank"].tolist() == list(range(1, len(of_image) + 1))
            classes = [wnid if wnid in IDS or format == "kaggle" else "" for wnid, _ in of_image]
            assert image_rows["class"].tolist() == classes
            boxes = np.array([box for _, box in of_image])
            boxes[:, 2:] += 1
            assert np.abs(image_rows[BOX].to_numpy() - boxes).max() < 1e-12
            assert set(image_rows["status"]) == {"box"}
        assert any(not of_image for of_image in predictions)
        assert max(map(len, predictions)) > 5

    @pytest.mark.parametrize("format", ["kaggle", "devkit"])
    def test_a_file_without_any_prediction_is_all_wrong(self, root, tmp_path, format):
        path = write_file(tmp_path / "p.txt", [[]] * N_IMAGES, format)
        results = run(root, path, format=format)
        [line] = results.summary.to_dict(orient="records")
        assert (line["top5_cls_error"], line["top5_loc_error"]) == (1, 1)
        assert line["n_missing"] == N_IMAGES
        assert np.isnan(line["gt_known_loc_error"])

    def test_a_run_can_hold_predictions_and_a_baseline(self, root, tmp_path):
        """An image that the file does not cover is wrong, but not for the baseline."""
        text = f"ImageId,PredictionString\n{image_id(1)},{WNIDS[0]} 20 10 179 89\n"
        (tmp_path / "p.csv").write_text(text)
        method = {"name": "boxes_from", "path": str(tmp_path / "p.csv"), "label": "imported"}
        results = wsol_bench.run(without_model(root, method, "center_gaussian"))
        summary = results.summary.set_index("method")
        assert summary["n_images"].tolist() == [N_IMAGES, N_IMAGES]
        assert summary["n_missing"].tolist() == [N_IMAGES - 1, 0]
        assert summary.loc["imported", "top1_cls_error"] == (N_IMAGES - 1) / N_IMAGES
        assert np.isnan(summary.loc["center_gaussian", "top1_cls_error"])

    @pytest.mark.parametrize("header", ["xmin,ymin,xmax,ymax", "x0,y0,x1,y1"])
    def test_boxes_without_a_class_have_only_gt_known(self, root, tmp_path, header):
        """Two right boxes and a wrong one."""
        last = 1 if header.startswith("xmin") else 0
        lines = [
            f"image_id,{header}",
            f"{image_id(1)},20,10,{180 - last},{90 - last}",
            f"{image_id(4)},0,0,{10 - last},{10 - last}",
            f"{image_id(2)},0,0,{50 - last},{40 - last}",
        ]
        (tmp_path / "p.csv").write_text("\n".join(lines) + "\n")
        results = run(root, tmp_path / "p.csv")
        rows = results.rows
        assert rows["image_id"].tolist() == [image_id(number) for number in (1, 2, 4)]
        assert rows["rank"].tolist() == [0, 0, 0]
        assert rows["class"].tolist() == [WNIDS[0], WNIDS[1], WNIDS[0]]
        expected = [[20, 10, 180, 90], [0, 0, 50, 40], [0, 0, 10, 10]]
        assert rows[BOX].to_numpy().tolist() == expected
        assert rows["iou"].tolist() == [1, 1, 0]
        [line] = results.summary.to_dict(orient="records")
        assert (line["n_images"], line["n_skipped"]) == (3, N_IMAGES - 3)
        assert line["gt_known_loc_error"] == pytest.approx(1 / 3)
        assert line["mean_iou"] == pytest.approx(2 / 3)
        for name in ERRORS:
            assert np.isnan(line[name]) == (name != "gt_known_loc_error"), name


def iou_in_the_input(box, boxes, size):
    """The IoU of a half-open box with the ground truth, scaled to 224 x 224 and cut to integers."""
    (height, width), best = size, 0.0
    x0, y0, x1, y1 = np.array(box) * 224 / [width, height, width, height]
    for near_x, near_y, far_x, far_y in boxes:
        left, top = int(near_x * 224 / width), int(near_y * 224 / height)
        right, below = int((far_x - 1) * 224 / width) + 1, int((far_y - 1) * 224 / height) + 1
        across, down = min(x1, right) - max(x0, left), min(y1, below) - max(y0, top)
        shared = max(across, 0) * max(down, 0)
        both = (x1 - x0) * (y1 - y0) + (right - left) * (below - top) - shared
        best = max(best, shared / both)
    return best


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file with a box for each image but the third, of half of the ground truth or more."""
    random = np.random.default_rng(3)
    boxes = {}
    for number, (_, _, truth) in enumerate((*IMAGES[:2], (0, 0, []), *IMAGES[2:]), 1):
        if truth:
            x0, y0, x1, y1 = truth[0]
            boxes[number] = (x0, y0, x0 + (x1 - x0) * random.uniform(0.25, 1), y1)
    path = tmp_path_factory.mktemp("sweep") / "p.csv"
    lines = [f"{image_id(n)},{','.join(map(repr, box))}" for n, box in boxes.items()]
    path.write_text("image_id,x0,y0,x1,y1\n" + "\n".join(lines) + "\n")
    return path, boxes


class TestSweep:
    @pytest.mark.parametrize("version", [1, 2])
    def test_a_box_is_right_at_every_threshold_or_at_none(self, root, file, version):
        path, boxes = file
        results = run(root, path, f"choe-2020-v{version}")
        images = (*IMAGES[:2], ((80, 90), 1, []), *IMAGES[2:])
        ious = np.array(
            [iou_in_the_input(boxes[n], images[n - 1][2], images[n - 1][0]) for n in boxes]
        )
        least = (0.5,) if version == 1 else (0.3, 0.5, 0.7) * 2
        hits = unpacked(results.folder.read("curves")["hits"].tolist(), 1000)
        assert np.array_equal(hits, (ious[:, None] >= least)[:, :, None].repeat(1000, axis=2))
        [line] = results.summary.to_dict(orient="records")
        assert line["max_box_acc"] == (ious >= 0.5).mean()
        assert 0 < line["max_box_acc"] < 1
        if version == 2:
            assert line["max_box_acc_v2"] == pytest.approx(
                np.mean([(ious >= least_iou).mean() for least_iou in (0.3, 0.5, 0.7)])
            )
        rows = results.rows
        assert rows[BOX].to_numpy().tolist() == [list(map(float, box)) for box in boxes.values()]
        assert "iou" not in rows
        assert set(rows["status"]) == {"swept"}

    def test_a_class_that_is_predicted_twice_counts_once_by_its_first_box(self, root, tmp_path):
        """One image of two is right, not two predictions of three."""
        right, wrong = f"{WNIDS[0]} 20 10 179 89", f"{WNIDS[0]} 0 0 5 5"
        text = f"{image_id(1)},{right} {right}\n{image_id(4)},{wrong} {WNIDS[0]} 50 60 189 169\n"
        (tmp_path / "p.csv").write_text("ImageId,PredictionString\n" + text)
        results = run(root, tmp_path / "p.csv", "choe-2020-v2")
        assert len(results.rows) == 4
        assert len(results.folder.read("curves")) == 2
        [line] = results.summary.to_dict(orient="records")
        assert (line["n_scored"], line["max_box_acc"]) == (2, 0.5)


RED, GREEN, BLUE = "n00000001", "n00000002", "n00000003"


@pytest.fixture(scope="module")
def colors(tmp_path_factory):
    return write_colors(tmp_path_factory.mktemp("colors") / "root")


class TestBesideAModel:
    """The model ranks all three classes of an image, and its label first."""

    def rows(self, colors, path, text, **options):
        path.write_text(text)
        method = {"name": "boxes_from", "path": str(path), "label": "imported", **options}
        self.results = wsol_bench.run(color_experiment(colors, workers=0, methods=["cam", method]))
        rows = self.results.rows
        rows = rows[rows["method"] == "imported"]
        cam = self.results.rows[self.results.rows["method"] == "cam"]
        keys = ["model", "image_id", "rank", "class", "score"]
        pd.testing.assert_frame_equal(
            rows[keys].reset_index(drop=True), cam[keys].reset_index(drop=True)
        )
        return rows.set_index(["image_id", "class"])

    def test_a_row_has_the_first_box_of_its_class(self, colors, tmp_path):
        rows = self.rows(
            colors,
            tmp_path / "p.csv",
            "ImageId,PredictionString\n"
            f"{image_id(1)},{GREEN} 1 2 3 4 {RED} 64 32 159 127 {RED} 0 0 1 1\n"
            f"{image_id(2)},{RED} 0 0 9 9\n"
            f"{image_id(3)},\n",
        )
        assert rows.loc[(image_id(1), RED), BOX].tolist() == list(SCENES[0][2][0])
        assert rows.loc[(image_id(1), RED), "iou"] == 1
        assert rows.loc[(image_id(1), GREEN), BOX].tolist() == [1, 2, 4, 5]
        boxed = [(image_id(1), RED), (image_id(1), GREEN), (image_id(2), RED)]
        assert sorted(rows.index[rows["status"] == "box"]) == sorted(boxed)
        rest = rows.drop(index=boxed)
        assert set(rest["status"]) == {"missing"}
        assert rest[BOX].isna().all(axis=None)
        assert set(rest["iou"]) == {0}
        line = self.results.summary.set_index("method").loc["imported"]
        assert (line["top1_cls_error"], line["top1_loc_error"]) == (0, 0.75)
        assert line["gt_known_loc_error"] == 0.75
        assert line["n_missing"] == 3  # the first image has the box of its label

    def test_a_box_without_a_class_is_used_for_every_class(self, colors, tmp_path):
        lines = [f"{image_id(n)},{','.join(map(str, SCENES[n - 1][2][0]))}\n" for n in (1, 2, 4)]
        rows = self.rows(colors, tmp_path / "p.csv", "image_id,x0,y0,x1,y1\n" + "".join(lines))
        for number in (1, 2, 4):
            of_image = rows.loc[image_id(number)]
            assert of_image[BOX].to_numpy().tolist() == [list(SCENES[number - 1][2][0])] * 3
            assert set(of_image["status"]) == {"box"}
            assert set(of_image["iou"]) == {1}
        assert set(rows.loc[image_id(3), "status"]) == {"missing"}
        line = self.results.summary.set_index("method").loc["imported"]
        assert line["top1_loc_error"] == line["gt_known_loc_error"] == 0.25
        assert line["n_missing"] == 1

    def test_a_box_with_an_unknown_devkit_label_is_used_for_no_class(self, tmp_path):
        root = write_colors(tmp_path / "root")
        (tmp_path / "synsets.csv").write_text(
            "ilsvrc2012_id,wnid,sorted_index,words\n"
            f"2,{RED},0,red\n3,{GREEN},1,green\n1,{BLUE},2,blue\n"
        )
        (tmp_path / "p.txt").write_text(
            "0 64 32 159 127\n1001 0 64 95 319 3 0 64 95 319\n7 128 32 447 95\n0 0 0 63 63\n"
        )
        method = {"name": "boxes_from", "path": str(tmp_path / "p.txt")}
        dataset = {"name": "imagenet", "root": str(root), "devkit": str(tmp_path)}
        config = color_experiment(root, workers=0, methods=[method], dataset=dataset)
        rows = wsol_bench.run(config).rows
        assert rows["status"].value_counts().to_dict() == {"missing": 11, "box": 1}
        [boxed] = rows[rows["status"] == "box"].to_dict(orient="records")
        assert (boxed["image_id"], boxed["class"], boxed["iou"]) == (image_id(2), GREEN, 1)


class TestRefused:
    def test_a_missing_file_is_refused(self, root, tmp_path):
        with pytest.raises(ConfigError, match=r"boxes_from: .*p\.csv does not exist"):
            run(root, tmp_path / "p.csv")
        with pytest.raises(ConfigError, match="missing option 'path'"):
            wsol_bench.run(without_model(root, "boxes_from"))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("ImageId,PredictionString\nx,n1 0 0 9 9\n", r"p\.csv:2: image 'x' is not in data se"),
            ("image_id,x0,y0,x1,y1\nx,0,0,9,9\n", r"p\.csv:2: image 'x' is not in data set"),
            (
                f"image_id,x0,y0,x1,y1\n{image_id(1)},0,0,9,9\n{image_id(1)},0,0,5,5\n",
                rf"p\.csv:3: image '{image_id(1)}' has two lines",
            ),
            (f"image_id,x0,y0,x1,y1\n{image_id(1)},0,0,nan,5\n", r"p\.csv:2: expected 4 finite"),
            ("1 0 0 9 9\n", r"p\.csv: expected one line for each image, 8 in .*, found 1"),
            ("1 0 0 9\n" + 7 * "\n", r"p\.csv:1: expected groups of 5"),
        ],
    )
    def test_a_malformed_file_is_refused_before_anything_is_evaluated(
        self, root, tmp_path, text, message
    ):
        (tmp_path / "p.csv").write_text(text)
        with pytest.raises(PredictionError, match=message):
            run(root, tmp_path / "p.csv")

    def test_an_unknown_format_is_refused(self, root, tmp_path):
        (tmp_path / "p.csv").write_text("")
        with pytest.raises(ConfigError, match=r"format: .*'devkit', 'kaggle' or 'boxes'.*'coco'"):
            run(root, tmp_path / "p.csv", format="coco")


class TestWhole:
    """A file of boxes has the same scores by every way of scoring."""

    def test_an_iou_of_exactly_the_least_is_a_hit_at_every_threshold_in_the_images_pixels(
        self, tmp_path
    ):
        # Half of each box, on sizes that do not divide the input's.
        random = np.random.default_rng(0)
        corners = random.integers(1, 100, (40, 4))
        images = [((333, 500), 0, [(x, y, x + 2 * w, y + h)]) for x, y, w, h in corners.tolist()]
        root = write_annotations_only(tmp_path / "root", images=images)
        halves = [
            f"{image_id(i)},{x},{y},{x + w},{y + h}" for i, (x, y, w, h) in enumerate(corners, 1)
        ]
        path = tmp_path / "boxes.csv"
        path.write_text("\n".join(["image_id,x0,y0,x1,y1", *halves]) + "\n")
        swept = {"name": "zhou-2016", "box": {"threshold": {"step": 0.1}}}
        [line] = run(root, path, "zhou-2016").summary.to_dict(orient="records")
        [many] = run(root, path, swept).summary.to_dict(orient="records")
        assert line["gt_known_loc_error"] == 0
        assert many["max_box_acc_iou50"] == 1

    def test_a_run_can_be_limited_to_the_first_images(self, root, tmp_path):
        path = write_file(tmp_path / "p.csv", random_predictions(0), "devkit")
        method = {"name": "boxes_from", "path": str(path)}
        results = wsol_bench.run(without_model(root, method, limit=2))
        whole = run(root, path).rows
        first = whole["image_id"].isin([image_id(1), image_id(2)])
        names = ["method", "protocol"]
        pd.testing.assert_frame_equal(
            results.rows.drop(columns=names), whole[first].drop(columns=names)
        )

    def test_a_sweep_has_no_number_unless_every_image_has_a_prediction_of_its_class(
        self, root, tmp_path
    ):
        guesses = [[(WNIDS[0], (0, 0, 9, 9))]] * N_IMAGES
        results = run(root, write_file(tmp_path / "p.csv", guesses, "kaggle"), "choe-2020-v2")
        [line] = results.summary.to_dict(orient="records")
        assert (line["n_images"], line["n_scored"]) == (N_IMAGES, 0)
        assert "max_box_acc" not in line
        assert "max_box_acc_v2" not in line

    def test_boxes_without_a_class_have_no_classification_error_to_score(self, root, tmp_path):
        path = tmp_path / "boxes.csv"
        path.write_text(f"image_id,x0,y0,x1,y1\n{image_id(1)},0,0,9,9\n")
        with pytest.raises(PredictionError, match=r"without a class.*boxes_from"):
            scored(root, path)


def test_a_network_free_method_of_a_user_is_found_by_its_import_path(root, monkeypatch, tmp_path):
    (tmp_path / "my_sources.py").write_text(
        "import numpy as np\n"
        "from wsol_bench.methods.maps_or_boxes import ImageMaps\n"
        "from wsol_bench.methods.network_free import network_free_method\n"
        "@network_free_method('flat', gives='maps')\n"
        "def flat(dataset, *, value: float = 1.0):\n"
        "    return ImageMaps(lambda image_id: np.full((7, 7), value, np.float32), 'flat')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    method = {"name": "my_sources:flat", "label": "whole image"}
    rows = wsol_bench.run(without_model(root, method)).rows
    sizes = dict(zip([image_id(i) for i in (1, 2)], [(200, 100), (500, 333)], strict=True))
    for name, size in sizes.items():
        [box] = rows.loc[rows["image_id"] == name, BOX].to_numpy()
        assert box.tolist() == [0, 0, *size]
