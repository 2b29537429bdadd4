"""The files of the documentation site, each at the place that it has in the repository.

Pages link to other pages, and to files outside of docs/, as these lie in the repository, so that
the links work where the repository is browsed. This hook of mkdocs gives every file its path in the
repository as its source, adds the pages of the navigation and the files that pages link to, and
leaves "docs/" out of their addresses. So the same links work on the site, and mkdocs checks them.
A notebook is a page, too: its cells, with the outputs that are stored in it.
"""

import json
import re
from html import escape
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

# The target of a link or of a picture, without its anchor; addresses with a scheme are none.
_TARGET = re.compile(r"\]\((?![a-z]+:)([^)\s#]+)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """The files of docs/, of the navigation, and those that pages link to; and the theme's own."""
    root = Path(config.config_file_path).parent
    of_theme = [file for file in files if file.src_dir != config.docs_dir]
    inclusion = {f"docs/{file.src_uri}": file.inclusion for file in files if file not in of_theme}
    pending = [*inclusion, *_pages_of(config.nav)]
    found: dict[str, File] = {}
    while pending:
        uri = pending.pop()
        path = Path(root, uri)
        if uri in found or uri.startswith("../") or not path.is_file():
            continue  # a link to a file that is not there: mkdocs says so
        found[uri] = file = _placed(uri, root, config)
        if uri in inclusion:
            file.inclusion = inclusion[uri]
        if file.is_documentation_page():
            targets = _TARGET.findall(path.read_text(encoding="utf-8"))
            pending += [normpath(join(dirname(uri), target)) for target in targets]
    return Files([*(found[uri] for uri in sorted(found)), *of_theme])


def _pages_of(nav: object) -> list[str]:
    """The paths in a navigation, which is nested lists and mappings from titles."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else []
    return [page for part in parts for page in _pages_of(part)]


def _placed(uri: str, root: Path, config: MkDocsConfig) -> File:
    """A file of the repository, with an address that does not begin with "docs/"."""
    place = str(root), config.site_dir, config.use_directory_urls
    kind = _Notebook if uri.endswith(".ipynb") else File
    address = kind(uri.removeprefix("docs/"), *place).dest_uri
    return kind(uri, *place, dest_uri=address)


class _Notebook(File):
    """A notebook as a page."""

    def is_documentation_page(self) -> bool:
        return True

    @property
    def content_string(self) -> str:
        """The page as Markdown."""
        cells = json.loads(Path(self.abs_src_path).read_text(encoding="utf-8"))["cells"]
        parts = []
        for cell in cells:
            source = "".join(cell["source"])
            code = cell["cell_type"] == "code"
            parts.append(f"```python\n{source}\n```" if code else source)
            parts += [_shown(output) for output in cell.get("outputs", [])]
        return "\n\n".join(parts)


def _shown(output: dict[str, Any]) -> str:
    """An output of a cell; a table looks like those of other pages, and a picture is within it."""
    data = {kind: "".join(content) for kind, content in output["data"].items()}
    if "image/png" in data:
        picture = data["image/png"].replace("\n", "")
        html = f'<img alt="The output of the cell above" src="data:image/png;base64,{picture}">'
    elif "text/html" in data:
        html = re.sub(r"<style scoped>.*?</style>", "", data["text/html"], flags=re.DOTALL)
        html = re.sub(r'<table [^>]*class="dataframe">', "<table>", html)
        html = re.sub(r"\n\s*", "", html)  # no blank line, which would end the HTML
    else:
        html = f"<pre><code>{escape(data['text/plain'])}</code></pre>"
    return f'<div class="output">{html}</div>'
