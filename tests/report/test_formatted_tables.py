"""Tables in their formats, against texts that are written by hand, and compiled by LaTeX."""

import re
import shutil
import subprocess
import unicodedata
from dataclasses import replace

import pytest

from wsol_bench.common.harmless import latex_text
from wsol_bench.report.formatted_tables import (
    FormattedTable,
    Group,
    TableColumn,
    TableLine,
    Value,
    marks_of,
)
from wsol_bench.report.written_tables import html_table, text_table, written

BEST = Value(0.49996, 0.4, 0.60006, mark="best")
TABLE = FormattedTable(
    title="",
    columns=(
        TableColumn("method", "method"),
        TableColumn("err", "error", "lower", percent=True),
        TableColumn("sec", "seconds", "lower"),
    ),
    groups=(
        Group(
            "vgg_16",
            (
                TableLine(
                    ("cam", BEST, Value(1234.56, percent=False)),
                    {"run": "r/1"},
                    "run r/1 (id 12)",
                ),
                TableLine(
                    ("box", Value(0.5, 0.4, 0.6, mark="second"), None),
                    {"run": "r/2"},
                    "run r/2 (id 34)",
                    space_above=True,
                    muted=True,
                ),
            ),
        ),
    ),
    notes=("A note of 50%.",),
    group_column="model",
)  # fmt: skip


ALL_PACKAGES = "booktabs,graphicx,longtable"


class TestMarks:
    def marks(self, better, *values):
        return marks_of([Value(value) for value in values], better)

    def test_best_and_second_follow_the_direction_of_the_number(self):
        values = (0.3, 0.1, 0.2)
        assert self.marks("lower", *values) == [None, "best", "second"]
        assert self.marks("higher", *values) == ["best", None, "second"]

    def test_numbers_that_read_the_same_are_equal(self):
        found = self.marks("lower", 0.10001, 0.10004, 0.2, 0.20004, 0.3)
        assert found == ["best", "best", "second", "second", None]

    def test_numbers_that_read_differently_are_not(self):
        assert self.marks("lower", 0.1000, 0.1001, 0.1002) == ["best", "second", None]

    @pytest.mark.parametrize("values", [(), (0.1,), (0.1, 0.1, 0.1)])
    def test_without_a_difference_there_is_no_best(self, values):
        assert self.marks("lower", *values) == [None] * len(values)

    def test_the_worst_is_not_called_second(self):
        assert self.marks("higher", 0.5, 0.4, 0.4) == ["best", None, None]


class TestFormats:
    def test_markdown(self):
        assert written([TABLE], "markdown") == (
            "| model | method | error (%) ↓ | seconds ↓ |\n"
            "| --- | --- | ---: | ---: |\n"
            "| vgg_16 | cam | **50.00** [40.00, 60.01] | 1235 |\n"
            "| vgg_16 | box | <u>50.00</u> [40.00, 60.00] | - |\n"
            "\n"
            "A note of 50%.\n"
            "\n"
            "<!--\n"
            "run r/1 (id 12): vgg_16 cam\n"
            "run r/2 (id 34): vgg_16 box\n"
            "-->\n"
        )

    def test_csv(self):
        assert written([TABLE], "csv") == (
            "model,method,err (%),err low (%),err high (%),sec,run\n"
            "vgg_16,cam,50.00,40.00,60.01,1235,r/1\n"
            "vgg_16,box,50.00,40.00,60.00,,r/2\n"
        )

    def test_latex(self):
        assert written([TABLE], "latex").splitlines() == [
            r"% Needs \usepackage{booktabs,graphicx}.",
            "% A note of 50%.",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            r"\begin{tabular}{@{}lr@{\,}lr@{}}",
            r"\toprule",
            r"method & \multicolumn{2}{c}{error} & seconds \\",
            r" & \multicolumn{2}{c}{(\%) $\downarrow$} & $\downarrow$ \\",
            r"\midrule",
            r"\multicolumn{4}{@{}l}{\emph{vgg\_16}} \\",
            r"cam & \textbf{50.00} & {\scriptsize [40.00, 60.01]} & 1235 \\ % run r/1 (id 12)",
            r"\addlinespace",
            r"box & \underline{50.00} & {\scriptsize [40.00, 60.00]} & -- \\ % run r/2 (id 34)",
            r"\bottomrule",
            r"\end{tabular}}",
        ]

    def test_html(self):
        assert html_table(TABLE).splitlines()[5] == (
            '<tr><td>cam</td><td class="number"><strong>50.00</strong> '
            '<span class="interval">[40.00, 60.01]</span></td><td class="number">1235</td></tr>'
        )

    def test_text(self):
        assert text_table(TABLE).to_numpy().tolist() == [
            ["vgg_16", "cam", "50.00 [40.00, 60.01]", "1235"],
            ["vgg_16", "box", "50.00 [40.00, 60.00]", "-"],
        ]

    def test_tables_of_several_kinds_are_one_csv_file(self):
        other = FormattedTable(
            "other", (TableColumn("acc", "acc", "higher"),), (Group("", (TableLine((None,)),)),)
        )
        assert written([TABLE, other], "csv").splitlines() == [
            "model,method,err (%),err low (%),err high (%),sec,run,acc",
            "vgg_16,cam,50.00,40.00,60.01,1235,r/1,",
            "vgg_16,box,50.00,40.00,60.00,,r/2,",
            ",,,,,,,",
        ]


