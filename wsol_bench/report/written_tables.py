"""The formats of tables: Markdown, CSV, LaTeX, HTML, and text for a screen."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import pandas as pd

from wsol_bench.common.harmless import csv_text, html_text, latex_text, markdown_text, printable
from wsol_bench.common.vocabulary import Better
from wsol_bench.report.formatted_tables import (
    Cell,
    FormattedTable,
    Group,
    TableColumn,
    TableLine,
    Value,
)
from wsol_bench.report.tables import markdown_table, number_text

__all__ = ["TableFormat", "html_table", "text_table", "written"]

# The formats of files; a screen shows ``text_table``.
TableFormat = Literal["markdown", "csv", "latex"]
_LATEX_ARROWS: Mapping[Better, str] = {"higher": r"$\uparrow$", "lower": r"$\downarrow$"}
_NO_FLOAT = (
    "The table is longer than a page: it belongs into text of one column, outside of a table "
    "environment. LaTeX must run two or three times until its columns are aligned."
)
# Lines with which a page of LaTeX is full; a longer table is continued on the next.
_LINES_OF_A_PAGE = 45
# Letters of a title that is as narrow as the numbers below it.
_NARROW = 9
# LaTeX itself measures a table, and makes one that is wider than the text as wide as the text.
_AT_MOST_THE_TEXT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
# A table of several pages cannot be measured: its size follows from its number of letters. The
# width of the text of LaTeX's own page in points, and sizes: the command, the width of a letter,
# and that of the space between columns. A table that is still wider has very long names.
_TEXT_WIDTH = 345.0
_SIZES = (
    ("", 5.2, 12.0),
    (r"\footnotesize\setlength{\tabcolsep}{4pt}", 4.5, 8.0),
    (r"\scriptsize\setlength{\tabcolsep}{3pt}", 3.9, 6.0),
    (r"\tiny\setlength{\tabcolsep}{2pt}", 3.1, 4.0),
)


def written(tables: Sequence[FormattedTable], table_format: TableFormat) -> str:
    """Tables, one below the other, in a format of files.

    A CSV file has the lines of all tables with the columns of all, empty where a table has none.
    """
    if table_format == "csv":
        return csv_text(pd.concat(map(_csv_table, tables), ignore_index=True).fillna(""))
    if table_format == "latex":
        return f"{_latex_needs(tables)}\n{chr(10).join(map(_latex, tables))}"
    return "\n".join(map(_markdown, tables))


def text_table(table: FormattedTable) -> pd.DataFrame:
    """A table as text for a screen."""
    return _frame(table, str, _plain)


def _plain(value: Value) -> str:
    return f"{value.text} {value.interval}".rstrip()


def _frame(
    table: FormattedTable, text: Callable[[str], str], number: Callable[[Value], str]
) -> pd.DataFrame:
    """A table as text, with a column of the groups' headings.

    Args:
        table: the table.
        text: writes a word.
        number: writes a number.
    """
    with_groups = bool(table.group_column)
    titles = [*([table.group_column] if with_groups else []), *(c.heading for c in table.columns)]
    lines = [
        [
            *([text(group.heading)] if with_groups else []),
            *(_cell(cell, text, number) for cell in line.cells),
        ]
        for group, line in table.lines()
    ]
    return pd.DataFrame(lines, columns=[text(title) for title in titles])


def _cell(cell: Cell, text: Callable[[str], str], number: Callable[[Value], str]) -> str:
    if isinstance(cell, Value):
        return number(cell)
    return text("-" if cell is None else cell)


# ---- CSV


def _csv_table(table: FormattedTable) -> pd.DataFrame:
    """A table as text for a CSV file: the ends of intervals stand in columns of their own."""
    return pd.DataFrame([_csv_line(table, group, line) for group, line in table.lines()])


def _csv_line(table: FormattedTable, group: Group, line: TableLine) -> dict[str, str]:
    content = {table.group_column: group.heading} if table.group_column else {}
    for column, cell in zip(table.columns, line.cells, strict=True):
        if not isinstance(cell, Value):
            content[f"{column.name}{column.unit}"] = cell or ""
            continue
        content[f"{column.name}{column.unit}"] = cell.text
        if cell.interval:
            for name, end in (("low", cell.low), ("high", cell.high)):
                end_text = number_text(end, is_share=cell.percent)
                content[f"{column.name} {name}{column.unit}"] = end_text
    return content | dict(line.facts)


# ---- Markdown


def _markdown(table: FormattedTable) -> str:
    """A table as Markdown; a comment below names the runs, since a line has no place for it."""
    frame = _frame(table, markdown_text, _markdown_number)
    numbers = [column.better is not None for column in table.columns]
    numbers = [*([False] if table.group_column else []), *numbers]
    parts = [f"### {markdown_text(table.title)}"] if table.title else []
    parts += [markdown_table(frame, right=numbers), *map(markdown_text, table.notes)]
    if sources := list(_sources(table)):
        comment = "\n".join(map(markdown_text, sources))  # which escapes the end of a comment
        parts.append(f"<!--\n{comment}\n-->")
    return "\n\n".join(parts) + "\n"


def _markdown_number(value: Value) -> str:
    before, after = {"best": ("**", "**"), "second": ("<u>", "</u>"), None: ("", "")}[value.mark]
    return f"{before}{value.text}{after} {value.interval}".rstrip()


def _sources(table: FormattedTable) -> Iterator[str]:
    """The runs of a table's lines, each with the lines that it gave."""
    lines_of: dict[str, list[str]] = {}
    for group, line in table.lines():
        if line.source:
            names = (group.heading, *(cell for cell in line.cells if isinstance(cell, str)))
            lines_of.setdefault(line.source, []).append(" ".join(filter(None, names)))
    for source, lines in lines_of.items():
        yield f"{source}: {', '.join(lines) if len(lines_of) > 1 else 'all numbers'}"


