import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from colors import SCENES, color_experiment, color_net, write_colors
from timeless import assert_same_tables

import wsol_bench
from wsol_bench.capture.insertion_deletion import faithfulness
from wsol_bench.datasets import ROOT_SYNSET, Sample
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.models.output_reading import OutputReading
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.class_slots import ClassSlots
from wsol_bench.runs.engines.local import LocalEngine
from wsol_bench.runs.map_storage import storable
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.scored_batches import CostLine, ScoredGroup, ScoredMethod
from wsol_bench.runs.scorer import Scorer, curve_columns
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.kinds import scoring_of
from wsol_bench.scoring.measured_columns import NOTHING_MEASURED
from wsol_bench.scoring.scores import Scores


class TestStoredMaps:
    def test_are_scaled_by_their_maximum_so_a_map_and_its_relu_round_alike(self):
        maps = torch.randn(200, 7, 7, generator=torch.Generator().manual_seed(0))
        signed, scale = storable(maps)
        rectified, same_scale = storable(maps.relu())
        assert np.array_equal(scale, same_scale)
        assert np.array_equal(np.maximum(signed, 0), rectified)

    def test_a_factor_changes_the_scale_and_nothing_else_to_rounding(self):
        maps = torch.rand(50, 7, 7, generator=torch.Generator().manual_seed(0))
        first, scale = storable(maps)
        second, other = storable(maps * 1e-9)
        assert np.allclose(other, scale * 1e-9, rtol=1e-6)
        assert np.abs(first - second).max() <= 2**-11  # half a unit of float16 below 1

    def test_without_a_positive_value_are_scaled_by_the_largest_magnitude(self):
        half, scale = storable(torch.tensor([[[-4.0, -1.0]], [[0.0, 0.0]]]))
        assert half.tolist() == [[[-1, -0.25]], [[0, 0]]]
        assert scale.tolist() == [4, 1]

    def test_values_that_are_not_finite_stay_so_and_great_ones_do_not_become_so(self):
        maps = torch.tensor([[[1.0, float("nan")]], [[float("inf"), 1.0]], [[1e-7, -1.0]]])
        half, _ = storable(maps)
        assert np.isnan(half[0, 0, 1])
        assert not np.isfinite(half[1]).all()
        assert half[2].tolist() == [[1, -65504]]


class TestImageTruth:
    def sample(self, label):
        boxes = np.array([[0.0, 0, 1, 1], [2, 2, 3, 3]])
        return Sample("i", None, 9, 9, label, boxes, ("a", "b"), False)

    @pytest.mark.parametrize(("label", "count"), [("a", 1), ("c", 0), (ROOT_SYNSET, 2)])
    def test_only_boxes_of_the_images_class_count_and_all_for_the_root(self, label, count):
        assert len(ImageTruth.of(self.sample(label)).boxes) == count


def image_batch(*labels):
    """Images of these classes, without a box."""
    truth = tuple(ImageTruth(label, np.zeros((0, 4))) for label in labels)
    placement = load_protocol("gradcam-2017").input.place(10, 10)
    return ImageBatch(tuple(f"i{n}" for n in range(len(labels))), truth, (placement,) * len(labels))


@pytest.fixture(scope="module")
def slots():
    """The slots of a batch of three images, for logits written by hand."""
    logits = torch.tensor(
        [[9.0, 8, 7, 6, 5, 4, 3], [1.0, 1, 1, 1, 1, 1, 1], [0.0, 0, 0, 0, 0, 1, 9]]
    )
    labels = torch.tensor([0, 6, 5])
    best = logits.sort(dim=1, descending=True, stable=True).indices[:, :5]
    classes = torch.cat([best, labels[:, None]], dim=1)
    names = [f"n{i}" for i in range(7)]
    reading = OutputReading()
    return ClassSlots.of(image_batch("n0", "n6", "n5"), reading, logits, classes, labels, names)


class TestClassSlots:
    def test_a_label_among_the_best_is_one_row_and_another_one_more(self, slots):
        assert np.bincount(slots.rows.image).tolist() == [5, 6, 5]

    def test_the_label_has_its_true_rank(self, slots):
        assert slots.label_rank.tolist() == [1, 7, 2]
        last = np.flatnonzero(slots.rows.image == 1)[-1]
        assert (slots.rows.wnid[last], slots.rows.rank[last]) == ("n6", 7)

    def test_equal_scores_rank_by_output(self, slots):
        of_second = slots.rows.wnid[slots.rows.image == 1]
        assert of_second.tolist() == ["n0", "n1", "n2", "n3", "n4", "n6"]

    def test_scores_are_probabilities(self, slots):
        assert np.allclose(slots.rows.score[slots.rows.image == 1], 1 / 7)