class TestLatexText:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("grad_cam 50%", r"grad\_cam 50\%"),
            (r"\input{x}", r"\textbackslash{}input\{x\}"),
            ("a&b#c$d", r"a\&b\#c\$d"),
            ("x^2~y", r"x\textasciicircum{}2\textasciitilde{}y"),
            ("<a|b>", r"\textless{}a\textbar{}b\textgreater{}"),
            ('"q', r"{\ttfamily\char34}q"),
            ("`t", r"{\ttfamily\char96}t"),
            ("[3pt]*", "{[}3pt{]}{*}"),
            ("a--b''c,,d", "a-{}-b'{}'c,{},d"),
            ("---", "-{}-{}-"),
            ("é ñ ç Å ı", r"\'{e} \~{n} \c{c} \r{A} {\i}"),
            ("ï ị", r"\"{\i} \d{i}"),
            ("e\u0301", r"\'{e}"),
            ("ß æ Ø ł", r"{\ss} {\ae} {\O} {\l}"),
            ("λ=½ 漢", r"$\lambda$=U+00BD U+6F22"),
            ("a – b “c”", "a -- b ``c''"),
            ("a\nb\x1b\u202e", r"a\textbackslash{}nb\textbackslash{}x1b\textbackslash{}u202e"),
        ],
    )  # fmt: skip
    def test_shows_the_text_itself(self, text, expected):
        assert latex_text(text) == expected

    def test_is_plain_ascii_in_one_line_whatever_the_text(self):
        text = "".join(map(chr, range(0x2FF))) + "".join(map(chr, range(0x370, 0x1000, 7)))
        assert latex_text(text).isascii()
        assert "\n" not in latex_text(text)


