"""A run by the command line that the tests of its commands share."""

import pytest
import yaml
from colors import color_experiment, write_colors
from command_line import cli


@pytest.fixture(scope="package")
def world(tmp_path_factory):
    """The color world, its experiment file, and a run of it by the command line."""
    folder = tmp_path_factory.mktemp("world")
    write_colors(folder / "root")
    (folder / "experiment.yaml").write_text(yaml.safe_dump(color_experiment(folder / "root")))
    out, err = cli("run", folder / "experiment.yaml", "--out", folder / "run", "--json")
    (folder / "out.json").write_text(out)
    (folder / "err.txt").write_text(err)
    return folder
