"""The Dockerfile: its lint, what it copies, and its installation, without a container."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
# Instructions in order, with comments left out and continued lines joined.
STEPS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    if line
]
COPIED = [
    source
    for name, words in STEPS
    if name == "COPY" and not words.startswith("--from")
    for source in words.split()[:-1]
]


def test_it_has_no_fault_that_hadolint_finds():
    program = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if program is None:
        pytest.skip("needs hadolint (the extra 'dev')")
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_is_copied_is_in_the_build_context():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert kept == {*COPIED}
    assert all((ROOT / source).exists() for source in COPIED)


def test_it_does_not_run_as_root():
    last = {name: words for name, words in STEPS}
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
    assert last["ENTRYPOINT"] == '["wsol-bench"]'


@pytest.mark.slow
@pytest.mark.timeout(900)  # a new environment, with the extras
def test_its_installation_works_with_nothing_but_what_is_copied(tmp_path):
    """The steps of the first stage, in a folder instead of a container.

    The build of PyTorch is left to the package index, since not every index has the others.
    """
    place = tmp_path / "opt"
    place.mkdir()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in {"PATH", "HOME", "LANG"} or re.match(r"(PIP|UV|SSL)_|.*_(PROXY|proxy)$", name)
    }
    stages = [index for index, (name, _) in enumerate(STEPS) if name == "FROM"]
    for name, words in STEPS[stages[0] + 1 : stages[1]]:
        if name == "COPY":
            *sources, target = words.split()
            for source in sources:
                copy(ROOT / source, place / target / (source if target == "./" else ""))
        elif name == "RUN":
            subprocess.run(words, shell=True, check=True, cwd=place, env=environment)
    program = place / ".venv/bin/wsol-bench"
    work = tmp_path / "work"
    work.mkdir()
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    demo = [program, "demo", "--limit", "4"]
    done = subprocess.run(demo, cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in work.iterdir()] == ["results"]
    shutil.rmtree(place)  # some gigabytes, where they are no links into uv's cache


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(
            source, target, ignore=lambda _, names: fnmatch.filter(names, "__pycache__")
        )
    else:
        shutil.copy2(source, target)
