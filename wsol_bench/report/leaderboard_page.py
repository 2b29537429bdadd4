"""A leaderboard as one static HTML file: no scripts, and nothing that is loaded."""

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources

from wsol_bench import __version__
from wsol_bench.common.harmless import html_text
from wsol_bench.report.formatted_tables import FormattedTable
from wsol_bench.report.leaderboard import Leaderboard
from wsol_bench.report.leaderboard_tables import tables_of
from wsol_bench.report.page.document import ICON, policy_digest
from wsol_bench.report.written_tables import html_table

__all__ = ["leaderboard_page"]

_STYLE = """
h2, p, li { overflow-wrap: anywhere; }
main { max-width: 1440px; margin: 0 auto; padding: 32px 24px 48px; }
header { margin-bottom: 28px; }
h1 { font-size: 22px; }
section { margin-bottom: 36px; }
section h2 { margin-bottom: 2px; font-size: 17px; }
section.published { margin: -18px 0 36px; }
section.published h2 { font-size: 14px; }
section p { max-width: 100ch; margin-bottom: 10px; font-size: 13px; color: var(--muted); }
.table { overflow-x: auto; border: 1px solid var(--line); border-radius: var(--radius);
  background: var(--surface); }
table { width: 100%; border-collapse: collapse; }
th, td { padding: 5px 9px; text-align: left; vertical-align: baseline; }
th { font-size: 12px; font-weight: 600; color: var(--muted); vertical-align: bottom;
  border-bottom: 1px solid var(--line-strong); }
td { border-top: 1px solid var(--line); }
tbody tr:first-child td { border-top: 0; }
td.number, th.number { text-align: right; }
th.number { min-width: 96px; }
td.number, .unit, td:last-child { white-space: nowrap; }
section:not(.published) td:nth-last-child(-n+2) { font-size: 12px; color: var(--muted); }
tr:hover td { background: var(--sunken); }
tr.muted td, .interval { color: var(--muted); }
section.published table { width: auto; min-width: 50%; }
.interval { font-size: 12px; }
footer { font-size: 12px; color: var(--muted); }
footer ul { margin: 4px 0 12px; padding-left: 18px; }
"""
# The colors of the dark theme, which other pages choose by a script.
_DARK = re.compile(r':root\[data-theme="dark"\] (\{[^}]*\})')


def leaderboard_page(board: Leaderboard) -> str:
    """The page of a leaderboard."""
    style = _style()
    icon = base64.b64encode(ICON).decode()
    policy = (
        f"default-src 'none'; style-src {policy_digest(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    sections = "".join(map(_section, tables_of(board)))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        "<title>Leaderboard</title>\n"
        f'<link rel="icon" href="data:image/svg+xml;base64,{icon}">\n'
        f"<style>{style}</style>\n</head>\n<body>\n<main>\n"
        '<header><h1>Leaderboard</h1>\n<p class="muted">Methods are ranked among those with the '
        "same data set, protocol and images.</p></header>\n"
        f"{sections}{_footer(board.left_out)}</main>\n</body>\n</html>\n"
    )


def _style() -> str:
    """The colors and type of every page, and the layout of this one."""
    assets = resources.files("wsol_bench.report.page") / "assets"
    base = (assets / "base.css").read_text(encoding="utf-8")
    dark = _DARK.sub(r"@media (prefers-color-scheme: dark) { :root \1 }", base)
    return dark + _STYLE


def _section(table: FormattedTable) -> str:
    published = ' class="published"' if table.title.startswith("Published") else ""
    return (
        f"<section{published}>\n<h2>{html_text(table.title)}</h2>\n"
        f"<p>{html_text(' '.join(table.notes))}</p>\n"
        f'<div class="table" role="region" tabindex="0" aria-label="{html_text(table.title)}">\n'
        f"{html_table(table)}</div>\n</section>\n"
    )


def _footer(left_out: Sequence[str]) -> str:
    """The runs that are left out, and when and by what the page was made."""
    made = datetime.now(UTC).isoformat(timespec="minutes")
    items = "".join(f"<li>{html_text(reason)}</li>\n" for reason in left_out)
    listed = f"<p>Left out:</p>\n<ul>\n{items}</ul>\n" if items else ""
    return f"<footer>\n{listed}<p>wsol_bench {__version__}, {made}</p>\n</footer>\n"
