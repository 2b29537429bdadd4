"""Random bit flips and missing files in a finished run: every number is right or refused."""

import random
import shutil

import pandas as pd
import pytest
from four_parts import TABLES, assert_same, experiment
from timeless import timeless

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.report.analysis import analyze
from wsol_bench.runs.results import summarize_run
from wsol_bench.runs.stored_run import StoredRun

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def assert_right_or_refused(root, run, sound, numbers):
    """Read, analyze and run a damaged folder; return how many of these gave no number."""
    n_refused = 0
    try:
        pd.testing.assert_frame_equal(
            timeless(summarize_run(StoredRun(run))), timeless(sound.summary), check_exact=True
        )
        pd.testing.assert_frame_equal(analyze([StoredRun(run)])["intervals"], numbers)
    except RunError:
        n_refused += 1
    try:
        assert_same(wsol_bench.run(experiment(root), out=run), sound)
        StoredRun(run).require_finished()
    except RunError:
        n_refused += 1
    assert not list(run.rglob("*.tmp"))
    return n_refused


@pytest.fixture(scope="module")
def numbers(sound):
    return analyze([sound.folder])["intervals"]


def test_200_bit_flips(root, sound, numbers, tmp_path):
    chosen = random.Random(0)
    n_refused = 0
    for number in range(200):
        run = shutil.copytree(sound.folder.path, tmp_path / str(number))
        # A file of each folder as often as one of the others; then any of its bits.
        files = chosen.choice(
            [sorted(run.glob("*.*")), *(sorted(run.glob(f"{t}/*")) for t in TABLES)]
        )
        file = chosen.choice([file for file in files if file.stat().st_size])
        content = bytearray(file.read_bytes())
        content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
        file.write_bytes(content)
        n_refused += assert_right_or_refused(root, run, sound, numbers)
        shutil.rmtree(run)
    assert n_refused > 100


def test_60_missing_or_cut_files(root, sound, numbers, tmp_path):
    chosen = random.Random(1)
    n_refused = 0
    for number in range(60):
        run = shutil.copytree(sound.folder.path, tmp_path / str(number))
        for file in chosen.sample(sorted(run.glob("*/0*.parquet")), chosen.randint(1, 6)):
            if chosen.random() < 0.7:
                file.unlink()
            else:
                file.write_bytes(file.read_bytes()[: chosen.randrange(file.stat().st_size)])
        n_refused += assert_right_or_refused(root, run, sound, numbers)
        shutil.rmtree(run)
    assert n_refused >= 55
