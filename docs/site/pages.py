"""The files of the documentation site, each at the place that it has in the repository.

Pages link to other pages, and to files outside of docs/, as these lie in the repository, so that
the links work where the repository is browsed. This hook of mkdocs gives every file its path in the
repository as its source, adds the pages of the navigation and the files that pages link to, and
leaves "docs/" out of their addresses. So the same links work on the site, and mkdocs checks them.
"""

import re
from pathlib import Path
from posixpath import dirname, join, normpath

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
    address = File(uri.removeprefix("docs/"), *place).dest_uri
    return File(uri, *place, dest_uri=address)
