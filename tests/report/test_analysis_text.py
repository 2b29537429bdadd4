"""An analysis on a screen: which method is on top, what better means, and against whom."""

import numpy as np
import pandas as pd
import pytest

from wsol_bench.errors import ConfigError
from wsol_bench.report.analysis_text import in_full, in_short
from wsol_bench.report.comparisons import MethodNumbers, corrected, line_names, references_of

PROTOCOL = {"protocol": "p", "protocol_hash": "h"}


def tables(number, better, values, differences, *, is_share=True, model="net"):
    """Tables of an analysis: the value of each method, and its difference to the first one."""
    names = [{"model": model, "method": method, "layer": "", **PROTOCOL} for method in values]
    intervals = [
        {**name, "kind": "baseline" if name["method"] == "center" else "method",
         "number": number, "better": better, "is_share": is_share, "value": value,
         "low": value - 0.1, "high": value + 0.1, "n": 50}
        for name, value in zip(names, values.values(), strict=True)
    ]  # fmt: skip
    comparisons = [
        {**name, "against": f"{model} {next(iter(values))}", "number": number, "n": 50,
         "test": "McNemar, exact", "n10": 7.0, "n01": 3.0, "difference": difference,
         "low": difference - 0.02, "high": difference + 0.03, "p": 0.02, "p_holm": 0.04}
        for name, difference in zip(names[1:], differences, strict=True)
    ]  # fmt: skip
    return {"intervals": pd.DataFrame(intervals), "comparisons": pd.DataFrame(comparisons)}


ERRORS = tables(
    "top1_loc_error", "lower", {"cam": 0.5, "good": 0.4, "bad": 0.7}, [-0.1, 0.2]
)  # fmt: skip
ACCURACIES = tables(
    "max_box_acc_v2", "higher", {"cam": 0.5, "good": 0.6, "bad": 0.3}, [0.1, -0.2]
)  # fmt: skip


@pytest.mark.parametrize("content", [ERRORS, ACCURACIES], ids=["error", "accuracy"])
class TestInShort:
    def test_the_best_method_is_on_top_and_marked(self, content):
        [(title, table)] = in_short(content)
        assert table["method"].tolist() == ["good", "cam", "bad"]
        name = title.partition(" in %")[0]
        assert [text.endswith("*") for text in table[name]] == [True, False, False]

    def test_plus_is_better(self, content):
        [(title, table)] = in_short(content)
        assert table["better by"].tolist() == ["+10.00", "", "-20.00"]
        assert "against cam, " in title

    def test_plus_is_better_in_full_as_well(self, content):
        [differences] = [table for title, table in in_full(content) if "Paired" in title]
        by_method = dict(zip(differences["method"], differences["better by"], strict=True))
        assert by_method == {"good": "+10.00", "bad": "-20.00"}

    def test_the_interval_of_a_difference_has_its_sign(self, content):
        [(title, table)] = [(title, table) for title, table in in_full(content) if "Pair" in title]
        assert "against cam on the same 50 images" in title
        lower = content["intervals"]["better"].iloc[0] == "lower"
        expected = ["[+7.00, +12.00]", "[-23.00, -18.00]"]
        expected = expected if lower else ["[+8.00, +13.00]", "[-22.00, -17.00]"]
        assert table["95% interval"].tolist() == expected
        assert table[["gained", "lost"]].to_numpy().tolist() == [["7", "3"]] * 2
        assert "d" not in table

    def test_equal_methods_are_all_the_best_and_none_is_if_all_are_equal(self, content):
        number, better = content["intervals"][["number", "better"]].iloc[0]
        two = tables(number, better, {"a": 0.5, "b": 0.5, "c": 0.5}, [0.0, 0.0])
        [(title, table)] = in_short(two)
        name = title.partition(" in %")[0]
        assert not any(text.endswith("*") for text in table[name])
        assert set(table["better by"]) == {"", "+0.00"}
        worst = 0.9 if better == "lower" else 0.1
        two = tables(number, better, {"a": 0.5, "b": 0.5, "c": worst}, [0.0, 0.0])
        [(title, table)] = in_short(two)
        assert [text.endswith("*") for text in table[name]] == [True, True, False]


