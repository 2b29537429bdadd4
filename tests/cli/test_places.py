"""The places that commands write to are checked before the work, and stay empty if it fails."""

import pytest
from command_line import cli
from counted_hits import counted_run
from PIL import Image

COMMANDS = {
    "figures": ("--out", "FOLDER", ["none"]),
    "explain": ("--out", "FOLDER", ["none.jpg"]),
    "analyze": ("--out", "FOLDER", ["none"]),
    "compare": ("--out", "FOLDER", ["none", "nothing"]),
    "table": ("--out", "FILE", ["none"]),
    "report": ("--out", "FILE", ["none"]),
    "leaderboard": ("--page", "FILE", ["none"]),
    "export": ("--out", "FOLDER", ["none", "--format", "devkit"]),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The path of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    return counted_run(folder, folder / "run", {"three": 3}).path


@pytest.mark.parametrize("command", COMMANDS)
def test_no_empty_folder_stays_behind_an_error(command, tmp_path):
    option, _, arguments = COMMANDS[command]
    cli(command, *arguments, option, tmp_path / "a/b/c", code=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_in_the_way_is_told(command, run, tmp_path):
    """Of the runs that exist, before they are read."""
    option, kind, arguments = COMMANDS[command]
    (tmp_path / "file").write_text("in the way")
    if command == "explain":
        arguments = [tmp_path / "photo.png"]
        Image.new("RGB", (8, 8)).save(arguments[0])
    else:
        arguments = [run if argument in ("none", "nothing") else argument for argument in arguments]
    place = tmp_path / ("file/below" if kind == "FILE" else "file")
    _, err = cli(command, *arguments, option, place, code=1)
    assert f"{place} cannot be written" in err
    assert err.rstrip().endswith(option)
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("command", ["analyze", "figures"])
def test_a_link_to_nothing_is_told_before_the_work(command, run, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    _, err = cli(command, run, "--out", tmp_path / "link", "--quiet", code=1)
    assert err.startswith(f"Error: {tmp_path / 'link'} cannot be written to: ")


def test_an_export_that_cannot_be_made_leaves_no_folder(run, tmp_path):
    """The run's data set has no class IDs of the devkit."""
    _, err = cli("export", run, "--format", "devkit", "--out", tmp_path / "a/b", code=1)
    assert "ILSVRC2012_ID" in err
    assert not list(tmp_path.iterdir())