# ---- LaTeX


def _latex_needs(tables: Sequence[FormattedTable]) -> str:
    """The comment that names the packages of tables."""
    long = [_is_long(table) for table in tables]
    packages = ["booktabs", *(["graphicx"] if not all(long) else [])]
    packages += ["longtable"] if any(long) else []
    return f"% Needs \\usepackage{{{','.join(packages)}}}."


def _is_long(table: FormattedTable) -> bool:
    """Return whether a table is longer than a page."""
    return len(table.groups) + sum(1 for _ in table.lines()) > _LINES_OF_A_PAGE


def _latex(table: FormattedTable) -> str:
    """A table as LaTeX; a comment behind each line names its run."""
    wide = {
        number
        for number in range(len(table.columns))
        if any(_has_interval(line.cells[number]) for _, line in table.lines())
    }
    kinds = "".join(
        "r@{\\,}l" if number in wide else "l" if column.better is None else "r"
        for number, column in enumerate(table.columns)
    )
    n_columns = len(table.columns) + len(wide)
    head = ["\\toprule", *_latex_head(table, wide), "\\midrule"]
    title = (
        f"\\parbox[t]{{\\linewidth}}{{\\raggedright\\textbf{{{latex_text(table.title)}}}\\strut}}"
    )
    is_long = _is_long(table)
    size = _latex_size(table) if is_long else ""
    interval_size = "\\tiny" if size.startswith(("\\scriptsize", "\\tiny")) else "\\scriptsize"
    lines = [f"% {printable(note)}" for note in (*([_NO_FLOAT] if is_long else []), *table.notes)]
    if is_long:
        lines.append(f"\\par{{{size}")
        lines.append(f"\\begin{{longtable}}{'[l]' if table.title else ''}{{@{{}}{kinds}@{{}}}}")
        if table.title:  # in a box without a width, which makes no column wider
            box = f"\\makebox[0pt][l]{{{title}}}"
            lines.append(f"{_latex_across(n_columns, box)}[3pt]")
        lines += [*head, "\\endhead", "\\bottomrule", "\\endfoot"]
    else:
        if table.title:
            lines.append(
                f"\\par\\addvspace{{\\medskipamount}}\\noindent{title}\\par\\nopagebreak\\smallskip\\noindent"
            )
        lines += [_AT_MOST_THE_TEXT, f"\\begin{{tabular}}{{@{{}}{kinds}@{{}}}}", *head]
    for number, group in enumerate(table.groups):
        lines += ["\\midrule"] if number else []
        if group.heading:
            heading = _latex_across(n_columns, f"\\emph{{{latex_text(group.heading)}}}")
            lines.append(f"{heading}{'*' if is_long else ''}")  # on the page of the next line
        for line in group.lines:
            lines += ["\\addlinespace"] if line.space_above else []
            lines.append(_latex_line(line, wide, interval_size))
    lines += ["\\end{longtable}}"] if is_long else ["\\bottomrule", "\\end{tabular}}"]
    lines += ["\\par\\bigskip"] if table.title else []
    return "\n".join(lines) + "\n"