@pytest.fixture(scope="module")
def pdflatex(tmp_path_factory):
    """Compiles a text that a document of its own puts in; fails unless all of it is shown.

    Returns the text of each page, where pdftotext is installed.
    """
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("pdflatex is not installed (texlive-latex-recommended)")
    folder = tmp_path_factory.mktemp("latex")

    def compile_it(text, packages="booktabs,graphicx", *, fits=False):
        (folder / "table.tex").write_text(text, encoding="utf-8")
        (folder / "paper.tex").write_text(
            "\\documentclass{article}\n"
            f"\\usepackage{{{packages}}}\n"
            "\\begin{document}\nWords before.\n\\input{table.tex}\n\\end{document}\n"
        )
        done = subprocess.run(
            [program, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
            cwd=folder, capture_output=True, timeout=120,
        )  # fmt: skip
        log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
        assert done.returncode == 0, log[-2000:]
        assert "Missing character" not in log
        assert not (fits and "Overfull \\hbox" in log), "Overfull"
        if shutil.which("pdftotext") is None:
            pytest.skip("pdftotext is not installed (poppler-utils)")
        pages = subprocess.run(
            ["pdftotext", "-layout", "paper.pdf", "-"], cwd=folder, capture_output=True, check=True
        )
        return pages.stdout.decode().split("\f")[:-1]

    return compile_it


class TestCompiled:
    def test_a_table_needs_the_packages_that_its_first_line_names(self, pdflatex):
        long = FormattedTable("", TABLE.columns, TABLE.groups * 20)
        for tables, names in (
            ([TABLE, TABLE], ["booktabs", "graphicx"]),
            ([long], ["booktabs", "longtable"]),
            ([TABLE, long], ["booktabs", "graphicx", "longtable"]),
        ):
            text = written(tables, "latex")
            assert text.startswith(f"% Needs \\usepackage{{{','.join(names)}}}.\n")
            assert text.count("usepackage") == 1
            pdflatex(text, packages=",".join(names))
        for name in names:
            others = ",".join(other for other in ["array", *names] if other != name)
            with pytest.raises(AssertionError, match=r"Undefined control|Environment longtable"):
                pdflatex(text, packages=others)

    def test_a_long_table_goes_over_pages(self, pdflatex):
        """Each page has the titles, and all lines are there."""
        columns = (TableColumn("m", "method"), TableColumn("n", "top-1 loc error", "lower", True))
        lines = tuple(TableLine((f"method {n}", Value(n / 200))) for n in range(120))
        for title in ("", "A ranking"):
            table = FormattedTable(
                title, columns, (Group("net", lines[:60]), Group("", lines[60:]))
            )
            text = written([table], "latex")
            assert "outside of a table environment" in text
            pages = pdflatex(text, packages="booktabs,longtable")
            assert len(pages) >= 3
            assert all("loc error" in page and title in page for page in pages)
            found = [name for page in pages for name in re.findall(r"method \d+", page)]
            assert found == [f"method {n}" for n in range(120)]
            assert [page.count("net") for page in pages] == [1] + [0] * (len(pages) - 1)

    def test_tables_fit_the_text_whatever_their_names(self, pdflatex):
        """In LaTeX's own article, whose text is narrow, with more columns than a protocol has."""
        columns = [TableColumn(name, f"{name}-1 loc error", "lower", True) for name in "abcde"]
        columns = (TableColumn("model", "model"), TableColumn("method", "method"), *columns)
        names = ("timm/tf_efficientnet_lite0", "randomized_weights(grad_cam) (sanity check)")
        line = TableLine((*names, *[Value(0.5, 0.4, 0.6)] * 5))
        title = f"A ranking, {'gradcam-2017+box.threshold=0.2+' * 4} 50,000 images"
        ranking = FormattedTable(title, columns, (Group("", (line,)),))
        long = (TableLine((names[1], Value(0.5, 0.4, 0.6), *[Value(0.5)] * 4)),) * 60
        pages = replace(ranking, columns=columns[1:], groups=(Group("", long),))
        paper = written([replace(ranking, title="")], "latex")
        pdflatex(written([ranking, ranking, pages], "latex"), ALL_PACKAGES, fits=True)
        pdflatex(f"\\begin{{table}}\n{paper}\\end{{table}}", fits=True)
        as_it_is = paper.replace("\\linewidth\\linewidth", "\\linewidth\\width")
        with pytest.raises(AssertionError, match="Overfull"):
            pdflatex(as_it_is, fits=True)

    def test_a_narrow_table_keeps_its_size_and_begins_on_a_line_of_its_own(self, pdflatex):
        columns, lines = TABLE.columns[:2], (TableLine(("cam", Value(0.5))),)
        ranking = FormattedTable("A ranking", columns, (Group("", lines),))
        text = written([ranking], "latex")
        [page] = pdflatex(text, fits=True)
        assert re.search(r"Words before\.\s*\n\s*A ranking\s*\n", page)
        as_it_is = re.sub(r"\\resizebox.*%\n", "{%\n", text)
        assert as_it_is != text
        assert pdflatex(as_it_is) == [page]

    def test_any_text_compiles_in_every_place(self, pdflatex):
        texts = [
            "".join(map(chr, range(0x20, 0x7F))),
            "[1em] * \\end{tabular} \\\\",
            *("".join(letters_of(start, start + 0x40)) for start in range(0xA0, 0x400, 0x40)),
            "ế 漢字 😀 \u202e \x00 \r\n % \udcff",
        ]
        lines = tuple(
            TableLine((text, Value(0.1, 0.0, 0.2, mark="best"), None), {}, text) for text in texts
        )
        columns = (TableColumn("m", texts[0]), *TABLE.columns[1:])
        groups = tuple(Group(text, (line,)) for text, line in zip(texts, lines, strict=True))
        for title in ("", texts[1]):
            table = FormattedTable(title, columns, groups, tuple(texts))
            pdflatex(written([table], "latex"))


def letters_of(start, end):
    """The characters of a range that are letters or signs."""
    return [chr(code) for code in range(start, end) if unicodedata.category(chr(code))[0] != "C"]
