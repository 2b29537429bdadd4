"""The blocks of a report's file."""

import base64
import json
import re
import zlib

from wsol_bench.report.page.document import page_html

BLOCK = re.compile(r'<script type="application/json" id="([^"]+)">(.*?)</script>', re.DOTALL)


def blocks_of(report):
    """The data of a report, by block."""
    return {name: text for name, text in BLOCK.findall(report.read_text()) if name != "plotly"}


def written(file, blocks):
    """The file of a page with these data."""
    file.write_text("".join(page_html("A page", blocks.items())), encoding="utf-8")
    return file.as_uri()


def inflated(text):
    """The value in a deflated block."""
    return json.loads(zlib.decompress(base64.b64decode(text)))


def deflated(value):
    """A value as the text of a deflated block."""
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()
