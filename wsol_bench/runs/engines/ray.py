"""The engine of many processes, GPUs and machines: parts as tasks of Ray actors.

An actor holds the experiment and one model, one GPU where there are any; it streams the tables of a
few parts at a time to the driver, which alone writes. Of an actor that dies, the parts that did not
arrive are given to a new one.
"""

import os
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsol_bench.datasets import Dataset
from wsol_bench.errors import ConfigError, WorkerError
from wsol_bench.methods.maps_or_boxes import MapsOrBoxes
from wsol_bench.runs.config import ExperimentConfig
from wsol_bench.runs.experiment import Experiment, Part
from wsol_bench.runs.manifest import Environment, differences
from wsol_bench.runs.schema import Tables

__all__ = ["RayEngine"]

# Parts that an actor takes at a time: within them it decodes ahead; they are what a death repeats.
_AT_A_TIME = 8
_DEATHS = 3
_START_S = 300.0


class RayEngine:
    """Evaluates parts by Ray actors.

    Args:
        address: of a cluster (``auto``: the one that this machine belongs to); by default that of
            the environment variable RAY_ADDRESS. Without one Ray is started on this machine for as
            long as the evaluation lasts.
        n_actors: how many; by default one a GPU of the cluster, or one a CPU core where there is
            no GPU.

    Raises:
        ConfigError: Ray is not installed.
    """

    def __init__(self, *, address: str | None = None, n_actors: int | None = None) -> None:
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise ConfigError("--engine ray needs Ray: pip install 'wsol-bench[ray]'") from error
        self._address = address or os.environ.get("RAY_ADDRESS")
        self._n_actors = n_actors

    def facts(self, experiment: Experiment) -> dict[str, Any]:
        """Where the work is done, for the record."""
        from importlib.metadata import version

        if experiment.config.device not in {"auto", "cpu", "cuda"}:
            raise ConfigError(
                f"device: expected auto, cuda or cpu with --engine ray, which hands the GPUs out, "
                f"found {experiment.config.device!r}"
            )
        return {
            "engine": "ray",
            "device": experiment.config.device,
            "ray": version("ray"),
            "address": self._address,
        }

    def evaluate(
        self, experiment: Experiment, parts: Sequence[Part], advance: Callable[[int], object]
    ) -> Iterator[tuple[Part, Tables]]:
        """The tables of each part, in the order in which they arrive.

        Args:
            experiment: what the parts belong to.
            parts: to be done.
            advance: called with the number of images of a part when it arrives.

        Raises:
            WorkerError: no actor could start, or actors died again and again at one part.
            WsolBenchError: see ``Evaluator.evaluate``.
        """
        if parts:
            with self._cluster() as (n_gpus, n_cpus):
                on_gpu = n_gpus > 0 and experiment.config.device != "cpu"
                n_actors = self._n_actors or (n_gpus if on_gpu else n_cpus)
                crew = _Crew(experiment, min(n_actors, len(parts)), on_gpu=on_gpu)
                for part, tables in crew.evaluate(parts):
                    yield part, tables
                    advance(len(part.images))

    @contextmanager
    def _cluster(self) -> Iterator[tuple[int, int]]:
        """Ray, with how many GPUs and CPU cores it has."""
        import ray

        started = not ray.is_initialized()
        if started:
            # An actor a core, also where the machine's share of cores is less than it looks.
            here = {"num_cpus": max(self._n_actors or 0, _cores()), "include_dashboard": False}
            options = {"address": self._address} if self._address else {"address": "local", **here}
            try:
                _require_reachable(self._address)
                ray.init(**options, log_to_driver=False, configure_logging=False)
            except (OSError, RuntimeError, ValueError) as error:  # ConnectionError among these
                where = f"at {self._address}" if self._address else "here"
                raise ConfigError(f"Ray {where} cannot be used: {error}") from error
        try:
            resources = ray.cluster_resources()
            yield int(resources.get("GPU", 0)), max(1, int(resources.get("CPU", 1)))
        finally:
            if started:
                ray.shutdown()