ONE_BOX = ["x0", "y0", "x1", "y1", "iou", "peak_x", "peak_y"]
OF_MAPS = ["pointing_game", "pointing_game_15px", "energy"]


def scoring(name):
    protocol = load_protocol(name)
    return scoring_of(protocol, build_metrics(None, protocol, faithfulness=False))


class TestColumns:
    KEYS = ("model", "method", "layer", "image_id", "rank")

    def keys(self, n):
        columns = {key: np.array([f"{key}{row}" for row in range(n)], object) for key in self.KEYS}
        return {**columns, "rank": np.arange(1, n + 1)}

    @pytest.mark.parametrize(
        ("protocol", "names"),
        [
            ("gradcam-2017", [*ONE_BOX, *OF_MAPS]),
            ("choe-2020-v2", [*ONE_BOX[:4], *ONE_BOX[5:], *OF_MAPS]),
            ("choe-2020-pxap", [*ONE_BOX[:4], *ONE_BOX[5:], *OF_MAPS]),
        ],
    )
    def test_of_rows_are_each_under_its_name(self, protocol, names):
        """Of a batch's scores, in the table of its part."""
        numbers = np.arange(2.0 * len(names)).reshape(2, -1)
        scores = Scores(
            np.array(["box", "no_box"], object),
            dict(zip(names, numbers.T, strict=True)),
            np.zeros(0, np.int64),
            {column.name: np.zeros(0, object) for column in scoring(protocol).curve_columns},
        )
        rows = RowBatch.of_labels(image_batch("a", "b"))
        method = ScoredMethod("cam", "features", rows, scores, CostLine(2))
        scorer = Scorer(
            "net", load_protocol(protocol), scoring(protocol), NOTHING_MEASURED, strict=False
        )
        table = scorer.tables([], [ScoredGroup([], [method])]).rows
        assert list(table)[-len(names) :] == names
        assert np.array_equal(table[names].to_numpy(), numbers)
        assert table["status"].tolist() == ["box", "no_box"]

    @pytest.mark.parametrize(
        "curves",
        [
            {"hits": [b"\x80\x00", b"\x01\x00"]},
            {"foreground": [b"fore", b""], "background": [b"back", b""]},
        ],
        ids=lambda curves: "+".join(curves),
    )
    def test_of_curves_are_of_the_rows_that_have_one_in_their_order(self, curves):
        scores = Scores(
            np.full(4, "swept", object),
            {},
            np.array([2, 0]),
            {name: np.array(values, object) for name, values in curves.items()},
        )
        columns = curve_columns(self.keys(4), scores)
        assert pd.DataFrame(columns).to_dict(orient="list") == {
            "model": ["model0", "model2"],
            "method": ["method0", "method2"],
            "layer": ["layer0", "layer2"],
            "image_id": ["image_id0", "image_id2"],
            **{name: values[::-1] for name, values in curves.items()},
        }

    @pytest.mark.parametrize("protocol", ["choe-2020-v1", "choe-2020-pxap"])
    @pytest.mark.parametrize("n", [0, 3])
    def test_of_no_curve_are_there_and_empty(self, n, protocol):
        table = scoring(protocol).curves_table
        columns = curve_columns(self.keys(n), scoring(protocol).not_applicable(n))
        assert list(columns) == table.names
        assert table.names[:4] == list(self.KEYS[:-1])
        assert len(table.names) > 4
        assert all(len(values) == 0 for values in columns.values())


class StopsAfter(LocalEngine):
    """Ctrl-C after some parts."""

    def __init__(self, n):
        self.n = n

    def evaluate(self, experiment, parts, advance):
        yield from itertools.islice(super().evaluate(experiment, parts, advance), self.n)
        raise KeyboardInterrupt


FAITHFUL = ["insertion", "deletion", "masked_score"]


@pytest.fixture(scope="module")
def faithful_experiment(tmp_path_factory):
    return color_experiment(
        write_colors(tmp_path_factory.mktemp("colors")),
        methods=["cam", "colors:nan_cam", "center_gaussian"],
        faithfulness=4,
        workers=0,
        batch_size=1,
        part_size=1,
    )


@pytest.fixture(scope="module")
def faithful(faithful_experiment, tmp_path_factory):
    return wsol_bench.run(faithful_experiment, out=tmp_path_factory.mktemp("run") / "run")


def assert_same(ours, theirs):
    assert_same_tables(ours, theirs, ("rows", "images", "maps", "curves", "costs", "summary"))


def of_first(rows, method="cam"):
    return rows[(rows["method"] == method) & (rows["rank"] == 1)].reset_index(drop=True)


