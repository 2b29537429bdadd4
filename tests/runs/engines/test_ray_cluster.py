"""A Ray that a run starts ends with the run, however the run ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from colors import color_experiment, write_colors

from wsol_bench.common import temporary
from wsol_bench.runs.engines import ray_watchdog
from wsol_bench.runs.engines.ray_watchdog import Process, of_cluster, processes

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

MAIN = "from wsol_bench.cli import main; main()"
# A method that waits until the file ``go`` appears, so that the run is killed in its midst.
WAITS = """
import time
from pathlib import Path
from wsol_bench.methods.base import cam_methods, MapMethod

HERE = Path(__file__).parent
cam = cam_methods.get("cam")

def function(record):
    (HERE / "reached").touch()
    while not (HERE / "go").exists():
        time.sleep(0.05)
    return cam.function(record)

waiting_cam = MapMethod("waiting_cam", function, cam.plan, "")
"""


def wait_until(condition, seconds=150.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def alive(session, folder):
    """The processes of a session, and those that name a folder or have it in their environment."""
    found = []
    for process in processes():
        try:
            stat = Path(f"/proc/{process.pid}/stat").read_bytes()
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        except OSError:
            continue
        of_session = int(stat.rpartition(b")")[2].split()[3]) == session
        names_it = str(folder).encode() in process.command + environment
        if process.is_alive and (of_session or names_it):
            found.append(process)
    return found


def are_swept(folders):
    """Sweep the temporary folders as a start does much later; True if none is left."""
    for folder in folders.glob("pymp-*"):
        os.utime(folder, (0, 0))
    temporary._swept.discard(folders)
    temporary.sweep(folders)
    return not list(folders.glob("pymp-*"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM], ids=lambda sent: sent.name)
def test_of_a_run_that_is_ended_neither_process_nor_folder_is_left(tmp_path, files, sent):
    root = write_colors(tmp_path / "root")
    experiment = color_experiment(root, workers=1, batch_size=1, part_size=1)
    experiment["methods"] = ["waiting:waiting_cam"]
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    (tmp_path / "waiting.py").write_text(WAITS)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    arguments = ["run", "experiment.yaml", "--out", "run", "--engine", "ray", "--actors", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until((tmp_path / "reached").exists)
        assert len(alive(process.pid, files)) > 6
        process.send_signal(sent)
        _, errors = process.communicate(timeout=120)
        wait_until(lambda: not alive(process.pid, files))
        wait_until(lambda: not list(files.glob("wsol_bench-*")))
        # Of a decoding worker that Ray killed, the next start sweeps the folder; a process that
        # is about to end may still hold its lock.
        wait_until(lambda: are_swept(files))
    finally:
        process.kill()
    if sent == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
        return
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.endswith("Interrupted. The same command goes on where this one stood.\n")
    assert not {"Traceback", "SIGTERM"} & set(errors.split())


class TestTheWatchdog:
    def test_knows_the_processes_that_name_the_folder_and_what_they_started(self):
        listed = [
            Process(1, 0, 10, True, b"init"),
            Process(20, 1, 11, True, b"python my_notebook.py"),
            Process(21, 20, 12, True, b"/x/ray/core/raylet\0--dir=/scratch/wsol_bench-a/session"),
            Process(22, 21, 13, True, b"ray::RuntimeEnvAgent"),
            Process(23, 22, 14, True, b"decoder"),
            Process(24, 20, 15, True, b"of the notebook"),
            Process(25, 20, 16, True, b"/x/ray/core/raylet\0--dir=/scratch/wsol_bench-b/session"),
            Process(26, 25, 17, True, b"ray::RuntimeEnvAgent"),
            Process(27, 20, 18, True, b"python\0-u\0/x/ray/log.py\0--dir=/scratch/wsol_bench-a/s"),
            # A person who looks at what Ray writes:
            Process(28, 20, 19, True, b"tail\0-f\0/scratch/wsol_bench-a/session/raylet.out"),
            Process(29, 28, 20, True, b"a child of it"),
        ]
        found = of_cluster("/scratch/wsol_bench-a", listed)
        assert found == {(21, 12), (22, 13), (23, 14), (27, 18)}

    def test_lists_this_process(self):
        [own] = [process for process in processes() if process.pid == os.getpid()]
        assert own.parent == os.getppid()
        assert own.is_alive
        assert b"pytest" in own.command or b"python" in own.command

    @pytest.mark.slow
    def test_kills_them_at_the_end_of_its_input_and_deletes_the_folder(self, tmp_path):
        """A child that has left its parent, and another's that bears another folder's name."""
        folder, other = tmp_path / "cluster", tmp_path / "other"
        folder.mkdir()
        script = tmp_path / "ray/agent.sh"
        script.parent.mkdir()
        script.write_text("sleep 1000 & echo $!; wait\n")
        named, others = (
            subprocess.Popen(
                [shutil.which("sh"), str(script), f"--dir={each}"], stdout=subprocess.PIPE,
                text=True, start_new_session=True,
            )
            for each in (folder, other)
        )  # fmt: skip
        children = [int(each.stdout.readline()) for each in (named, others)]
        command = [sys.executable, "-I", "-S", ray_watchdog.__file__, str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watchdog:
            time.sleep(0.5)  # it has listed the processes by now
            named.kill()  # its child is nobody's now, as Ray's agents are
            named.wait()
            watchdog.send_signal(signal.SIGTERM)  # which is for the driver
            assert watchdog.poll() is None
        assert not folder.exists()
        states = {process.pid: process.is_alive for process in processes()}
        assert not states.get(children[0])
        assert states[children[1]]
        os.killpg(others.pid, signal.SIGKILL)
        others.communicate()
        named.stdout.close()