class _Crew:
    """Actors and what each is at.

    Args:
        experiment: what they work on.
        n_actors: how many.
        on_gpu: whether each gets a GPU.
    """

    def __init__(self, experiment: Experiment, n_actors: int, *, on_gpu: bool) -> None:
        import ray

        self._n_actors = n_actors
        self._arguments = (
            experiment.config.model_dump(mode="json"),
            ray.put((experiment.dataset, experiment.given)),
            str(Path.cwd()),
            list(sys.path),
            Environment.here().versions,
        )
        # A death is dealt with here: the parts that did arrive are not to be made again.
        options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "num_cpus": 1}
        self._actor = ray.remote(**options, num_gpus=1 if on_gpu else 0)(_Worker)

    def evaluate(self, parts: Sequence[Part]) -> Iterator[tuple[Part, Tables]]:
        """The tables of each part, as they arrive."""
        import ray

        left = deque(parts)
        # By number, parts that were with a worker that died, and how often each was alone there:
        # workers run ahead, so that only then it can be blamed.
        deaths: Counter[int] = Counter()
        # By stream: the actor, its parts that did not arrive yet, and whether it was one part.
        at: dict[Any, tuple[Any, deque[Part], bool]] = {}
        # Only an actor that runs is given parts: there may be no room for another one, now or ever.
        idle: list[Any] = []
        starting: dict[Any, Any] = {}
        while left or at:
            while left and idle:
                actor = idle.pop()
                mine = self._take(left, deaths)
                alone = len(mine) == 1
                stream = actor.evaluate.options(num_returns="streaming").remote(list(mine))
                at[stream] = (actor, mine, alone)
            while left and len(at) + len(starting) < self._n_actors:
                actor = self._actor.remote(*self._arguments)
                starting[actor.start.remote()] = actor
            timeout = None if at else _START_S
            ready, _ = ray.wait([*at, *starting], num_returns=1, timeout=timeout)
            if not ready:
                raise WorkerError(
                    f"no Ray worker could start in {_START_S / 60:.0f} minutes: does the cluster "
                    f"have the free resources ({ray.available_resources()})? What is done is kept"
                )
            [first] = ready
            if first in starting:
                actor = starting.pop(first)
                try:
                    ray.get(first)
                except ray.exceptions.RayError as error:
                    raise WorkerError(f"a Ray worker cannot start: {_reason(error)}") from None
                idle.append(actor)
                continue
            stream = first
            actor, mine, alone = at[stream]
            try:
                number, tables = ray.get(next(stream))
            except StopIteration:
                del at[stream]
                idle.append(actor)
                if mine:
                    raise WorkerError(f"a Ray worker left out part {mine[0].number}") from None
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if not isinstance(cause, WorkerError):
                    raise (cause if isinstance(cause, Exception) else error) from None
                del at[stream]
                idle.append(actor)
                self._again(mine, left, deaths, cause, alone=alone)
            except ray.exceptions.RayError as error:  # the actor, its machine or its object died
                del at[stream]
                self._again(mine, left, deaths, error, alone=alone)
            else:
                part = mine.popleft()
                if part.number != number:
                    raise WorkerError(f"a Ray worker answered {number}, not {part.number}")
                yield part, tables

    def _take(self, left: deque[Part], deaths: Counter[int]) -> deque[Part]:
        """The next parts of one model, fewer towards the end so that all actors end together."""
        share = max(1, min(_AT_A_TIME, len(left) // (2 * self._n_actors)))
        taken = deque([left.popleft()])
        if taken[0].number in deaths:
            return taken
        while (
            left
            and len(taken) < share
            and left[0].model == taken[0].model
            and left[0].number not in deaths
        ):
            taken.append(left.popleft())
        return taken

    @staticmethod
    def _again(
        mine: deque[Part],
        left: deque[Part],
        deaths: Counter[int],
        error: Exception,
        *,
        alone: bool,
    ) -> None:
        """Give the parts of a worker that died back, unless one kills its workers."""
        for part in mine:
            deaths[part.number] += 1 if alone else 0
            if deaths[part.number] == _DEATHS:
                raise WorkerError(
                    f"{_DEATHS} Ray workers died in part {part.number}, the last with: "
                    f"{_reason(error)}. What is done is kept"
                ) from error
        left.extendleft(reversed(mine))


class _Worker:
    """What an actor is."""

    def __init__(
        self,
        experiment: dict[str, Any],
        loaded: tuple[Dataset, Mapping[str, MapsOrBoxes]],
        folder: str,
        path: list[str],
        versions: dict[str, str],
    ) -> None:
        # ``my_module:my_cam`` and relative paths mean what they mean to the driver.
        if Path(folder).is_dir():
            os.chdir(folder)
        sys.path.extend(entry for entry in path if entry not in sys.path)
        if "OMP_NUM_THREADS" not in os.environ:  # which Ray sets to the cores of the actor
            import torch

            torch.set_num_threads(1)
        host = socket.gethostname()
        if changed := differences(versions, Environment.here().versions):
            raise WorkerError(f"{host} has other versions: {', '.join(changed)}")
        dataset, given = loaded
        files = [path for path in dataset.images["path"].iloc[[0, -1]] if path]
        if files and not any(Path(file).exists() for file in files):
            raise WorkerError(f"{host} does not see the data set: {files[0]} is not there")
        config = ExperimentConfig.model_validate(experiment)
        self._experiment = Experiment.elsewhere(config, dataset, given)

    def start(self) -> None:
        """Nothing; it is over when the actor runs."""

    def evaluate(self, parts: list[Part]) -> Iterator[tuple[int, Tables]]:
        """The number and the tables of each part, in order."""
        for part, tables in self._experiment.evaluate(parts):
            yield part.number, tables


def _reason(error: Exception) -> str:
    """The last line of what Ray says, which says most."""
    return str(error).strip().rpartition("\n")[2].strip() or type(error).__name__


def _require_reachable(address: str | None) -> None:
    """OSError where nobody listens at ``host:port``: Ray itself would try for many minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and "/" not in host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