def _latex_across(n_columns: int, text: str) -> str:
    """A line of one cell."""
    return f"\\multicolumn{{{n_columns}}}{{@{{}}l}}{{{text}}} \\\\"


def _latex_size(table: FormattedTable) -> str:
    """The commands with which a long table fits the text; "" if it does so by itself."""
    lines = [[_cell(cell, str, _plain) for cell in line.cells] for _, line in table.lines()]
    heads = [_title_lines(column) for column in table.columns]
    n_letters = sum(
        max(map(len, [*head, *cells])) for head, *cells in zip(heads, *lines, strict=True)
    )
    fitting = (
        command
        for command, letter, gap in _SIZES
        if n_letters * letter + len(table.columns) * gap <= _TEXT_WIDTH
    )
    return next(fitting, _SIZES[-1][0])


def _latex_head(table: FormattedTable, wide: set[int]) -> list[str]:
    """The lines of titles: units and arrows stand below, where they make no column wider."""
    titles = [
        [column.title] if number in wide else _title_lines(column)
        for number, column in enumerate(table.columns)
    ]
    height = max(map(len, titles))
    has_lower_line = any(column.unit or column.better for column in table.columns)
    cells = []
    for number, (column, title) in enumerate(zip(table.columns, titles, strict=True)):
        arrow = _LATEX_ARROWS[column.better] if column.better else ""
        below = f"{latex_text(column.unit.strip())} {arrow}".strip()
        texts = [*[""] * (height - len(title)), *map(latex_text, title)]
        texts += [below] if has_lower_line else []
        cells.append(
            [f"\\multicolumn{{2}}{{c}}{{{text}}}" for text in texts] if number in wide else texts
        )
    return [f"{' & '.join(line)} \\\\" for line in zip(*cells, strict=True)]


def _title_lines(column: TableColumn) -> list[str]:
    """The title of a column: of numbers as two lines, where one is wider than they are."""
    words = column.title.split(" ")
    if column.better is None or len(column.title) <= _NARROW or len(words) == 1:
        return [column.title]
    both = ((" ".join(words[:n]), " ".join(words[n:])) for n in range(1, len(words)))
    return list(min(both, key=lambda parts: max(map(len, parts))))


def _latex_line(line: TableLine, wide: set[int], interval_size: str) -> str:
    cells = []
    for number, cell in enumerate(line.cells):
        cells.append(_cell("--" if cell is None else cell, _latex_word, _latex_number))
        if number in wide:
            interval = cell.interval if isinstance(cell, Value) else ""
            cells.append(f"{{{interval_size} {interval}}}" if interval else "")
    source = f" % {printable(line.source)}" if line.source else ""
    return f"{' & '.join(cells)} \\\\{source}"


def _latex_word(text: str) -> str:
    return text if text == "--" else latex_text(text)


def _latex_number(value: Value) -> str:
    command = {"best": "textbf", "second": "underline", None: ""}[value.mark]
    return f"\\{command}{{{value.text}}}" if command else value.text


def _has_interval(cell: Cell) -> bool:
    return isinstance(cell, Value) and bool(cell.interval)


# ---- HTML


def html_table(table: FormattedTable) -> str:
    """The element ``table``, without title and notes."""
    classes = ["" if column.better is None else ' class="number"' for column in table.columns]
    head = "".join(
        f'<th scope="col"{kind}>{html_text(column.title)}{_html_unit(column)}</th>'
        for kind, column in zip(classes, table.columns, strict=True)
    )
    body = []
    for _, line in table.lines():
        cells = "".join(
            f"<td{kind}>{_cell(cell, html_text, _html_number)}</td>"
            for kind, cell in zip(classes, line.cells, strict=True)
        )
        muted = ' class="muted"' if line.muted else ""
        body.append(f"<tr{muted}>{cells}</tr>\n")
    return (
        f"<table>\n<thead>\n<tr>{head}</tr>\n</thead>\n<tbody>\n{''.join(body)}</tbody>\n</table>\n"
    )


def _html_unit(column: TableColumn) -> str:
    """The text behind a title, as one piece that is not broken."""
    unit = column.heading.removeprefix(column.title).strip()
    return f' <span class="unit">{unit}</span>' if unit else ""


def _html_number(value: Value) -> str:
    element = {"best": "strong", "second": "u", None: ""}[value.mark]
    text = html_text(value.text)
    text = f"<{element}>{text}</{element}>" if element else text
    interval = f' <span class="interval">{html_text(value.interval)}</span>'
    return text + interval if value.interval else text
