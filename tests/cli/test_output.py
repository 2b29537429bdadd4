"""Tables on a terminal: nothing is cut, and what does not fit is named."""

import pandas as pd
import pytest

from wsol_bench.cli.output import print_paragraph, print_table
from wsol_bench.cli.process import wrapped_lines


def table(n_numbers=3, method="grad_cam", layers=("features", "features", "")):
    """Three lines of a model, as text."""
    numbers = {f"number {n}": [f"{100 * n}.25/{n}.00"] * 3 for n in range(n_numbers)}
    return pd.DataFrame(
        {"model": "resnet50", "method": [method, "cam", "center_box"], "layer": layers, **numbers}
    )


@pytest.fixture
def printed(monkeypatch, capsys):
    """A function that prints a table on so many columns and returns its lines."""

    def print_on(columns, *arguments, **options):
        monkeypatch.setenv("COLUMNS", str(columns))
        print_table(*arguments, **options)
        return capsys.readouterr().out.rstrip("\n").splitlines()

    return print_on


def test_a_table_that_fits(printed):
    assert printed(80, table(2)) == [
        "method       number 0     number 1",
        "\u2500" * 10 + "  " + "\u2500" * 9 + "  " + "\u2500" * 11,
        "resnet50, layer features",
        "grad_cam    0.25/0.00  100.25/1.00",
        "cam         0.25/0.00  100.25/1.00",
        "center_box  0.25/0.00  100.25/1.00",
    ]


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 200])
class TestColumnsThatDoNotFit:
    def test_are_named_if_they_are_elsewhere(self, columns, printed):
        lines = printed(columns, table(7), elsewhere="--json prints them")
        assert all(len(line) <= columns for line in lines)
        text = " ".join(" ".join(lines).split())
        shown = [n for n in range(7) if text.count(f" {100 * n}.25/{n}.00") == 3]
        assert shown == list(range(len(shown)))
        left_out = [f"number {n}" for n in range(len(shown), 7)]
        named = text.partition("do not fit: ")[2].removesuffix("; --json prints them.")
        assert left_out == named.split(", ") or not left_out
        assert "…" not in text

    def test_stand_below_behind_the_names_otherwise(self, columns, printed):
        lines = printed(columns, table(7))
        assert all(len(line) <= columns for line in lines)
        n_tables = lines.count("resnet50, layer features")
        for name in ("grad_cam", "cam", "center_box"):
            cells = [cell for line in lines if line.startswith(f"{name} ") for cell in line.split()]
            assert cells.count(name) == n_tables
            assert [cell for cell in cells if cell != name] == [
                f"{100 * n}.25/{n}.00" for n in range(7)
            ]


def test_lines_without_a_number_are_left_out_of_what_stands_below(printed):
    methods = {"model": list("aabb"), "method": list("wxyz"), "error": [f"{n}.25" for n in "1234"]}
    frame = pd.DataFrame({**methods, "Cohen's d": ["-", "-", "-", "+0.50"]})
    lines = printed(20, frame)
    assert lines[-2:] == ["b", "z         +0.50"]
    assert lines.count("a") == 1


def test_names_wider_than_the_terminal_do_not_keep_the_numbers_away(printed):
    lines = printed(20, table(3, method="a_method_of_a_name_of_many_words"))
    assert [text for line in lines if (text := line[-10:].strip()) == "200.25/2.00"[-10:]]


def test_a_long_name_is_broken_and_whole(printed):
    name = "randomized_weights(my_own_method+power=2.0+seed=3)"
    lines = printed(60, table(2, method=name))
    at = next(n for n, line in enumerate(lines) if line.startswith("randomized"))
    assert lines[at].split()[0] + lines[at + 1].strip() == name


def test_a_model_with_several_layers_keeps_the_column(printed):
    lines = printed(80, table(1, layers=("block4", "features", "")))
    assert "resnet50" in lines
    assert any(line.split()[:2] == ["grad_cam", "block4"] for line in lines)


def test_lines_without_a_network_stand_below_a_heading_that_says_so(printed):
    frame = pd.DataFrame({"model": ["-"], "method": ["center_box"], "error": ["5.00"]})
    assert "no model" in printed(80, frame)


def test_numbers_stand_to_the_right_also_beside_words(printed):
    frame = pd.DataFrame({"method": ["a", "b"], "error": ["5.00", "not applicable"]})
    *_, first, second = printed(80, frame)
    assert len(first) == len(second)
    assert first.endswith("5.00")


def test_a_ranking_across_models_has_columns_and_no_headings(printed):
    frame = pd.DataFrame({"rank": list("123"), "model": ["a", "b", "a"], "method": ["x", "x", "y"]})
    lines = printed(80, frame)
    assert lines[0].split() == ["rank", "model", "method"]
    assert len(lines) == 5


def test_tables_without_lines_or_of_names_alone_are_printed(printed):
    empty = pd.DataFrame({"model": [], "method": [], "error": []})
    assert printed(80, empty)[0].split() == ["model", "method", "error"]
    names = pd.DataFrame({"model": ["a"], "layer": ["b"]})
    assert printed(80, names)[0].split() == ["layer"]


def test_a_path_is_never_broken(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "30")
    path = "/data/somewhere/very/long/path/of/a/run"
    print_paragraph(f"They are in {path}.")
    assert f"{path}." in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("short enough", ["short enough"]),
        ("  one two three four five six", ["  one two three four", "    five six"]),
        ("see /a/path/that/is/too/long now", ["see", "  /a/path/that/is/too/long", "  now"]),
        (
            "To see it again: wsol-bench report 'a b' --open",
            ["To see it again: ", "  wsol-bench report 'a b' --open"],
        ),
        ("  wsol-bench report 'a b' --open", ["  wsol-bench report 'a b' --open"]),
        (
            "Note: 'wsol-bench list methods' lists all",
            ["Note: 'wsol-bench", "  list methods'", "  lists all"],
        ),
    ],
)
def test_long_lines_are_wrapped_and_commands_stay_whole(line, lines):
    assert [one.rstrip() for one in wrapped_lines(line, 20)] == [one.rstrip() for one in lines]
