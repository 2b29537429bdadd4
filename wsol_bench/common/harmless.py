"""Text of other people in outputs: one function for each kind of output makes it harmless.

Labels, image ids, file names and errors come from data sets, plug-ins and the network. None of them
may steer a terminal, open a table's cell, or become markup. JSON needs no function unless it stands
in HTML: ``json.dumps`` escapes whatever is not plain ASCII. In pictures ``printable`` is drawn with
``parse_math=False``.
"""

import csv
import html
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "csv_text",
    "html_text",
    "json_in_html",
    "latex_text",
    "markdown_text",
    "printable",
    "printable_lines",
    "yaml_text",
]

# What Markdown or HTML may take for markup, anywhere in a line; "_" is none within a word.
_MARKUP = re.compile(r"[\\`*|<>&\[\]~$#]|(?<!\w)_|_(?!\w)")
# What YAML takes for text as it stands, in a list, too, if it is no word such as "yes".
_PLAIN_IN_YAML = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
# What HTML may take for markup, and two line ends that some readers do not expect in a JSON string.
_NOT_IN_HTML = "<>&\u2028\u2029"
# How LaTeX shows a character that it takes for a command, or that its first fonts lack. Where a
# line of a table has ended, it takes a bracket or a star for an argument of that end.
_IN_LATEX = {
    "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"{\ttfamily\char34}", "`": r"{\ttfamily\char96}",
    "[": "{[}", "]": "{]}", "*": "{*}", **{character: f"\\{character}" for character in "{}$&#_%"},
    "ß": r"{\ss}", "æ": r"{\ae}", "Æ": r"{\AE}", "œ": r"{\oe}", "Œ": r"{\OE}", "ø": r"{\o}",
    "Ø": r"{\O}", "ł": r"{\l}", "Ł": r"{\L}", "ı": r"{\i}",
    "–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''",
    "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$",
}  # fmt: skip
# The accents of LaTeX by the combining characters of Unicode.
_ABOVE = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c"
_BELOW = "\u0323\u0327"
_ACCENTS = dict(zip(_ABOVE + _BELOW, "`'^~=u.\"rHvdc", strict=True))
# Two characters of which TeX would make one.
_LIGATURE = re.compile("(?<=-)(?=-)|(?<=')(?=')|(?<=,)(?=,)")
_GREEK_LETTERS = "αβγδεζηθικλμνξπρστυφχψω"
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega"
)
_GREEK = dict(zip(_GREEK_LETTERS, _GREEK_NAMES.split(), strict=True))


def printable(text: str) -> str:
    """The text on one line of a terminal, with control characters escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """A text of several lines for a terminal or an error, with other control characters escaped."""
    return "\n".join(map(printable, text.split("\n")))


def markdown_text(text: str) -> str:
    """The text on one line of Markdown, or in a cell of its tables, as it is and not as markup."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", printable(text))


def html_text(text: str) -> str:
    """The text within an HTML element, or an attribute in quotes, as it is and not as markup."""
    return html.escape(printable(text))


def json_in_html(json: str) -> str:
    """The same JSON in characters that cannot end the HTML element in which it stands.

    All of them can only be within strings, where JSON has another way to write them.
    """
    for character in _NOT_IN_HTML:
        json = json.replace(character, f"\\u{ord(character):04x}")
    return json


def latex_text(text: str) -> str:
    """The text on one line of LaTeX, as it is and not as commands.

    The text needs no package. Letters with an accent become LaTeX's accents, and characters that
    the fonts of LaTeX lack become their number, as in ``U+6F22``, since they would be an error.
    """
    parts = _LIGATURE.split(unicodedata.normalize("NFC", printable(text)))
    return "{}".join("".join(map(_latex_character, part)) for part in parts)


def _latex_character(character: str) -> str:
    """LaTeX's notation of a printable character."""
    if character in _IN_LATEX:
        return _IN_LATEX[character]
    if character.isascii():
        return character
    base, *marks = list(unicodedata.normalize("NFD", character))
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        letter = f"\\{base}" if base in "ij" and marks[0] in _ABOVE else base  # without its dot
        return f"\\{_ACCENTS[marks[0]]}{{{letter}}}"
    if character in _GREEK:
        return f"$\\{_GREEK[character]}$"
    return f"U+{ord(character):04X}"


def csv_text(table: "pd.DataFrame") -> str:
    """A table as CSV that reads back as it is, whatever its cells hold.

    Before version 3.13 Python does not quote a lone carriage return, which ends a line for many
    readers.
    """
    texts = table.select_dtypes(exclude=["number", "bool"])
    if any("\r" in str(cell) for column in texts for cell in texts[column]):
        return table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return table.to_csv(index=False, lineterminator="\n")


def yaml_text(text: str) -> str:
    """The text as a value of YAML on one line, in quotes unless it reads back as it is."""
    import yaml

    if _PLAIN_IN_YAML.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    quoted = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))
    return str(quoted).rstrip("\n")
