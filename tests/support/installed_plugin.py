"""The distribution of tests/plugin, installed as pip installs it."""

import tomllib
from contextlib import contextmanager
from pathlib import Path

from user_modules import importable

from wsol_bench.methods.base import cam_methods
from wsol_bench.metrics.base import metrics

PLUGIN = Path(__file__).parent.parent / "plugin"


@contextmanager
def installed_plugin(folder):
    """Install the plug-in in a folder on the path, and remove it from the registries at the end."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {path}" for name, path in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (folder / "wsol_bench_example.py").write_text((PLUGIN / "wsol_bench_example.py").read_text())
    registries = (cam_methods, metrics)
    names_before = [list(registry) for registry in registries]
    with importable(folder):
        yield folder
    assert [list(registry) for registry in registries] == names_before
