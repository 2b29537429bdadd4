"""Ray actors give the rows of one process, whatever becomes of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import ray
import torch
import yaml
from colors import WNIDS, color_experiment, write_colors
from timeless import assert_same_tables

import wsol_bench
from wsol_bench.common.progress import Verbosity, set_verbosity, verbosity
from wsol_bench.errors import DatasetError, WorkerError
from wsol_bench.runs.engines.local import LocalEngine
from wsol_bench.runs.engines.ray import RayEngine, _Worker
from wsol_bench.runs.environment import Environment
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.folder import RunFolder

# Each starts actors, every one of which imports torch.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

# CAM, but as often as the file ``deaths_left`` says its process dies at a green image: the second.
KILLER = """
import os, signal
from pathlib import Path
from wsol_bench.methods.base import cam_methods, MapMethod

LEFT = Path(__file__).with_name("deaths_left")
cam = cam_methods.get("cam")

def function(record):
    left = int(LEFT.read_text())
    if left and (record.logits.argmax(dim=1) == 1).any():
        LEFT.write_text(str(left - 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return cam.function(record)

killer_cam = MapMethod("killer_cam", function, cam.plan, "")
"""


# CAM, but as often as the file ``deaths_left`` says a worker dies when it imports this.
KILLER_AT_START = """
import os, signal
from pathlib import Path
from wsol_bench.methods.base import cam_methods, MapMethod

LEFT = Path(__file__).with_name("deaths_left")
left = int(LEFT.read_text())
if left and Path(__file__).with_name("driver").read_text() != str(os.getpid()):
    LEFT.write_text(str(left - 1))
    os.kill(os.getpid(), signal.SIGKILL)
cam = cam_methods.get("cam")
killer_cam = MapMethod("killer_cam", cam.function, cam.plan, "")
"""


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def one_thread():
    """torch uses one thread, as in an actor, because sums of floats depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def experiment_of(root, **changes):
    return color_experiment(root, workers=0, batch_size=1, part_size=1, **changes)


@pytest.fixture(scope="module")
def experiment(root):
    """Two models that are not on any path but this process's own, by four images."""
    experiment = experiment_of(root)
    second = {**experiment["models"][0], "label": "again"}
    return {**experiment, "models": [*experiment["models"], second]}


@pytest.fixture(scope="module")
def local(experiment):
    return wsol_bench.run(experiment)


def assert_same(ours, theirs):
    assert_same_tables(ours, theirs, ("rows", "images", "maps", "costs", "summary"))


class Interrupted:
    """An engine that is interrupted after some parts."""

    def __init__(self, engine, n_parts):
        self.engine, self.n_parts = engine, n_parts

    def facts(self, experiment):
        return self.engine.facts(experiment)

    def evaluate(self, experiment, parts, advance):
        for _, done in zip(range(self.n_parts), self.engine.evaluate(experiment, parts, advance)):  # noqa: B905
            yield done
        raise KeyboardInterrupt


def test_actors_give_the_tables_of_the_local_engine(experiment, local):
    ours = wsol_bench.run(experiment, engine=RayEngine())
    assert ours.folder.manifest.sessions[0].engine == "ray"
    assert_same(ours, local)


@pytest.mark.parametrize(
    ("first", "second"),
    [(LocalEngine(), RayEngine(n_actors=1)), (RayEngine(n_actors=1), LocalEngine())],
    ids=["local-ray", "ray-local"],
)
def test_a_run_goes_on_under_the_other_engine(experiment, local, tmp_path, first, second):
    with pytest.raises(KeyboardInterrupt):
        wsol_bench.run(experiment, out=tmp_path / "run", engine=Interrupted(first, 3))
    ours = wsol_bench.run(experiment, out=tmp_path / "run", engine=second)
    assert ours.n_before == 3
    assert_same(ours, local)


def test_an_actor_that_finds_no_room_is_given_no_part(experiment, local):
    """Somebody else has one of the two cores, as is usual on a cluster."""

    @ray.remote(num_cpus=1)
    class Somebody:
        def is_there(self):
            return True

    somebody = Somebody.remote()
    assert ray.get(somebody.is_there.remote())
    assert_same(wsol_bench.run(experiment, engine=RayEngine(n_actors=2)), local)
    ray.kill(somebody)


def test_an_actor_of_other_versions_is_an_error_that_names_them(experiment, monkeypatch):
    """As on a machine of a cluster that was not updated; here the driver claims another version."""
    ours = Environment.here()
    theirs = ours.model_copy(update={"versions": {**ours.versions, "torch": "1.0"}})
    monkeypatch.setattr(Environment, "here", lambda: theirs)
    named = r"a Ray worker cannot start: .* has other versions \(driver -> .*\): torch: 1\.0 -> \d"
    with pytest.raises(WorkerError, match=named):
        wsol_bench.run(experiment, engine=RayEngine(n_actors=1))


def test_actors_that_do_not_see_the_data_set_are_an_error(experiment, tmp_path):
    """The files are deleted before the actors start, as if only the driver had that disk."""
    root = write_colors(tmp_path / "local")
    lost = experiment_of(root)

    class FilesGo(RayEngine):
        def evaluate(self, experiment, parts, advance):
            shutil.rmtree(root)
            yield from super().evaluate(experiment, parts, advance)

    with pytest.raises(WorkerError, match=r"does not see the data set: .* does not exist there"):
        wsol_bench.run(lost, engine=FilesGo(n_actors=1))


def test_an_error_in_an_actor_is_the_error_of_the_local_engine(tmp_path, monkeypatch):
    """A relative path starts from the caller's folder, which is not Ray's folder here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "classes.txt").write_text("\n".join(WNIDS))
    broken = write_colors(tmp_path / "broken")
    first = min((broken / "ILSVRC/Data/CLS-LOC/val").iterdir())
    first.write_bytes(first.read_bytes()[:-40])
    experiment = experiment_of("broken", strict=True)
    experiment["models"][0]["classes"] = "classes.txt"
    messages = []
    for engine in (LocalEngine(), RayEngine(n_actors=1)):
        with pytest.raises(DatasetError, match=r"cannot be decoded.*without 'strict'") as error:
            wsol_bench.run(experiment, engine=engine)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


class Deadly:
    """Tests of workers that die, as often as a file says: the fixture ``deaths_left``.

    Attributes:
        code: the module ``killer`` with a method ``killer_cam``, whose process dies.
    """

    code = ""

    @pytest.fixture
    def deaths_left(self, tmp_path, monkeypatch):
        (tmp_path / "killer.py").write_text(self.code)
        (tmp_path / "driver").write_text(str(os.getpid()))
        (tmp_path / "deaths_left").write_text("0")
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
        yield tmp_path / "deaths_left"
        sys.modules.pop("killer", None)

    @pytest.fixture
    def experiment(self, root, deaths_left):
        return experiment_of(root, methods=["killer:killer_cam"])

    def test_change_no_row(self, experiment, deaths_left):
        local = wsol_bench.run(experiment)
        deaths_left.write_text("2" if self.code == KILLER_AT_START else "1")
        ours = wsol_bench.run(experiment, engine=RayEngine(n_actors=1))
        assert deaths_left.read_text() == "0", "nobody died"
        assert_same(ours, local)


class TestDeaths(Deadly):
    code = KILLER

    # Of two parts an actor gets one at a time; of four, two: then it runs ahead and dies before
    # part 0 is out, which is not to be blamed.
    @pytest.mark.parametrize(("limit", "n_deaths"), [(2, 3), (4, 4)])
    def test_again_and_again_are_an_error_that_names_the_part_and_keeps_the_others(
        self, experiment, deaths_left, tmp_path, limit, n_deaths
    ):
        experiment = {**experiment, "limit": limit}
        deaths_left.write_text("100")
        with pytest.raises(
            WorkerError, match=r"3 Ray workers died in part 1, the last with: The actor is dead"
        ):
            wsol_bench.run(experiment, out=tmp_path / "run", engine=RayEngine(n_actors=1))
        assert int(deaths_left.read_text()) == 100 - n_deaths
        assert RunFolder(tmp_path / "run").parts() == [0]
        deaths_left.write_text("0")
        on = wsol_bench.run(experiment, out=tmp_path / "run")
        assert on.n_before == 1
        assert_same(on, wsol_bench.run(experiment))


class TestDeathsAtTheStart(Deadly):
    code = KILLER_AT_START

    def test_three_times_are_an_error_that_says_so(self, experiment, deaths_left):
        deaths_left.write_text("100")
        with pytest.raises(
            WorkerError, match=r"^3 Ray workers died while they started, the last with: The actor"
        ):
            wsol_bench.run(experiment, engine=RayEngine(n_actors=1))
        assert deaths_left.read_text() == "97"

    def test_leave_the_run_to_a_worker_that_lives(self, experiment, deaths_left, tmp_path):
        """One worker starts well and makes every part while all others die."""
        local = wsol_bench.run(experiment)
        text = KILLER_AT_START.replace("if left and", "if 0 < left < 100 and").replace(
            "cam = cam_methods", "if left == 100: LEFT.write_text('50')\ncam = cam_methods"
        )
        text = text.replace("cam.function, cam", "slow, cam").replace(
            "killer_cam =", "def slow(r):\n  import time; time.sleep(6); return cam.function(r)\n"
            "killer_cam =",
        )  # fmt: skip
        (tmp_path / "killer.py").write_text(text)
        (tmp_path / "driver").write_text("")
        (tmp_path / "deaths_left").write_text("100")
        ours = wsol_bench.run(experiment, engine=RayEngine(n_actors=2))
        assert 40 < int(deaths_left.read_text()) < 50
        assert_same(ours, local)


def test_the_command_starts_ray_and_actors_work_where_it_was_called(local, tmp_path):
    """The method and the data lie in the working directory, under relative names."""
    write_colors(tmp_path / "data")
    (tmp_path / "mine.py").write_text(KILLER)
    (tmp_path / "deaths_left").write_text("0")
    experiment = experiment_of("data", methods=["cam", "mine:killer_cam"])
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    done = subprocess.run(
        [
            sys.executable, "-c", "from wsol_bench.cli import main; main()",
            "run", "experiment.yaml", "--out", "run", "--json", "--engine", "ray", "--actors", "2",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [record["method"] for record in json.loads(done.stdout)] == ["cam", "killer_cam"]
    rows = RunFolder(tmp_path / "run").read("rows")
    ours = rows[rows["method"] == "cam"].reset_index(drop=True)
    theirs = local.rows[(local.rows["method"] == "cam") & (local.rows["model"] == "color_net")]
    pd.testing.assert_frame_equal(ours, theirs.reset_index(drop=True), check_exact=True)


def test_a_worker_tells_as_much_of_its_work_as_the_driver(tmp_path):
    write_colors(tmp_path)
    config = load_config(color_experiment(tmp_path))
    arguments = (config.model_dump(mode="json"), (config.dataset.load(), {}), str(Path.cwd()), [])
    for told in (Verbosity.QUIET, Verbosity.NORMAL):
        try:
            _Worker(*arguments, Environment.here().versions, told, 1).start()
            assert verbosity() is told
        finally:
            set_verbosity("normal")
