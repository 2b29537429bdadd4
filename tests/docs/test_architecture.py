"""The architecture page names every module, in the room where it is."""

import re
from pathlib import Path

import pytest

import wsol_bench

PACKAGE = Path(wsol_bench.__file__).parent
PAGE = (PACKAGE.parent / "docs/architecture.md").read_text()
LISTING = PAGE[PAGE.index("    wsol_bench/\n") : PAGE.index("Imports point one way")]
# The page says "one file a method" and "one file a metric" in place of their names.
PLUGINS = ("@cam_method(", "@metric(")


def entries_by_room():
    """The names that the listing gives in each room, such as ``runs`` and ``runs/engines``.

    A name stands at the beginning or behind a comma, a colon, "and" or "with"; the words in
    parentheses explain it.
    """
    text, root, outer, room = {}, set(), "", ""
    for line in LISTING.splitlines()[1:]:
        if match := re.match(r" {6}(\w+)(/|\.py) ", line):
            outer = room = match[1] if match[2] == "/" else ""
            root.add(match[1])
        elif match := re.match(r" {8}(\w+)/ ", line):
            room = f"{outer}/{match[1]}"
        # A line without a room goes on, or begins a group of names.
        described = re.sub(r"^ {6,8}\w+(/|\.py) ", "", line).strip()
        text.setdefault(room, []).append(described)
    entries = {}
    for room, lines in text.items():
        names = re.sub(r"\([^)]*\)", "", "\n".join(lines))
        entries[room] = set(re.findall(r"(?:^|[,;:]|\band|\bwith)\s+(\w+)|^(\w+)", names, re.M))
        entries[room] = {first or second for first, second in entries[room]}
    entries[""] = root
    return entries


ENTRIES = entries_by_room()
MODULES = sorted(
    path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"
)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_is_listed_in_its_room(module):
    room = "" if module.parent == Path() else str(module.parent)
    assert room in ENTRIES, f"docs/architecture.md does not list the folder {room}"
    is_plugin = any(decorator in (PACKAGE / module).read_text() for decorator in PLUGINS)
    assert module.stem in ENTRIES[room] or is_plugin, f"docs/architecture.md: {module}"


def test_a_room_that_is_listed_is_there():
    for room in ENTRIES:
        folder = PACKAGE / room
        assert folder.is_dir() or folder.with_suffix(".py").is_file(), room
