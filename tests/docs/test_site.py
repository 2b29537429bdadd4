"""The site of the documentation: which pages it has, and that a broken link ends its build."""

import inspect
import json
import pydoc
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import wsol_bench

ROOT = Path(__file__).parents[2]
CONFIG = (ROOT / "mkdocs.yml").read_text()
NAV = re.findall(r"^ +- .*: (\S+\.(?:md|ipynb))$", CONFIG, re.MULTILINE)
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_navigation_has_every_page_once():
    pages = {str(path.relative_to(ROOT)) for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]}
    for others in ("results/*.md", "docs/*.ipynb"):
        pages |= {str(path.relative_to(ROOT)) for path in ROOT.glob(others)}
    assert pages - {*NAV} == set(), "add these pages under `nav` of mkdocs.yml"
    assert {*NAV} - pages == set()
    assert len(NAV) == len({*NAV})


def test_the_api_page_has_every_public_name():
    page = (ROOT / "docs/api.md").read_text()
    for name in {*wsol_bench.__all__} - {"__version__"}:
        assert re.search(rf"^::: wsol_bench\.{name}\b", page, re.MULTILINE), (
            f"add '::: wsol_bench.{name}' to docs/api.md"
        )


def test_examples_of_the_api_page_are_sections_since_markdown_would_quote_them():
    page = (ROOT / "docs/api.md").read_text()
    tried = 0
    for name in re.findall(r"^::: (\S+)", page, re.MULTILINE):
        documented = pydoc.locate(name)
        members = inspect.getmembers(documented, inspect.isroutine)
        if inspect.ismodule(documented):  # of which the page lists the members that it shows
            members = [(name, member) for name, member in members if f"- {name}\n" in page]
        for each in [documented, *(member for _, member in members)]:
            before, example, _ = (inspect.getdoc(each) or "").partition(">>>")
            assert not example or before.endswith("Examples:\n    "), f"{name}: {each}"
            tried += bool(example)
    assert tried > 2


def test_the_citation_is_of_this_version_and_license():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= {*CITATION}  # what the format requires
    assert CITATION["version"] == project["version"] == wsol_bench.__version__
    assert CITATION["license"] == project["license"]


@pytest.fixture
def site(tmp_path):
    """A repository of three pages with the site's configuration and hook."""
    pytest.importorskip("mkdocs", reason="needs the extra 'docs'")
    pytest.importorskip("material", reason="needs the extra 'docs'")
    shutil.copytree(ROOT / "docs/site", tmp_path / "docs/site")
    nav = "nav: [README.md, docs/page.md, results/table.md]\n\n"
    config = re.sub(r"^nav:.*?\n\n", nav, CONFIG, flags=re.MULTILINE | re.DOTALL)
    config = re.sub(r"^  - mkdocstrings:.*?\n\n", "\n", config, flags=re.MULTILINE | re.DOTALL)
    config = re.sub(r"^watch:.*\n", "", config, flags=re.MULTILINE)
    (tmp_path / "mkdocs.yml").write_text(config)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/table.md").write_text(
        "# Table\n\n## Its rows\n\n[page](../docs/page.md)\n"
    )
    (tmp_path / "results/table.csv").write_text("a,b\n")
    (tmp_path / "docs/page.md").write_text("# Page\n")
    links = "[page](docs/page.md) [rows](results/table.md#its-rows) [data](results/table.csv)"
    (tmp_path / "README.md").write_text(f"# Home\n\n{links}\n")
    return tmp_path


def build(site):
    """The exit code and messages of a build."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_files_outside_docs_are_pages_or_files_of_the_site(site):
    code, messages = build(site)
    assert code == 0, messages
    home = (site / "site/index.html").read_text()
    for target in ("page/", "results/table/#its-rows", "results/table.csv"):
        assert f'href="{target}"' in home
        assert Path(site, "site", target.split("#")[0]).exists()
    assert 'href="../../page/"' in (site / "site/results/table/index.html").read_text()


def test_a_notebook_is_a_page_with_its_outputs(site):
    outputs = [
        {"data": {"text/html": ["<div>\n\n<table>\n<tr><td>a & b</td></tr>\n\n</table></div>"]}},
        {"data": {"text/plain": ["<Module>\n", "\n", "of two lines"]}},
        {"data": {"image/png": "AAAA\nBBBB\n"}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "[table](../results/table.md)"]},
        {"cell_type": "code", "source": ["a < 1"], "outputs": outputs},
        {"cell_type": "markdown", "source": "*Below*"},
    ]
    (site / "docs/one.ipynb").write_text(json.dumps({"cells": cells}))
    config = (site / "mkdocs.yml").read_text()
    (site / "mkdocs.yml").write_text(config.replace("docs/page.md", "docs/page.md, docs/one.ipynb"))
    (site / "docs/page.md").write_text("# Page\n\n[notebook](one.ipynb#title)\n")
    code, messages = build(site)
    assert code == 0, messages
    page = (site / "site/one/index.html").read_text()
    assert '<h1 id="title">' in page and 'href="../results/table/"' in page
    assert (
        '<div class="language-python highlight">' in page and '<span class="o">&lt;</span>' in page
    )
    assert '<div class="output"><div><table><tr><td>a & b</td></tr></table></div></div>' in page
    assert "<pre><code>&lt;Module&gt;\n\nof two lines</code></pre>" in page
    assert 'src="data:image/png;base64,AAAABBBB"' in page
    assert "<em>Below</em>" in page
    assert 'href="../one/#title"' in (site / "site/page/index.html").read_text()


def test_no_page_asks_another_server(site):
    assert build(site)[0] == 0
    for page in (site / "site").rglob("*.html"):
        assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page.read_text()), page
        assert "Content-Security-Policy\" content=\"default-src 'self'; " in page.read_text()


BROKEN = {
    "a page": "missing_page.md",
    "a page outside docs/": "../results/missing_table.md",
    "a file outside the repository": "../../missing_outside.md",
    "an anchor": "#missing-anchor",
    "an anchor of another page": "../results/table.md#missing-section",
    "an absolute link": "/page/",
    "a folder": "../results/",
    "a picture": "missing_picture.png",
}


def test_a_broken_link_ends_the_build(site):
    links = "\n".join(f"[{text}]({target})" for text, target in BROKEN.items())
    (site / "docs/page.md").write_text(f"# Page\n\n{links}\n")
    code, messages = build(site)
    assert code != 0
    warned = [line for line in messages.splitlines() if line.startswith("WARNING")]
    for target in BROKEN.values():
        assert any(f"'{target}'" in line for line in warned), (target, messages)


def test_a_page_that_the_navigation_forgets_ends_the_build(site):
    (site / "docs/forgotten.md").write_text("# Forgotten\n")
    code, messages = build(site)
    assert code != 0
    assert "forgotten.md" in messages