class TestFaithfulnessInARun:
    def test_is_of_first_predictions_by_maps_that_rank_pixels(self, faithful):
        rows = faithful.rows
        measured = (rows["method"] == "cam") & (rows["rank"] == 1)
        assert measured.sum() == len(SCENES)
        assert rows.loc[measured, FAITHFUL].notna().all(axis=None)
        assert rows.loc[~measured, FAITHFUL].isna().all(axis=None)

    def test_of_scenes_whose_map_is_their_color_by_hand(self, faithful):
        """The first and the last image: deletion takes a quarter of the pixels, colored ones first.

        The logit of the class is the share of colored pixels, that of the two others is 0.
        """

        def probability(share):
            return np.exp(share) / (np.exp(share) + 2)

        rows = of_first(faithful.rows)
        for index in (0, 3):
            boxes = SCENES[index][2]
            share = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) / 224**2
            curve = [probability(max(0.0, share - left / 4)) for left in range(5)]
            area = ((curve[0] + curve[4]) / 2 + sum(curve[1:4])) / 4
            line = rows.loc[index]
            assert line["score"] == pytest.approx(curve[0], abs=1e-6)
            assert line["deletion"] == pytest.approx(area, abs=1e-6)
            assert line["masked_score"] == pytest.approx(curve[0], abs=1e-6)

    def test_is_what_the_network_says_of_the_image_and_its_map(self, faithful):
        """The first image needs no resize, and its map is its red."""
        [(x0, y0, x1, y1)] = SCENES[0][2]
        inputs = torch.zeros(1, 3, 224, 224)
        inputs[0, 0, y0:y1, x0:x1] = 1
        expected = faithfulness(color_net(), inputs, inputs[:, 0], torch.tensor([0]), steps=4)
        line = of_first(faithful.rows).loc[0]
        for name in (*FAITHFUL, "score"):
            assert line[name] == pytest.approx(getattr(expected, name)[0], abs=1e-6), name

    def test_stands_in_the_summary(self, faithful):
        rows, summary = of_first(faithful.rows), faithful.summary.set_index("method")
        for name in ("insertion", "deletion"):
            assert summary.loc["cam", name] == pytest.approx(rows[name].mean())
        drop = (rows["score"] - rows["masked_score"]).clip(lower=0) / rows["score"]
        increase = rows["masked_score"] > rows["score"]
        assert summary.loc["cam", "average_drop"] == pytest.approx(drop.mean())
        assert summary.loc["cam", "increase_in_confidence"] == pytest.approx(increase.mean())
        others = summary.loc[["nan_cam", "center_gaussian"]]
        names = ["insertion", "deletion", "average_drop", "increase_in_confidence"]
        assert others[names].isna().all(axis=None)

    def test_does_not_change_a_box(self, faithful_experiment, faithful):
        without = wsol_bench.run({**faithful_experiment, "faithfulness": None})
        assert not set(FAITHFUL) & set(without.rows)
        assert "insertion" not in without.summary
        pd.testing.assert_frame_equal(
            without.rows,
            faithful.rows.drop(columns=FAITHFUL),
            check_exact=True,
        )

    def test_of_a_run_that_went_on_is_that_of_one_that_was_not_stopped(
        self, faithful_experiment, faithful, tmp_path
    ):
        with pytest.raises(KeyboardInterrupt):
            wsol_bench.run(faithful_experiment, out=tmp_path / "run", engine=StopsAfter(2))
        results = wsol_bench.run(faithful_experiment, out=tmp_path / "run")
        assert results.n_before == 2
        assert_same(results, faithful)

    def test_of_other_steps_is_another_run(self, faithful_experiment, faithful):
        other = wsol_bench.run({**faithful_experiment, "faithfulness": 2})
        ours, theirs = (of_first(results.rows)[FAITHFUL] for results in (other, faithful))
        assert not np.isclose(ours["deletion"], theirs["deletion"]).any()
        assert ours["masked_score"].equals(theirs["masked_score"])

    def test_stays_where_maps_are_upsampled_as_they_were_and_else_is_not_known(
        self, faithful_experiment, faithful, tmp_path
    ):
        protocol = faithful_experiment["protocol"]
        higher = {**protocol, "box": {"threshold": 0.5}}
        same = rescore(faithful.folder, higher, out=tmp_path / "same")
        assert_same(same, wsol_bench.run({**faithful_experiment, "protocol": higher}))
        assert "insertion" in same.summary
        other = rescore(faithful.folder, "zhou-2016", out=tmp_path / "other")
        assert other.rows[FAITHFUL].isna().all(axis=None)
        assert "insertion" not in other.summary
        # And does not come back.
        back = rescore(other.folder, protocol, out=tmp_path / "back")
        assert back.rows[FAITHFUL].isna().all(axis=None)