def test_a_number_that_is_no_share_is_not_in_percent():
    content = tables("pixels_off", "lower", {"a": 12.5, "b": 8.0}, [-4.5], is_share=False)
    [(title, table)] = in_short(content)
    assert "%" not in title.partition("95%")[0]
    assert "percentage" not in title
    assert [text.strip() for text in table["pixels off"]] == ["8*", "12.5"]
    assert table["95% interval"].tolist() == ["[7.9, 8.1]", "[12.4, 12.6]"]
    assert table["better by"].tolist() == ["+4.5", ""]


def test_a_baseline_is_not_the_best_and_equal_is_what_reads_the_same():
    values = {"a": 0.50001, "b": 0.50002, "c": 0.6, "center": 0.1}
    [(_, table)] = in_short(tables("top1_loc_error", "lower", values, [0.0, 0.1, -0.4]))
    marked = dict(zip(table["method"], table["top-1 loc error"].str.endswith("*"), strict=True))
    assert marked == {"a": True, "b": True, "c": False, "center": False}
    assert table["method"].iloc[0] == "center"


def test_each_protocol_is_ranked_by_its_own_number():
    both = {
        name: pd.concat([ERRORS[name], ACCURACIES[name].assign(model="other")], ignore_index=True)
        for name in ERRORS
    }
    titles = [title.partition(" in %")[0] for title, _ in in_short(both)]
    assert titles == ["top-1 loc error", "MaxBoxAccV2"]


def method(model, name, layer=""):
    """A method without numbers."""
    names = {"model": model, "method": name, "layer": layer, **PROTOCOL}
    return MethodNumbers(names, {}, pd.DataFrame({"image_id": []}), "digest")


class TestReferences:
    def test_are_the_first_of_each_model(self):
        methods = [method("a", "cam"), method("a", "grad_cam"), method("b", "rise")]
        methods += [method("b", "cam")]
        assert references_of(methods, None) == [None, methods[0], None, methods[2]]

    def test_are_the_named_method_at_the_same_layer(self):
        methods = [method("a", name, layer) for name in ("x", "y") for layer in ("1", "2")]
        found = references_of(methods, "y")
        assert found == [methods[2], methods[3], None, None]

    def test_are_of_the_same_run(self):
        runs = [method("a", name) for name in ("cam", "rise")] * 2
        methods = [
            MethodNumbers({"run": run, **one.names}, {}, one.images, one.dataset)
            for run, one in zip("1122", runs, strict=True)
        ]
        assert references_of(methods, None) == [None, methods[0], None, methods[2]]
        assert references_of(methods, "rise") == [methods[1], None, methods[3], None]

    def test_name_another_layer(self):
        first, other = method("a", "cam", "1"), method("a", "cam", "2")
        assert line_names(first, other)["against"] == "a cam at layer 1"
        assert line_names(first, method("a", "rise", "1"))["against"] == "a cam"

    def test_a_model_without_the_named_method_is_not_compared(self):
        methods = [method("a", "cam"), method("b", "rise")]
        assert references_of(methods, "cam") == [None, None]

    def test_an_unknown_name_is_an_error_with_the_nearest(self):
        with pytest.raises(ConfigError, match="found 'cma'; did you mean 'cam'"):
            references_of([method("a", "cam")], "cma")


def test_holm_corrects_within_a_model():
    """Two p of 0.01 and 0.04 in each of two models: 0.02 and 0.04, whatever the other model has."""
    lines = pd.DataFrame(
        {"model": ["a", "a", "b", "b"], "number": "x", "p": [0.01, 0.04, 0.03, 0.2]}
    )
    np.testing.assert_allclose(corrected(lines)["p_holm"], [0.02, 0.04, 0.06, 0.2])
