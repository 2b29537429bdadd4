"""The modules of the page: checked types, one scope for all, and no text that becomes HTML."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from browser import skip_or_fail

from wsol_bench.report.page import document

ASSETS = Path(document.__file__).parent / "assets"
MODULES = sorted(ASSETS.glob("*.js"))
TSC = Path(__file__).resolve().parents[3] / "node_modules/.bin/tsc"
# What makes HTML or programs of texts, or needs what the content security policy forbids.
FORBIDDEN = re.compile(
    r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|DOMParser|srcdoc)\b"
    r"|\bdocument\.write|\beval\(|\bnew Function\b|\bimport\("
)
ENDS_ELEMENT = re.compile(r"</(?:script|style)|<!--", re.IGNORECASE)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
TOP_LEVEL = re.compile(
    r"^(?:export )?(?:async )?(?:function\*?|class|const|let|var) +([\w$]+)", re.MULTILINE
)


def test_types_are_right():
    if not (TSC.exists() and shutil.which("node")):
        skip_or_fail("typescript is not installed (scripts/setup_page)")
    done = subprocess.run([TSC, "-p", ASSETS], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_module_is_in_the_page_once_behind_those_that_it_imports():
    page = document.joined_modules()
    texts = {path.name: path.read_text() for path in MODULES}
    first_lines = {name: text.splitlines()[0] for name, text in texts.items()}
    place = {name: page.index(line) for name, line in first_lines.items()}
    for name, text in texts.items():
        assert page.count(first_lines[name]) == 1
        for imported in re.findall(r"""^import .*? from ["']\./(.*?)["']""", text, re.M | re.S):
            assert place[imported] < place[name]


def test_no_import_or_export_is_left_in_the_page():
    left = re.findall(r"^(?:import|export)\b.*", document.joined_modules(), re.MULTILINE)
    assert left == []


def test_no_two_modules_have_the_same_name_of_anything():
    names = Counter(name for path in MODULES for name in TOP_LEVEL.findall(path.read_text()))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("path", [*MODULES, *ASSETS.glob("*.css")], ids=lambda path: path.name)
def test_no_module_makes_html_or_programs_of_texts(path):
    text = path.read_text()
    assert FORBIDDEN.findall(COMMENT.sub("", text)) == []
    assert ENDS_ELEMENT.findall(text) == []


def test_modules_that_import_each_other_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "_ASSETS", tmp_path)
    (tmp_path / "one.js").write_text('import { b } from "./two.js";\n')
    (tmp_path / "two.js").write_text('import { a } from "./one.js";\n')
    with pytest.raises(ValueError, match=r"one\.js -> two\.js -> one\.js"):
        document.joined_modules("one.js")
