"""A metric that somebody writes: one of maps and one of images, from decorator to summary."""

from typing import Annotated

import numpy as np
import pandas as pd
import pytest
from method_results import ILSVRC, method_of
from pydantic import Field
from scoring_cases import blobs, image_batch, row_batch, some_truths, truth_of

from wsol_bench.errors import ConfigError, PluginError
from wsol_bench.metrics.base import metric, metrics
from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.map_view import MapView
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.experiment_config import MetricConfig
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.scoring.kinds import scoring_of

NAN = float("nan")
INF = float("inf")
SWEEP = load_protocol("choe-2020-v1", {"box": {"threshold": {"step": 0.25}}})


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Metrics of a test are registered for that test alone."""
    monkeypatch.setattr(metrics, "_plugins", dict(metrics._plugins))
    monkeypatch.setattr(metrics.catalog, "registered", set(metrics.catalog.registered))


def peak_value(better="higher", range=(0, 10), factor=1.0, **options):
    """A metric of maps, registered: the largest value."""

    @metric("peak_value", per="map", better=better, range=range, **options)
    def measure(view: MapView, *, times: Annotated[float, Field(gt=0)] = factor) -> float:
        """The largest value of a map.

        Nobody needs it.
        """
        return float(view.values.max()) * times

    return measure


def wide(values, **options):
    """A metric of images, registered, that gives these values."""

    @metric("wide", per="image", better="higher", range=(0, 1), **options)
    def measure(images) -> object:
        """Whatever is asked for."""
        return values

    return measure


def view_of(values, truth, protocol=ILSVRC):
    [placement] = image_batch([truth], protocol).placements
    return MapView(np.asarray(values, np.float32), truth, placement)


def scored(measure, maps, truths, *, protocol=ILSVRC, own=None):
    rows = row_batch(image_batch(truths, protocol), is_label=own)
    return scoring_of(protocol, [measure]).score_maps(np.asarray(maps, np.float32), rows)


class TestOfMaps:
    def test_is_found_by_its_name_and_says_what_it_is(self):
        measure = peak_value(unit="degrees")
        assert metrics.get("peak_value") is measure
        assert measure.summary == "The largest value of a map."
        assert measure.column == ("peak_value", "real", "The largest value of a map", "degrees")

    def test_may_have_a_column_of_another_name(self):
        assert peak_value(column="peak").column.name == "peak"

    @pytest.mark.parametrize("protocol", [ILSVRC, SWEEP])
    def test_is_measured_of_the_map_of_the_label(self, protocol):
        maps = np.stack([np.full((7, 7), value) for value in (1.0, 2.0, 3.0)])
        scores = scored(
            peak_value(), maps, some_truths(3), protocol=protocol, own=[True, False, True]
        )
        assert scores.rows["peak_value"][[0, 2]].tolist() == [1, 3]
        assert np.isnan(scores.rows["peak_value"][1])
        assert "peak_value" in scoring_of(protocol, [metrics.get("peak_value")]).rows_table.names

    def test_is_measured_at_the_size_of_the_input(self):
        values = np.zeros((1, 2, 2))
        values[0, 0, 0] = 1
        sizes = []

        @metric("size", per="map", better="higher", range=(0, INF))
        def size(view: MapView) -> float:
            """The number of pixels."""
            sizes.append(view.values.shape)
            return float(view.values.size)

        assert scored(size, values, some_truths(1)).rows["size"].tolist() == [224 * 224]
        assert sizes == [(224, 224)]

    def test_of_an_image_without_ground_truth_is_no_number_and_is_not_measured(self):
        def fail(view):
            raise AssertionError

        measure = metric("never", per="map", better="higher", range=(0, 1))(fail)
        assert np.isnan(measure.measure(view_of(np.ones((9, 9)), truth_of())))
        assert np.isnan(scored(measure, blobs(1), [truth_of()]).rows["never"]).all()

    @pytest.mark.parametrize(("truth", "counts"), [("any", True), ("boxes", False)])
    def test_says_whether_a_mask_is_ground_truth(self, truth, counts):
        measure = peak_value(truth=truth)
        masked = truth_of(mask=object())
        assert measure.counts(masked) is counts
        assert measure.counts(truth_of([[0, 0, 1, 1]]))
        assert not measure.counts(truth_of())
        result = measure.measure(view_of(np.ones((9, 9)), masked))
        assert result == 1 if counts else np.isnan(result)

    @pytest.mark.parametrize("value", [-0.5, 10.5, INF])
    def test_that_leaves_its_range_is_an_error_that_names_metric_and_value(self, value):
        measure = metric("runaway", per="map", better="higher", range=(0, 10))(lambda view: value)
        message = rf"metric 'runaway' has the value {value}, outside of its range \[0, 10\]"
        with pytest.raises(PluginError, match=message):
            measure.measure(view_of(np.ones((9, 9)), truth_of([[0, 0, 1, 1]])))
        with pytest.raises(PluginError, match=message):
            scored(measure, blobs(1), some_truths(1))

    @pytest.mark.parametrize("value", [0, 10, 10 + 1e-12, -1e-12, NAN])
    def test_may_be_at_the_ends_of_its_range_or_no_number(self, value):
        measure = metric("edge", per="map", better="higher", range=(0, 10))(lambda view: value)
        result = measure.measure(view_of(np.ones((9, 9)), truth_of([[0, 0, 1, 1]])))
        assert result == pytest.approx(value, nan_ok=True)

    @pytest.mark.parametrize(
        ("better", "range", "worst"),
        [
            ("higher", (0, 10), 0),
            ("lower", (0, 10), 10),
            ("higher", (-1, 1), -1),
        ],
    )
    def test_of_a_map_that_is_missing_or_not_finite_is_its_worst_value(self, better, range, worst):
        measure = peak_value(better=better, range=range)
        assert measure.better == better
        assert measure.worst == pytest.approx(worst, nan_ok=True)
        maps = np.full((3, 7, 7), 0.5)
        maps[0, 3, 3], maps[1, 3, 3] = np.nan, np.inf
        result = scored(measure, maps, some_truths(3)).rows["peak_value"].tolist()
        assert result == pytest.approx([worst, worst, 0.5], nan_ok=True)
        truths = [*some_truths(2), truth_of()]
        batch = row_batch(image_batch(truths, ILSVRC), is_label=[True, False, True])
        missing = scoring_of(ILSVRC, [measure]).missing(batch).rows["peak_value"].tolist()
        assert missing == pytest.approx([worst, NAN, NAN], nan_ok=True)

    def test_is_a_number_of_the_summary_over_the_images_that_count(self):
        measure = peak_value(better="lower", column="peak")
        line = summary(measure, peak=[0.25, NAN, 0.75])
        assert line["peak_value"] == 0.5
        assert "peak" not in line
        [number] = [one for one in results(measure, peak=[0.25, NAN, 0.75]).numbers()
                    if one.name == "peak_value"]  # fmt: skip
        assert number.better == "lower" and number.is_mean and not number.hits
        assert number.values.tolist() == pytest.approx([0.25, NAN, 0.75], nan_ok=True)

    def test_of_boxes_that_have_no_map_is_in_no_summary(self):
        assert "peak_value" not in summary(peak_value(), peak_value=[NAN] * 3)

    @pytest.mark.parametrize("words", [{"needs": ("iou",)}, {"statistic": "best"}])
    def test_has_no_words_of_metrics_per_image(self, words):
        with pytest.raises(ConfigError, match="'peak_value': 'needs' and 'statistic' are of"):
            peak_value(**words)


def results(measure, **columns):
    """Of three images i0, i1 and i2, whose rows have more columns."""
    images = pd.DataFrame(
        {
            "image_id": ["i0", "i1", "i2"],
            "label": "a",
            "blacklisted": False,
            "n_label_boxes": 1,
            "status": "evaluated",
        }
    )
    rows = pd.DataFrame(
        {
            "image_id": ["i2", "i1", "i0"], "rank": 1, "class": "a", "iou": 0.5, "status": "box",
            **{name: values[::-1] for name, values in columns.items()},
        }
    )  # fmt: skip
    return method_of(rows, images, metrics=[measure])


def summary(measure, **columns):
    return results(measure, **columns).line()


class TestOfImages:
    @pytest.mark.parametrize("words", [{"truth": "boxes"}, {"column": "peak"}, {"unit": "pixels"}])
    def test_has_no_words_of_metrics_per_map(self, words):
        with pytest.raises(ConfigError, match="'surest': 'truth', 'column' and 'unit' are of"):
            metric("surest", per="image", better="higher", range=(0, 1), **words)(lambda images: 0)

    def test_reads_columns_of_the_rows(self):
        @metric("surest", per="image", better="higher", range=(0, 1), needs=("score",))
        def surest(images):
            """The probability of the first prediction."""
            return images.first("score")

        assert summary(surest, score=[0.25, 0.5, 0.75])["surest"] == 0.5
        number = surest.number(results(surest, score=[0.2, NAN, 0.7]).scores)
        assert number.values.tolist() == pytest.approx([0.2, NAN, 0.7], nan_ok=True)
        assert number.image_ids.tolist() == ["i0", "i1", "i2"]

    def test_that_needs_a_column_which_results_do_not_have_is_an_error(self):
        scoring = scoring_of(SWEEP, [wide(np.ones(3), needs=("iou",))])
        message = "metrics: wide needs the column 'iou', which results of protocol mine do not have"
        with pytest.raises(ConfigError, match=message):
            scoring.require_columns("mine")
        scoring_of(ILSVRC, [metrics.get("wide")]).require_columns("mine")

    @pytest.mark.parametrize("values", [np.array([True, False, True]), np.array([1.0, 0.0, 1.0])])
    def test_of_one_value_an_image_is_their_mean(self, values):
        measure = wide(values, hits=True)
        assert summary(measure)["wide"] == pytest.approx(2 / 3)
        [number] = [one for one in results(measure).numbers() if one.name == "wide"]
        assert number.hits and number.is_mean

    def test_may_say_that_a_method_has_no_such_number(self):
        assert "wide" not in summary(wide(None))

    @pytest.mark.parametrize("n", [0, 2, 4])
    def test_must_have_a_value_for_each_image(self, n):
        with pytest.raises(PluginError, match=rf"metric 'wide': .* each of 3 images, found {n}"):
            summary(wide(np.ones(n)))

    def test_a_statistic_makes_the_number_of_the_means_of_columns(self):
        values = np.array([[0.5, 1.0], [0.25, 0.0], [0.0, 0.5]])
        measure = wide(values, statistic=lambda means: means[:, 0] / means[:, 1])
        [number] = [one for one in results(measure).numbers() if one.name == "wide"]
        assert not number.is_mean
        assert summary(measure)["wide"] == number.value() == pytest.approx(0.5)
        assert number.of_means(np.array([[1.0, 4.0]])).tolist() == [0.25]

    # Columns of 25 and 50 on average; the range of the number is 0 to 1.
    LARGE = np.array([[50.0, 100.0], [25.0, 0.0], [0.0, 50.0]])

    def test_columns_may_lie_outside_of_the_range_of_the_number(self):
        measure = wide(self.LARGE, statistic=lambda means: means[:, 0] / means[:, 1])
        assert summary(measure)["wide"] == pytest.approx(0.5)

    def test_a_number_of_columns_outside_of_its_range_is_an_error(self):
        measure = wide(self.LARGE, statistic=lambda means: 100 * means[:, 0] / means[:, 1])
        with pytest.raises(PluginError, match=r"'wide' has the value 50, outside of its range"):
            summary(measure)

    def test_best_is_the_largest_mean_of_several_columns(self):
        values = np.array([[True, False, True], [False, False, True], [False, True, False]])
        measure = wide(values, statistic="best", hits=True)
        [number] = [one for one in results(measure).numbers() if one.name == "wide"]
        assert summary(measure)["wide"] == number.value() == pytest.approx(2 / 3)
        assert number.of_means(np.array([[0.1, 0.9, 0.3], [0.4, 0.2, 0.3]])).tolist() == [0.9, 0.4]
        beside = ("wide_threshold", "selected_wide", "selected_wide_threshold", "gap_wide")
        assert number.best == beside

    def test_best_of_a_maximum_is_selected_without_its_max(self):
        @metric("max_hit", per="image", better="higher", range=(0, 1), statistic="best")
        def measure(images):
            """Hits."""
            return np.ones((3, 2), bool)

        number = measure.number(results(measure).scores)
        assert number.best == (
            "max_hit_threshold", "selected_hit", "selected_hit_threshold", "gap_hit"
        )  # fmt: skip


class TestOptions:
    def test_stand_in_the_name_and_in_the_column(self):
        measure = peak_value(column="peak").with_options({"times": 3}, "metrics.peak_value")
        assert measure.name == measure.column.name == "peak_value+times=3"
        assert measure.function.keywords == {"times": 3.0}
        scores = scored(measure, np.ones((1, 7, 7)), some_truths(1))
        assert scores.rows["peak_value+times=3"].tolist() == [3]
        columns = {"peak_value+times=3": [0.5, 1.0, 1.5]}
        assert summary(measure, **columns)["peak_value+times=3"] == 1

    def test_that_are_not_given_change_neither(self):
        measure = peak_value(column="peak").with_options({}, "metrics.peak_value")
        assert (measure.name, measure.column.name) == ("peak_value", "peak")

    def test_make_two_metrics_of_one(self):
        peak_value()
        named = [MetricConfig(name="peak_value", times=times) for times in (1, 2)]
        result = build_metrics(named, ILSVRC, faithfulness=False)
        assert [one.name for one in result] == ["peak_value+times=1", "peak_value+times=2"]
        with pytest.raises(ConfigError, match=r"metric .peak_value\+times=2. is listed twice"):
            build_metrics([*named, named[1]], ILSVRC, faithfulness=False)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"tmies": 2}, r"metrics\.peak_value: unknown option 'tmies'; did you mean 'times'"),
            ({"view": 2}, r"metrics\.peak_value: unknown option 'view'"),
            ({"times": "x"}, r"metrics\.peak_value\.times: .* found 'x'"),
            ({"times": 0}, r"metrics\.peak_value\.times: .* found 0"),
        ],
    )
    def test_that_do_not_fit_are_an_error(self, options, message):
        peak_value()
        with pytest.raises(ConfigError, match=message):
            build_metrics([MetricConfig(name="peak_value", **options)], ILSVRC, faithfulness=False)

    def test_an_unknown_metric_is_an_error_that_suggests_one(self):
        peak_value()
        with pytest.raises(ConfigError, match="unknown metric 'peak_vlaue'; did you mean 'peak_v"):
            build_metrics([MetricConfig(name="peak_vlaue")], ILSVRC, faithfulness=False)

    def test_a_function_without_the_decorator_says_how_it_becomes_one(self):
        with pytest.raises(
            ConfigError, match=r"'json:dumps' is not a metric: .*write above it: @m"
        ):
            metrics.get("json:dumps")

    def test_a_new_definition_replaces_the_old_one(self):
        old, new = peak_value(), peak_value()
        assert metrics.get("peak_value") is new is not old


class TestThatHarms:
    def test_a_metric_cannot_write_into_the_view_of_the_next_metric(self):
        arrays = {
            "values": lambda view: view.values,
            "pixels": lambda view: view.pixels,
            "boxes": lambda view: view.boxes,
            "truth": lambda view: view.truth.boxes,
        }

        @metric("zeros", per="map", better="higher", range=(0, 1))
        def zeros(view, *, part: str = "values") -> float:
            """Zeros in what other metrics read."""
            arrays[part](view)[:] = 0
            return 0.0

        view = view_of(np.ones((9, 9)), truth_of([[0, 0, 1, 1]]))
        for part in arrays:
            expected = r"metric 'zeros.*': .*test_metric_plugins\.py:\d+: ValueError: .* read-only"
            with pytest.raises(PluginError, match=expected):
                zeros.with_options({"part": part}, "test").measure(view)

    def test_a_metric_of_images_writes_into_its_own_tables(self):
        @metric("writes_rows", per="image", better="higher", range=(0, 1), needs=("iou",))
        def writes_rows(images) -> object:
            """Zeros in the tables."""
            images.rows["iou"] = 0.0
            images.images.loc[:, "blacklisted"] = True
            return np.zeros(len(images))

        rows = pd.DataFrame({"image_id": ["i"], "class": "a", "rank": 1, "iou": 0.7})
        table = pd.DataFrame({"image_id": ["i"], "label": "a", "n_label_boxes": 1})
        table = table.assign(status="evaluated", blacklisted=False)
        images = ImageScores.of(EvaluatedImages.of(table), rows)
        assert writes_rows.number(images).value() == 0
        assert images.rows["iou"].tolist() == [0.7]
        assert images.images["blacklisted"].tolist() == [False]
