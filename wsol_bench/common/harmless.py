"""Text of other people in outputs: one function for each kind of output makes it harmless.

Labels, image ids, file names and errors come from data sets, plug-ins and the network. None of them
may steer a terminal, open a table's cell, or become markup. JSON needs no function unless it stands
in HTML: ``json.dumps`` escapes whatever is not plain ASCII. In pictures ``printable`` is drawn with
``parse_math=False``.
"""

import csv
import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "csv_text",
    "html_text",
    "json_in_html",
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
