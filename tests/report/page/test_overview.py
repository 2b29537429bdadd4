"""The summary and the charts of the page."""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from analyzed_runs import lines as lines_of

import wsol_bench
from wsol_bench.errors import ConfigError
from wsol_bench.report.numbers import title_of
from wsol_bench.report.page.charts import charts
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.marks import marks_of
from wsol_bench.report.page.overview import overview
from wsol_bench.runs.merge import merge
from wsol_bench.runs.published import published_numbers
from wsol_bench.statistics.correction import holm
from wsol_bench.statistics.paired_tests import mcnemar_exact


@pytest.fixture(scope="module")
def collection(run):
    return Collection([run.folder])


@pytest.fixture(scope="module")
def page(collection):
    return overview(collection, source="file")


@pytest.fixture(scope="module")
def of_sweep(swept):
    return overview(Collection([swept.folder]), source="file")


def test_it_is_json(page, of_sweep):
    for content in (page, of_sweep):
        assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_a_line_s_numbers_have_the_intervals_of_analyze(page, tables):
    for line in page["lines"]:
        table = lines_of(tables["intervals"], method=line["method"]).set_index("number")
        assert list(line["values"]) == table.index.tolist()
        for name, value in line["values"].items():
            expected = table.loc[name, ["value", "low", "high"]].tolist()
            assert [value["value"], value["low"], value["high"]] == pytest.approx(expected)


def test_costs_and_counts_are_the_summary_s(page, run):
    for line, (_, summary) in zip(page["lines"], run.summary.iterrows(), strict=True):
        assert line["counts"]["n_images"] == summary["n_images"]
        assert line["cost"]["forward"] == summary["forward_passes"]
        assert line["cost"]["seconds"] == summary["seconds"]


def test_every_number_is_described(page, of_sweep):
    for content in (page, of_sweep):
        names = {name for line in content["lines"] for name in line["values"]}
        described = {number["name"]: number for number in content["numbers"]}
        assert set(described) == names
        for number in described.values():
            assert number["title"] and number["meaning"].endswith("."), number


def test_numbers_at_a_selected_threshold_are_called_as_those_at_the_best(of_sweep):
    titles = {number["name"]: number["title"] for number in of_sweep["numbers"]}
    assert titles["selected_box_acc"] == "MaxBoxAcc at selected threshold"
    assert titles["selected_box_acc_v2"] == "MaxBoxAccV2 at selected threshold"
    assert titles["selected_box_acc_iou30"] == "box acc, IoU 30% at selected threshold"
    assert title_of("selected_top1_loc") == "max top-1 loc acc at selected threshold"
    assert title_of("pixel_roc_auc") == "pixel ROC AUC"


def test_errors_are_better_if_lower(page):
    better = {number["name"]: number["better"] for number in page["numbers"]}
    assert (better["top1_loc_error"], better["mean_iou"]) == ("lower", "higher")


class TestMarks:
    def test_the_best_method_is_the_one_with_the_best_value(self, collection):
        marks = marks_of(collection)
        for name in ("gt_known_loc_error", "mean_iou"):
            values = {
                n: line.numbers.numbers[name].value()
                for n, line in enumerate(collection.lines)
                if line.kind == "method"
            }
            best = (min if name.endswith("error") else max)(values.values())
            marked = [n for n in values if (n, name) in marks and marks[n, name].mark == "best"]
            # A number that is the same for all has no best.
            differ = len(set(values.values())) > 1
            assert marked == [n for n in values if differ and values[n] == best]

    def test_p_is_that_of_mcnemar_with_holm(self, rng_hits):
        collection, hits = rng_hits
        marks = marks_of(collection)
        best = int(np.argmax(hits.mean(axis=1)))
        others = [n for n in range(len(hits)) if n != best]
        raw = [mcnemar_exact(hits[n], hits[best]).p for n in others]
        expected = holm(np.array(raw))
        assert marks[best, "gt_known_loc_error"] == ("best", None)
        for n, p in zip(others, expected, strict=True):
            mark = marks[n, "gt_known_loc_error"]
            if hits[n].mean() == hits[best].mean():
                assert mark == ("best", None)
                continue
            assert mark.p == pytest.approx(p)
            assert mark.mark == ("tied" if p >= 0.05 else None)
        assert {marks[n, "gt_known_loc_error"].mark for n in others} == {"best", "tied", None}

    def test_baselines_are_not_marked(self, collection):
        marks = marks_of(collection)
        baselines = {n for n, line in enumerate(collection.lines) if line.kind != "method"}
        assert baselines and not baselines & {n for n, _ in marks}

    def test_a_number_that_is_the_same_for_all_has_no_best(self, collection):
        assert not any(name == "top1_cls_error" for _, name in marks_of(collection))


