"""Runs by the command line that are killed, interrupted, or find the disk full; and go on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import yaml
from timeless import timeless

from wsol_bench.common import temporary
from wsol_bench.runs.experiment import Experiment
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EXPERIMENT = {
    "name": "resume",
    "dataset": "shapes",
    "models": ["shapes_net"],
    "methods": ["cam", "grad_cam"],
    "protocol": "gradcam-2017",
    "limit": 150,
    "part_size": 8,
    "workers": 2,
    "device": "cpu",
}
N_PARTS = 19  # of 150 images
# The background jobs of a shell ignore Ctrl-C, and so would all that the tests start from there.
MAIN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from wsol_bench.cli import main; main()"
)


@contextmanager
def started(out, *arguments, code=MAIN):
    """The command on a folder, in a session of its own; its standard error lies beside it."""
    config = out.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(EXPERIMENT))
    command = [sys.executable, "-c", code, "run", str(config), "--out", str(out), *arguments]
    with (
        out.with_suffix(".err").open("w") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def to_its_end(out, *arguments, code=MAIN):
    """Exit code and standard error of the command."""
    with started(out, *arguments, code=code) as process:
        exit_code = process.wait(timeout=180)
    return exit_code, out.with_suffix(".err").read_text()


def n_parts(out):
    """The number of parts that count: the list of files names their last table."""
    path = out / "checksums.sha256"
    return path.read_text().count("  images/") if path.exists() else 0


def sessions(out):
    path = out / "manifest.json"
    return json.loads(path.read_text())["sessions"] if path.exists() else []


def wait_until(condition, process):
    give_up = time.monotonic() + 180
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < give_up
        time.sleep(0.002)


def is_in_session(process_folder, session):
    """By /proc/<pid>/stat: pid (name) state parent group session ..."""
    try:
        text = (process_folder / "stat").read_text()
    except OSError:  # gone meanwhile
        return False
    state, _, _, its_session = text.rpartition(")")[2].split()[:4]
    return state != "Z" and int(its_session) == session


def assert_gone(sessions):
    """The processes that decode have ended by themselves, or do so soon."""
    give_up = time.monotonic() + 20
    while left := [
        folder
        for folder in Path("/proc").glob("[0-9]*")
        if any(is_in_session(folder, pid) for pid in sessions)
    ]:
        assert time.monotonic() < give_up, left
        time.sleep(0.1)


def assert_swept(files):
    """What killed processes left there is deleted at the next start, once it is a minute old."""
    for folder in files.iterdir():
        os.utime(folder, (0, 0))
    temporary.sweep(files)
    assert not [path.name for path in files.iterdir() if "torchinductor" not in path.name]


def assert_same(out, whole):
    for table in ("images", "rows", "maps"):
        found, expected = RunFolder(out).read(table), RunFolder(whole).read(table)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    summaries = [timeless(pd.read_csv(run / "tables/summary.csv")) for run in (out, whole)]
    pd.testing.assert_frame_equal(*summaries, check_exact=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "run"
    exit_code, errors = to_its_end(out)
    assert exit_code == 0, errors
    assert RunFolder(out).parts() == list(range(N_PARTS))
    return out


def test_a_run_killed_again_and_again_ends_as_the_one_that_was_not(whole, tmp_path):
    moments = random.Random(0)
    out = tmp_path / "run"
    with started(out) as process:  # before the first part
        wait_until((out / "manifest.json").exists, process)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
    killed, n_sessions = [process.pid], len(sessions(out))
    assert n_sessions <= 1
    n_within = 0
    for _ in range(3):
        more = n_parts(out) + moments.randint(1, 2)
        with started(out) as process:
            wait_until(lambda more=more: n_parts(out) >= more, process)
            time.sleep(moments.uniform(0, 0.05))
            process.kill()
            assert process.wait() == -signal.SIGKILL
        killed.append(process.pid)
        assert not list(out.rglob(f"*.{killed[-2]}.tmp"))
        half = out / f"maps/.000018.parquet.{process.pid}.tmp"  # a kill seldom leaves one
        half.write_bytes(b"half a fi")
        n_within += 0 < n_parts(out) < N_PARTS
        n_sessions += 1
        assert len(sessions(out)) == n_sessions
    assert n_within >= 2
    n_before = n_parts(out)

    exit_code, errors = to_its_end(out)
    assert exit_code == 0, errors
    assert f"{n_before} of {N_PARTS} parts were done before" in errors
    *cut, last = sessions(out)
    assert [session["ended"] for session in cut] == [None] * n_sessions
    assert last["parts"] == N_PARTS - n_before
    assert not list(out.rglob("*.tmp"))
    assert_same(out, whole)
    if Path("/proc/self/stat").exists():
        assert_gone(killed)


# Starts the command again and again in processes that need not import anything, and kills each but
# the first at a random moment; prints the ids of the processes and how many parts each has left.
KILLER = """
import os, random, signal, sys, time
import torch, torchvision, wsol_bench.runs.run, wsol_bench.runs.network_pass
from pathlib import Path
from wsol_bench.cli import main
config, parent, n_kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
moments, n_killed, n_runs, seconds = random.Random(0), 0, 0, 0
while n_killed < n_kills:
    folder = parent / str(n_runs)
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        os.setsid()
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        sys.argv = ["wsol-bench", "run", config, "--out", str(folder)]
        main()
        os._exit(0)
    if seconds:
        time.sleep(moments.uniform(0, seconds))
        os.kill(pid, signal.SIGKILL)
    killed = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    seconds = seconds or time.monotonic() - began
    checksums = folder / "checksums.sha256"
    parts = checksums.read_text().count("  images/") if checksums.exists() else 0
    print(pid, parts, flush=True)
    n_killed += killed
    n_runs += not killed
