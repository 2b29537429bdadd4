"""The page as one HTML file: the modules and styles of ``assets``, and blocks of data.

The page runs no program but its own and loads nothing, because a content security policy names the
digests of its scripts and styles. Class words, image ids, paths and other texts of runs are data in
blocks, which no browser reads as HTML.
"""

import base64
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from plotly.offline import get_plotlyjs

from wsol_bench.common.harmless import html_text, json_in_html

__all__ = ["ICON", "joined_modules", "page_html", "policy_digest"]

_ASSETS = Path(__file__).parent / "assets"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|const|class) )", re.MULTILINE)
# Plotly puts its rules into the style elements of these ids. It would make those that are missing,
# which the policy forbids, so the page has them from the beginning, empty.
_PLOTLY_STYLE = re.compile(r'document\.getElementById\("([0-9a-f]{64})"\)')
# It sets style attributes, which the policy forbids, where it could set the same style itself.
_STYLE_ATTRIBUTE = re.compile(r'\.attr\("style",([\w$.]+|"")\)')
# The icon of every page, in SVG.
ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
    b'<rect width="16" height="16" rx="3" fill="#1f2933"/>'
    b'<circle cx="8.5" cy="7.5" r="4" fill="#e8a33d"/>'
    b'<rect x="3.5" y="3.5" width="9" height="9" fill="none" stroke="#fff" stroke-width="1.2"/>'
    b"</svg>"
)
_NO_SCRIPT = "This page needs JavaScript to show its runs. It runs only what it brings with it."


def page_html(
    title: str, blocks: Iterable[tuple[str, str]], *, connects: bool = False
) -> Iterator[str]:
    """The text of the page, in pieces, so that no large page is in memory as a whole.

    Args:
        title: title of the window.
        blocks: ids and texts, each of which is JSON or base64. The page reads a text by
            ``blockText(id)`` of assets/source.js.
        connects: whether the page may ask the server that it came from. Otherwise it can connect
            to nothing.
    """
    program, deflated, style_ids = _plotly()
    script, style = joined_modules(), _joined_styles()
    policy = _security_policy([script, program], [style, ""], connects=connects)
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html_text(title)}</title>\n"
        f'<link rel="icon" href="data:image/svg+xml;base64,{_base64(ICON)}">\n'
    )
    for style_id in style_ids:
        yield f'<style id="{style_id}"></style>\n'
    yield (
        f"<style>{style}</style>\n</head>\n<body>\n"
        f'<div id="app"></div>\n<noscript>{_NO_SCRIPT}</noscript>\n'
    )
    for name, text in blocks:
        yield f'<script type="application/json" id="{name}">'
        yield json_in_html(text)
        yield "</script>\n"
    yield f'<script type="application/json" id="plotly">{deflated}</script>\n'
    yield f'<script type="module">{script}</script>\n</body>\n</html>\n'


def _security_policy(scripts: list[str], styles: list[str], *, connects: bool) -> str:
    """The content security policy of the page, which allows scripts and styles by their digests."""
    own = " 'self'" if connects else ""
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(map(policy_digest, scripts)),
        "style-src": " ".join(map(policy_digest, styles)),
        "img-src": f"data: blob:{own}",
        "connect-src": own.strip() or "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in rules.items())


@cache
def joined_modules(entry: str = "main.js") -> str:
    """A module of ``assets`` and all that it needs as one module, each after those that it imports.

    The modules keep to a few forms of ``import`` and ``export``, and no two of them have the same
    top-level name, so that they become one when these words are taken out.

    Raises:
        ValueError: modules import each other in a circle.
    """
    texts: dict[str, str] = {}
    _join_module(entry, texts, ())
    return "\n".join(texts.values())


def _join_module(name: str, texts: dict[str, str], importers: tuple[str, ...]) -> None:
    """Add a module to ``texts``, behind the modules that it imports."""
    if name in importers:
        raise ValueError(f"modules import each other: {' -> '.join((*importers, name))}")
    if name not in texts:
        text = (_ASSETS / name).read_text(encoding="utf-8")
        for imported in _IMPORT.findall(text):
            _join_module(imported, texts, (*importers, name))
        texts[name] = _EXPORT.sub("", _IMPORT.sub("", text))


@cache
def _joined_styles() -> str:
    """All styles; base.css, which has the variables, comes first by its name."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(_ASSETS.glob("*.css")))


@cache
def _plotly() -> tuple[str, str, list[str]]:
    """Plotly's program, the same deflated in base64, and the ids of its style elements."""
    set_style = r".each(function(){this.style.cssText=\1})"
    program = _STYLE_ATTRIBUTE.sub(set_style, get_plotlyjs())
    deflated = _base64(zlib.compress(program.encode(), 9))
    return program, deflated, ["plotly.js-style-global", *_PLOTLY_STYLE.findall(program)]


def policy_digest(text: str) -> str:
    """The text's digest, as a content security policy names it."""
    return f"'sha256-{_base64(hashlib.sha256(text.encode()).digest())}'"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
