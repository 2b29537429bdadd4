"""Names of models and lines in the address of the page."""

from wsol_bench.report.page.address_keys import line_keys, model_keys


def test_names_of_models_are_unique_whatever_they_hold():
    assert model_keys([("run", "-")]) == ["-"]
    assert model_keys([("a", "b/c"), ("a/b", "c"), ("x", "c")]) == ["a/b/c", "a/b/c~2", "x/c"]
    assert model_keys([("run", "a,b"), ("run", "a;b"), ("run", "a;b~2")]) == [
        "a;b",
        "a;b~2",
        "a;b~2~2",
    ]


def test_names_of_lines_are_unique_whatever_they_hold():
    lines = [(0, "cam", "a"), (0, "cam", "b"), (0, "cam@a", ""), (0, "x:f(1,2)", "a")]
    assert line_keys(["m"], lines) == ["cam@a", "cam@b", "cam@a~2", "x:f(1;2)"]


def test_another_line_or_another_order_changes_no_name():
    lines = [(0, "cam", "l"), (1, "cam", "l"), (1, "grad_cam", "l")]
    keys = line_keys(["m", "n"], lines)
    more = [(1, "new", "l"), *reversed(lines)]
    assert line_keys(["m", "n"], more) == ["n/new", *reversed(keys)]
