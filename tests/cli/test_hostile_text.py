"""Words of other people are harmless in every output: they steer no terminal and are no markup."""

import html
import io
import json
import re
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from command_line import cli

from wsol_bench.cli.output import print_table
from wsol_bench.cli.process import print_message
from wsol_bench.common.harmless import csv_text, markdown_text, printable, printable_lines
from wsol_bench.common.progress import progress, second_bar

# Clears the screen, sets the title, rings, is a style of rich, a cell, code, HTML, a link, a
# formula, math, another line for some readers, and turns the direction of the text around.
HOSTILE = (
    "\x1b[2J\x1b]0;title\x07 [bold red]x[/] | a `code` <img src=x onerror=y> [a](http://b) *c* "
    '\n=cmd() "q" $\\frac$ \r\x85\u2028 \u202e é'
)


def tags_of(text):
    """The elements that begin in an HTML text."""
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, _: tags.append(tag)
    parser.feed(text)
    return tags


def assert_harmless(text):
    assert {c for c in text if not c.isprintable()} <= {"\n"}, ascii(text)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """An experiment whose labels, image ids, words, method names and file names are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = [
        {"image": f"{number}{HOSTILE}.jpg", "label": label, "width": 100, "height": 80,
         "x0": 10.0, "y0": 10.0, "x1": x1, "y1": 70.0}
        for number, (label, x1) in enumerate([("plain", 90.0), (HOSTILE, 60.0), ("plain", 5.0)])
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(folder / "\x1b[31mboxes.parquet")
    experiment = {
        "name": "hostile",
        "dataset": {
            "name": "table",
            "path": str(folder / "\x1b[31mboxes.parquet"),
            "convention": "half_open",
        },
        "methods": [{"name": "full_image", "label": HOSTILE}, "center_gaussian"],
        "protocol": "gradcam-2017",
        "metrics": ["mean_iou"],
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    out, err = cli("run", "experiment.yaml", "--out", "run", cwd=folder)
    assert_harmless(out + err)
    return SimpleNamespace(folder=folder, out=out, err=err)


class TestOnTheTerminal:
    def test_a_summary_has_names_as_they_are(self, hostile):
        assert "[bold" in hostile.out
        assert r"\x1b[2J" in hostile.out

    @pytest.mark.parametrize(
        "arguments",
        [
            ("analyze", "run"),
            ("doctor", "experiment.yaml"),
            ("export", "run", "--format", "kaggle"),
            ("leaderboard", "."),
            ("leaderboard", ".", "--format", "markdown", "--page", "board.html"),
            ("leaderboard", ".", "--format", "latex"),
            ("table", "run"),
            ("table", "run", "--format", "latex", "--intervals"),
            ("rescore", "run", "--protocol", "zhou-2016", "--force"),
            ("run", "experiment.yaml", "--out", "run"),
            ("run", "experiment.yaml", "--out", "run", "--json"),
        ],
        ids=" ".join,
    )
    def test_no_command_prints_a_control_character(self, hostile, arguments):
        out, err = cli(*arguments, cwd=hostile.folder)
        assert_harmless(out + err)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("run", f"{HOSTILE}.yaml"),
            ("run", "experiment.yaml", "--set", f"methods.0.name={HOSTILE}"),
            ("run", "experiment.yaml", "--set", f"dataset.path=/{HOSTILE}"),
            ("run", "experiment.yaml", "--verbose", "--set", f"dataset.path=/{HOSTILE}"),
            ("analyze", HOSTILE),
            ("check", HOSTILE),
            ("run", "experiment.yaml", "--set", 'methods.0.label="a\\0"'),
            ("run", "experiment.yaml", "--set", "methods.0.label=\udcff"),
            ("run", "experiment.yaml", "--set", "dataset.path=\udcff"),
        ],
        ids=[
            "file",
            "method",
            "path",
            "verbose",
            "run",
            "check",
            "NUL",
            "bytes",
            "bytes in a path",
        ],
    )
    def test_no_error_prints_one(self, hostile, arguments):
        out, err = cli(*arguments, cwd=hostile.folder, code=1)
        assert_harmless(out + err)
        assert "Error: " in err

    def test_a_table_shows_markup_as_it_is(self, capsys):
        print_table(pd.DataFrame({"[red]a[/red]": ["[bold]x[/bold]", "a\nb"]}), "[i]title[/i] \x1b")
        out = capsys.readouterr().out
        assert_harmless(out)
        for text in ("[red]a[/red]", "[bold]x[/bold]", r"a\nb", r"[i]title[/i] \x1b"):
            assert text in out
        assert len(out.splitlines()) == 6

    def test_a_message_keeps_its_lines_and_nothing_else(self, capsys):
        print_message("two\nlines\x1b[2J\r\x9b")
        assert capsys.readouterr().err == "two\nlines\\x1b[2J\\r\\x9b\n"

    @pytest.mark.parametrize("in_terminal", [False, True])
    def test_progress_shows_its_words_as_they_are(self, in_terminal, monkeypatch):
        err = io.StringIO()
        err.isatty = lambda: in_terminal
        monkeypatch.setattr(sys, "stderr", err)
        with progress("[red]bar\x1b[2J", 2, "images") as advance, second_bar("[b]x\x07", 1):
            advance(2)
        assert_harmless(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", err.getvalue()))
        assert r"[red]bar\x1b[2J" in err.getvalue()

    def test_a_bar_that_nobody_sees_does_not_end_the_work(self, monkeypatch):
        class Closed(io.StringIO):
            def write(self, text):
                raise BrokenPipeError

        monkeypatch.setattr(sys, "stderr", Closed())
        with progress("work", 2, "images") as advance:
            advance(2)
        print_message("done")


class TestInFiles:
    def test_csv_reads_back_as_it_was(self, hostile):
        for name in ("summary", "intervals", "failure_modes"):
            text = (hostile.folder / f"run/tables/{name}.csv").read_bytes().decode()
            table = pd.read_csv(io.StringIO(text, newline=""))
            assert HOSTILE in table["method"].tolist()
            assert set(table["model"]) == {"-"}

    def test_csv_of_a_lone_carriage_return_is_one_line(self):
        table = pd.DataFrame({"a": ["x\ry", "b\nc", 'q"q', "d,e"], "n": [1.5, 2.0, None, 3.0]})
        back = pd.read_csv(io.StringIO(csv_text(table), newline=""))
        pd.testing.assert_frame_equal(back, table)

    def test_csv_of_plain_words_has_no_quotes(self):
        assert csv_text(pd.DataFrame({"a": ["x", "y z"], "n": [1, 2]})) == "a,n\nx,1\ny z,2\n"

    def test_markdown_is_a_table_of_as_many_cells_a_line(self, hostile):
        text = (hostile.folder / "run/tables/summary.md").read_text()
        assert_harmless(text)
        table = [line for line in text.splitlines() if line.startswith("|")]
        assert len(table) == 4
        assert len({line.count("|") for line in table}) == 1
        assert tags_of(text) == []
        assert printable(HOSTILE) in html.unescape(table[2])

    def test_markdown_of_a_table_is_one_table_and_a_comment(self, hostile):
        out, _ = cli("table", "run", cwd=hostile.folder)
        table = [line for line in out.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in table}) == 1
        assert set(tags_of(out)) <= {"u"}
        assert printable(HOSTILE) in html.unescape(table[2])

    def test_the_page_of_a_leaderboard_has_no_elements_but_its_own(self, hostile):
        cli("leaderboard", ".", "--page", "board.html", cwd=hostile.folder)
        page = (hostile.folder / "board.html").read_text()
        assert_harmless(page)
        assert not {"script", "img", "a", "code"} & set(tags_of(page))
        assert printable(HOSTILE) in html.unescape(page)

    def test_latex_has_no_command_but_its_own(self, hostile):
        out, _ = cli("table", "run", "--format", "latex", cwd=hostile.folder)
        commands = set(re.findall(r"(?<!\\)\\([a-zA-Z]+)", re.sub("(?m)%.*", "", out)))
        assert "frac" not in commands
        assert "textbackslash" in commands

    def test_json_is_plain_and_reads_back(self, hostile):
        out, _ = cli("run", "experiment.yaml", "--out", "run", "--json", cwd=hostile.folder)
        assert out.isascii()
        assert json.loads(out)[0]["method"] == HOSTILE


class TestTheFunctions:
    def test_printable_is_one_line_whatever_the_text(self):
        for code in (
            *range(0x20),
            0x7F,
            *range(0x80, 0xA0),
            0x2028,
            0x2029,
            0x202E,
            0xDCFF,
            0xFEFF,
        ):
            shown = printable(f"a{chr(code)}b")
            assert shown.isascii(), code
            assert len(shown.splitlines()) == 1
        assert printable("é 漢字 | <b>") == "é 漢字 | <b>"
        assert printable_lines("a\n\tb\r\n") == "a\n\\tb\\r\n"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("max_box_acc 0.5 (a+b=2)", "max_box_acc 0.5 (a+b=2)"),
            ("a|b", "a&#124;b"),
            ("a\nb", "a&#92;nb"),
            ("<b>&amp;", "&#60;b&#62;&#38;amp;"),
            ("_x_ `y` *z*", "&#95;x&#95; &#96;y&#96; &#42;z&#42;"),
            ("![a](b)", "!&#91;a&#93;(b)"),
            ("# $x$ ~~y~~", "&#35; &#36;x&#36; &#126;&#126;y&#126;&#126;"),
        ],
    )
    def test_markdown_shows_the_text_itself(self, text, expected):
        assert markdown_text(text) == expected
        assert html.unescape(expected) == printable(text)
        assert not re.search(r"[\n|<>`]", expected)