@pytest.fixture(scope="module")
def rng_hits(collection):
    """The collection with made-up hits of five methods on 60 images, and these hits."""
    from wsol_bench.metrics.number import Number

    rng = np.random.default_rng(1)
    hits = rng.random((5, 60)) < np.array([0.9, 0.85, 0.8, 0.5, 0.2])[:, None]
    ids = np.array([f"{n}" for n in range(60)], dtype=object)
    first = collection.lines[0]
    lines = []
    for row in hits:
        number = Number("gt_known_loc_error", 1.0 - row, ids, better="lower", hits=True)
        numbers = replace(first.numbers, numbers={number.name: number})
        lines.append(replace(first, numbers=numbers))
    made_up = object.__new__(Collection)
    vars(made_up).update(vars(collection), lines=lines)
    return made_up, hits


class TestCharts:
    def test_shares_over_iou_are_counted(self, page, collection):
        for curve in page["charts"]["ious"]:
            line = collection.lines[curve["line"]]
            iou = line.iou[line.counted].astype(float)
            for least, share in zip(curve["ious"], curve["shares"], strict=True):
                assert share == pytest.approx(np.mean(iou >= np.float32(least)), abs=1e-6)

    def test_at_the_protocol_s_iou_it_is_the_accuracy(self, page, run):
        for curve in page["charts"]["ious"]:
            error = run.summary["gt_known_loc_error"][curve["line"]]
            assert curve["shares"][50] == pytest.approx(1 - error, abs=1e-6)

    def test_failure_modes_are_those_of_analyze(self, page, tables):
        for row in page["charts"]["failure_modes"]:
            method = page["lines"][row["line"]]["method"]
            table = lines_of(tables["failure_modes"], method=method, of=row["of"])
            assert row["n_images"] == table["n_images"].tolist()

    @pytest.mark.parametrize("by", ["class", "size", "instances"])
    def test_bins_are_those_of_analyze(self, page, tables, by):
        for number, line in enumerate(page["lines"]):
            rows = [row for row in page["charts"][f"by_{by}"] if row["line"] == number]
            table = lines_of(tables[f"by_{by}"], method=line["method"])
            assert [row["bin"] for row in rows] == table[by].astype(str).tolist()
            assert [row["gt_known_loc_error"] for row in rows] == pytest.approx(
                table["gt_known_loc_error"].tolist(), abs=1e-6
            )

    def test_agreement_is_counted(self, page, run):
        rows = run.rows.merge(run.images[["image_id", "label"]])
        rows = rows[rows["class"] == rows["label"]]
        hits = [
            (rows[rows["method"] == line["method"]].set_index("image_id")["iou"] >= 0.5)
            for line in page["lines"]
        ]
        pairs = {(pair["a"], pair["b"]): pair for pair in page["charts"]["agreement"]}
        assert set(pairs) == set(combinations(range(len(hits)), 2))
        for (a, b), pair in pairs.items():
            assert pair["both"] == (hits[a] & hits[b]).sum()
            assert pair["only_a"] == (hits[a] & ~hits[b]).sum()
            assert pair["only_b"] == (~hits[a] & hits[b]).sum()
            assert pair["neither"] == (~hits[a] & ~hits[b]).sum()

    def test_a_sweep_has_curves_with_the_best_and_the_selected_threshold(self, of_sweep, swept):
        for curve in of_sweep["charts"]["thresholds"]:
            summary = swept.summary.iloc[curve["line"]]
            at_best = curve["shares"][curve["thresholds"].index(round(curve["best"], 6))]
            assert (
                at_best == max(curve["shares"]) == pytest.approx(summary[curve["number"]], abs=1e-6)
            )
            if curve["number"] == "max_box_acc":
                assert curve["best"] == summary["max_box_acc_threshold"]
            if curve["number"] == "max_box_acc_iou50":
                assert curve["selected"] == summary["selected_threshold_iou50"]
                at = curve["thresholds"].index(round(curve["selected"], 6))
                selected = summary["selected_box_acc_iou50"]
                assert curve["shares"][at] == pytest.approx(selected, abs=1e-6)

    def test_a_run_of_one_threshold_has_no_curves(self, page):
        assert page["charts"]["thresholds"] == []


