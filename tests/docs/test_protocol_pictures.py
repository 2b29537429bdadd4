"""docs/protocol_pictures.md: its protocols can be read, and its numbers are those of the code."""

import re
import runpy
from pathlib import Path

import pytest
import yaml

from wsol_bench.protocols.load import load_protocol

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "protocol_pictures.md").read_text()


@pytest.mark.parametrize("line", re.findall(r"^    (protocol: .*)", PAGE, re.MULTILINE))
def test_a_protocol_of_the_page_can_be_read(line):
    changes = yaml.safe_load(line)["protocol"]
    assert "+" in load_protocol(changes.pop("name"), changes).name


def test_every_picture_is_shown():
    shown = re.findall(r"\(pictures/(\S+)\)", PAGE)
    assert sorted(shown) == sorted(path.name for path in (DOCS / "pictures").iterdir())


@pytest.mark.slow
def test_the_numbers_below_the_pictures_are_those_of_the_script(tmp_path):
    script = runpy.run_path(str(DOCS.parent / "scripts/protocol_pictures"))
    assert script["written"](PAGE, tmp_path) == PAGE, "run scripts/protocol_pictures"