"""


@pytest.mark.timeout(1800)
def test_forty_kills_at_any_moment_leave_nothing_and_change_nothing(whole, tmp_path, files):
    config = tmp_path / "experiment.yaml"
    config.write_text(yaml.safe_dump(EXPERIMENT))
    (tmp_path / "runs").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLER, config, tmp_path / "runs", "40"], capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    lines = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len({parts for _, parts in lines if 0 < parts < N_PARTS}) >= 2, lines
    for out in (path for path in (tmp_path / "runs").iterdir() if path.is_dir()):
        exit_code, errors = to_its_end(out)
        assert exit_code == 0, errors
        assert "damaged" not in errors
        assert not list(out.rglob("*.tmp"))
        assert_same(out, whole)
    if Path("/proc/self/stat").exists():
        assert_gone([pid for pid, _ in lines])
    assert_swept(files)


@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM"])
def test_an_interrupt_says_how_to_go_on_and_nothing_else(tmp_path, files, sent):
    """A terminal sends it to the processes that decode, too, and so do most batch systems."""
    out = tmp_path / "run"
    with started(out) as process:
        wait_until(lambda: n_parts(out) >= 2, process)
        os.killpg(process.pid, getattr(signal, sent))
        assert process.wait(timeout=120) == 128 + getattr(signal, sent)
    errors = out.with_suffix(".err").read_text()
    last = "Interrupted. The same command goes on where this one stood.\n"
    assert errors.endswith(last)
    assert errors.count("Interrupted") == 1
    assert "Traceback" not in errors
    assert 2 <= n_parts(out) < N_PARTS
    assert not list(out.rglob("*.tmp"))
    assert not [path.name for path in files.iterdir() if "torchinductor" not in path.name]


def test_of_a_killed_run_and_its_decoders_the_next_start_leaves_no_folder(tmp_path, files):
    out = tmp_path / "run"
    with started(out) as process:
        wait_until(lambda: n_parts(out) >= 2, process)
        process.kill()
        process.wait()
    # One folder of the run, and none of a process that decodes.
    [folder] = files.glob("*-*")
    assert folder.name.startswith("pymp-")
    os.utime(folder, (0, 0))
    exit_code, errors = to_its_end(out)
    assert exit_code == 0, errors
    assert not list(files.glob("*-*"))


def test_a_full_disk_is_an_error_that_says_so_and_the_run_goes_on_when_there_is_room(
    whole, tmp_path
):
    """A limit on the size of files that only the largest part does not fit; it is cut, too."""
    sizes = [(whole / f"maps/{number:06d}.parquet").stat().st_size for number in range(N_PARTS)]
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({max(sizes) - 1},) * 2)\n"
    out = tmp_path / "run"
    # With processes that decode, torch's shared memory would be under the limit, too.
    exit_code, errors = to_its_end(out, "--set", "workers=0", code=limit + MAIN)
    assert exit_code == 1
    assert "Error: " in errors
    assert "File too large" in errors
    assert "Traceback" not in errors
    assert RunFolder(out).parts() == list(range(sizes.index(max(sizes))))
    for path in out.rglob("*.parquet"):
        pd.read_parquet(path)
    assert not list(out.rglob("*.tmp"))
    assert sessions(out)[0]["ended"] is None

    exit_code, errors = to_its_end(out, "--set", "workers=0")
    assert exit_code == 0, errors
    assert_same(out, whole)


def test_a_folder_that_another_process_writes_to_is_refused_with_its_name(tmp_path):
    out = tmp_path / "run"
    experiment = Experiment.resolve(load_config(EXPERIMENT))
    with RunFolder.writing(out, experiment.identity(), {}, experiment.dataset.classes):
        files = [path for path in out.iterdir() if path.name != ".lock"]
        before = [path.read_bytes() for path in files]
        exit_code, errors = to_its_end(out, "--force")
        assert [path.read_bytes() for path in files] == before
        assert len(list(out.iterdir())) == len(files) + 1
    assert exit_code == 1
    assert f"Error: {out} is being written by process {os.getpid()} on " in errors
    assert "Traceback" not in errors