PUBLISHED = {
    "method": "cam",
    "numbers": {"top1_loc_error": 0.25},
    "source": "arXiv:1512.04150, Table 2",
}


def test_a_line_that_lacks_labels_is_in_no_curve_and_no_agreement(collection):
    """Shares of the images whose label it has a box of would not be its numbers."""
    lines = [replace(collection.lines[0], complete=False), *collection.lines[1:]]
    partial = object.__new__(Collection)
    vars(partial).update(vars(collection), lines=lines)
    found = charts(partial)
    assert {curve["line"] for curve in found["ious"]} == {1, 2}
    assert [(pair["a"], pair["b"]) for pair in found["agreement"]] == [(1, 2)]


class TestPublishedNumbers:
    def page_of(self, experiment, published):
        model = experiment["models"][0]
        name = model if isinstance(model, str) else model.get("label", model["name"])
        rows = [{**one, "model": name} for one in published]
        given = {"source": "arXiv:1512.04150, Table 2", "unit": "fraction", "rows": rows}
        changes = {"published": given} if rows else {}
        run = wsol_bench.run({**experiment, "methods": ["cam", "grad_cam"], **changes})
        return overview(Collection([run.folder]), source="file"), run

    def test_they_stand_beside_the_run_s_number(self, experiment):
        page, _ = self.page_of(experiment, [PUBLISHED])
        papers = {
            (line["method"], name): value["paper"]
            for line in page["lines"]
            for name, value in line["values"].items()
            if value["paper"]
        }
        source = "arXiv:1512.04150, Table 2"
        assert papers == {("cam", "top1_loc_error"): {"value": 0.25, "source": source}}

    def test_a_quoted_number_says_so(self, experiment):
        page, _ = self.page_of(experiment, [{**PUBLISHED, "status": "quoted"}])
        paper = page["lines"][0]["values"]["top1_loc_error"]["paper"]
        assert paper["source"].endswith("(quoted)")

    @pytest.mark.parametrize(
        "change, told",
        [
            (
                {"top1_loc_eror": 0.3},
                "published.rows.0.numbers: .* did you mean 'top1_loc_error'",
            ),
            (
                {"top1_loc_error": 30},
                "numbers.top1_loc_error: expected fractions from 0 to 1, found 30",
            ),
        ],
    )
    def test_a_wrong_one_is_an_error_before_the_run(self, experiment, change, told):
        with pytest.raises(ConfigError, match=told):
            self.page_of(experiment, [{**PUBLISHED, "numbers": change}])

    def test_merged_shards_keep_them(self, experiment, tmp_path):
        rows = [{**PUBLISHED, "model": "any"}]
        published = {"source": "a paper", "unit": "fraction", "rows": rows}
        changes = {"methods": ["cam"], "published": published}
        shards = [
            wsol_bench.run({**experiment, **changes}, out=tmp_path / shard[0], shard=shard).folder
            for shard in ("1/2", "2/2")
        ]
        [kept] = published_numbers(merge(shards, tmp_path / "whole").folder)
        assert kept.value == 0.25

    def test_they_change_no_identity(self, experiment):
        runs = [self.page_of(experiment, published)[1] for published in ([], [PUBLISHED])]
        first, second = (run.folder.identity for run in runs)
        assert first.digest() == second.digest()

    def test_a_run_that_was_scored_again_has_none(self, experiment):
        from wsol_bench.runs.rescore import rescore

        _, run = self.page_of(experiment, [PUBLISHED])
        again = overview(Collection([rescore(run.folder, "zhou-2016").folder]), source="file")
        assert not any(
            value["paper"] for line in again["lines"] for value in line["values"].values()
        )


def test_runs_are_described(page, run):
    [described] = page["runs"]
    assert described["protocol"]["hash"] == run.folder.identity.protocol_hash
    assert described["dataset"]["fingerprint"] == run.folder.identity.dataset.fingerprint
    assert described["rule"]["threshold"] == 0.15
    assert described["devices"] == ["cpu"]
    assert described["least_iou"] == 0.5
