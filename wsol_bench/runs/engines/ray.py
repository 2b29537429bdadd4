"""The Ray engine evaluates parts on many processes, GPUs and machines.

A Ray actor holds the experiment, one model, and one GPU if the run uses GPUs. It evaluates a few
parts at a time and streams their tables to the driver, which alone writes. If an actor dies, its
parts that have not arrived are given to another actor.
"""

import os
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wsol_bench.common.progress import Verbosity, set_verbosity, verbosity
from wsol_bench.common.versions import installed_version
from wsol_bench.datasets import Dataset
from wsol_bench.errors import ConfigError, WorkerError, WsolBenchError
from wsol_bench.methods.maps_or_boxes import MapsOrBoxes
from wsol_bench.runs.differences import known_differences
from wsol_bench.runs.engines.base import DEATHS
from wsol_bench.runs.engines.ray_cluster import connected
from wsol_bench.runs.environment import Environment
from wsol_bench.runs.experiment import Experiment, Part
from wsol_bench.runs.experiment_config import ExperimentConfig
from wsol_bench.runs.schema import Tables

__all__ = ["RayEngine"]

# The number of parts that an actor takes at a time. It decodes ahead within them; if it dies, they
# are evaluated again.
_AT_A_TIME = 8
# The seconds that the first actor may take to start.
_START_S = 300.0


class RayEngine:
    """Evaluates parts with Ray actors.

    Args:
        address: the address of a cluster; ``auto`` is the cluster that this machine belongs to. By
            default it is the value of the environment variable RAY_ADDRESS. Without an address Ray
            is started on this machine for as long as the evaluation lasts.
        n_actors: the number of actors; by default one for each GPU of the cluster, or one for each
            CPU core if there is no GPU.

    Raises:
        ConfigError: Ray is not installed.
    """

    def __init__(self, *, address: str | None = None, n_actors: int | None = None) -> None:
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise ConfigError("the engine ray needs Ray: pip install 'wsol-bench[ray]'") from error
        self._address = address or os.environ.get("RAY_ADDRESS")
        self._n_actors = n_actors

    def facts(self, experiment: Experiment) -> dict[str, Any]:
        """Say where the work is done; ConfigError if Ray cannot hand the device out."""
        if experiment.config.device not in {"auto", "cpu", "cuda"}:
            raise ConfigError(
                f"device: expected auto, cuda or cpu with --engine ray, which hands out the GPUs "
                f"itself, found {experiment.config.device!r}"
            )
        return {
            "engine": "ray",
            "device": experiment.config.device,
            "ray": installed_version("ray"),
            "address": self._address,
        }

    def evaluate(
        self, experiment: Experiment, parts: Sequence[Part], advance: Callable[[int], object]
    ) -> Iterator[tuple[Part, Tables]]:
        """Evaluate parts; yield each with its tables, in the order in which they arrive.

        Args:
            experiment: the experiment that the parts belong to.
            parts: the parts to evaluate.
            advance: called with the number of images of a part when it arrives.

        Raises:
            ConfigError: Ray cannot be used here or at the address.
            WorkerError: no actor could start, or actors died repeatedly at one part or at their
                start.
            WsolBenchError: see ``Evaluator.evaluate``.
        """
        if parts:
            with connected(self._address, self._n_actors) as (n_gpus, n_cpus):
                on_gpu = n_gpus > 0 and experiment.config.device != "cpu"
                n_actors = self._n_actors or (n_gpus if on_gpu else n_cpus)
                cores = max(1, n_cpus // n_actors)
                n_actors = min(n_actors, len(parts))
                crew = _Crew(experiment, n_actors, parts, cores=cores, on_gpu=on_gpu)
                for part, tables in crew.evaluate():
                    yield part, tables
                    advance(len(part.images))


class _Stream(NamedTuple):
    """The parts that an actor is evaluating.

    Attributes:
        actor: the actor.
        parts: its parts whose tables have not arrived yet, in order.
        alone: whether it was given a single part, which is then to blame if the actor dies.
    """

    actor: Any
    parts: deque[Part]
    alone: bool


class _Crew:
    """The actors that evaluate an experiment, and the parts that each of them has.

    Args:
        experiment: the experiment.
        n_actors: the number of actors.
        parts: the parts to evaluate.
        cores: the number of CPU cores for each actor.
        on_gpu: whether each actor gets a GPU.
    """

    def __init__(
        self,
        experiment: Experiment,
        n_actors: int,
        parts: Sequence[Part],
        *,
        cores: int,
        on_gpu: bool,
    ) -> None:
        import ray

        self._n_actors = n_actors
        self._arguments = (
            experiment.config.model_dump(mode="json"),
            ray.put((experiment.dataset, experiment.maps_or_boxes)),
            str(Path.cwd()),
            list(sys.path),
            Environment.here().versions,
            verbosity(),
            cores,
        )
        # Deaths are handled here, so that parts whose tables have arrived are not evaluated again.
        options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "num_cpus": 1}
        self._actor = ray.remote(**options, num_gpus=1 if on_gpu else 0)(_Worker)
        self._left = deque(parts)
        # For each part whose worker died, by its number: how often a worker died that had only this
        # part. Workers decode ahead, so a part can only be blamed if its worker had no other.
        self._deaths: Counter[int] = Counter()
        self._streams: dict[Any, _Stream] = {}
        # How many workers in a row died while they started.
        self._deaths_at_start = 0
        # Only an actor that runs is given parts: the cluster may never have room for the others.
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}

    def evaluate(self) -> Iterator[tuple[Part, Tables]]:
        """Evaluate all parts; yield each with its tables, in the order in which they arrive."""
        while self._left or self._streams:
            self._hand_out()
            ready = self._wait()
            if ready in self._starting:
                self._welcome(ready)
            elif (arrived := self._receive(ready)) is not None:
                yield arrived

    def _hand_out(self) -> None:
        """Give parts to idle actors, and start new actors if parts are left."""
        while self._left and self._idle:
            actor = self._idle.pop()
            parts = self._take()
            stream = actor.evaluate.options(num_returns="streaming").remote(list(parts))
            self._streams[stream] = _Stream(actor, parts, alone=len(parts) == 1)
        while self._left and len(self._streams) + len(self._starting) < self._n_actors:
            actor = self._actor.remote(*self._arguments)
            self._starting[actor.start.remote()] = actor

    def _wait(self) -> Any:
        """The next thing that is ready: the start of an actor, or a stream with more tables."""
        import ray

        timeout = None if self._streams else _START_S
        waiting = [*self._streams, *self._starting]
        ready, _ = ray.wait(waiting, num_returns=1, timeout=timeout)
        if not ready:
            raise WorkerError(
                f"no Ray worker could start in {_START_S / 60:.0f} minutes. A worker needs a free "
                "CPU core, and a free GPU if the run uses GPUs; the cluster has free: "
                f"{ray.available_resources()}. The finished parts are kept"
            )
        return ready[0]

    def _welcome(self, start: Any) -> None:
        """Mark an actor as idle once it has started.

        An actor that dies while it starts is tried again. The third death in a row ends the run if
        no actor lives, and otherwise the run goes on with those that do.

        Raises:
            WorkerError: the actor finds that it cannot work there, or three actors died.
        """
        import ray

        actor = self._starting.pop(start)
        try:
            ray.get(start)
        except ray.exceptions.RayTaskError as error:  # it lives; to start it again mends nothing
            cause = error.cause
            reason = str(cause) if isinstance(cause, WsolBenchError) else _reason(error)
            raise WorkerError(f"a Ray worker cannot start: {reason}") from None
        except ray.exceptions.RayError as error:
            self._deaths_at_start += 1
            if self._deaths_at_start < DEATHS:
                return
            self._deaths_at_start = 0
            n_alive = len(self._streams) + len(self._idle)
            if not n_alive:
                raise WorkerError(
                    f"{DEATHS} Ray workers died while they started, the last with: "
                    f"{_reason(error)}. Is the memory full (--actors takes fewer)? The finished "
                    "parts are kept"
                ) from None
            self._n_actors = n_alive
        else:
            self._deaths_at_start = 0
            self._idle.append(actor)

    def _receive(self, key: Any) -> tuple[Part, Tables] | None:
        """The next part of a stream with its tables; None if the stream has ended or died."""
        import ray

        stream = self._streams[key]
        try:
            number, tables = ray.get(next(key))
        except StopIteration:
            del self._streams[key]
            self._idle.append(stream.actor)
            if stream.parts:
                raise WorkerError(
                    f"expected the tables of part {stream.parts[0].number} from a Ray worker, but "
                    "it ended without them"
                ) from None
            return None
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if not isinstance(cause, WorkerError):
                raise (cause if isinstance(cause, Exception) else error) from None
            del self._streams[key]
            self._idle.append(stream.actor)
            self._take_back(stream, cause)
            return None
        except ray.exceptions.RayError as error:  # the actor, its machine or its object died
            del self._streams[key]
            self._take_back(stream, error)
            return None
        part = stream.parts.popleft()
        if part.number != number:
            raise WorkerError(f"expected part {part.number} from a Ray worker, found {number}")
        return part, tables

    def _take(self) -> deque[Part]:
        """Take the next parts of one model; fewer towards the end, so all actors end together."""
        left = self._left
        share = max(1, min(_AT_A_TIME, len(left) // (2 * self._n_actors)))
        taken = deque([left.popleft()])
        if taken[0].number in self._deaths:
            return taken
        while (
            left
            and len(taken) < share
            and left[0].model == taken[0].model
            and left[0].number not in self._deaths
        ):
            taken.append(left.popleft())
        return taken

    def _take_back(self, stream: _Stream, error: Exception) -> None:
        """Take back the parts of a worker that died; WorkerError if one of them kills workers."""
        for part in stream.parts:
            self._deaths[part.number] += 1 if stream.alone else 0
            if self._deaths[part.number] == DEATHS:
                raise WorkerError(
                    f"{DEATHS} Ray workers died in part {part.number}, the last with: "
                    f"{_reason(error)}. The finished parts are kept"
                ) from error
        self._left.extendleft(reversed(stream.parts))


class _Worker:
    """The actor: evaluates parts of the experiment, and streams their tables.

    Args:
        config: the configuration of the experiment.
        loaded: the data set, and the maps or boxes of each network-free method.
        folder: the working directory of the driver.
        path: the module search path of the driver.
        versions: the versions of packages at the driver.
        told: how much the driver tells of its work, and so this worker.
        cores: the number of CPU cores for this worker, by which it chooses its settings.
    """

    def __init__(
        self,
        config: dict[str, Any],
        loaded: tuple[Dataset, Mapping[str, MapsOrBoxes]],
        folder: str,
        path: list[str],
        versions: dict[str, str],
        told: Verbosity,
        cores: int,
    ) -> None:
        # An error here could not be told from a death, so all work is done in ``start``.
        self._config = config
        self._loaded = loaded
        self._folder = folder
        self._path = path
        self._versions = versions
        self._told = told
        self._cores = cores

    def start(self) -> None:
        """Get ready to evaluate.

        Raises:
            WorkerError: this machine has other versions, or does not see the data set.
        """
        set_verbosity(self._told)
        # So ``my_module:my_cam`` and relative paths mean the same as at the driver.
        if Path(self._folder).is_dir():
            os.chdir(self._folder)
        sys.path.extend(entry for entry in self._path if entry not in sys.path)
        if "OMP_NUM_THREADS" not in os.environ:  # Ray sets it to the number of the actor's cores
            import torch

            torch.set_num_threads(1)
        host = socket.gethostname()
        if changed := known_differences(self._versions, Environment.here().versions):
            raise WorkerError(
                f"{host} has other versions (driver -> {host}): {', '.join(changed)}; install the "
                "driver's versions on every machine"
            )
        dataset, maps_or_boxes = self._loaded
        files = [path for path in dataset.images["path"].iloc[[0, -1]] if path]
        if files and not any(Path(file).exists() for file in files):
            raise WorkerError(
                f"{host} does not see the data set: {files[0]} does not exist there; every machine "
                "needs the data set at the same path"
            )
        experiment = ExperimentConfig.model_validate(self._config)
        self._experiment = Experiment.on_worker(experiment, dataset, maps_or_boxes, self._cores)

    def evaluate(self, parts: list[Part]) -> Iterator[tuple[int, Tables]]:
        """Evaluate parts; yield the number and the tables of each, in order."""
        for part, tables in self._experiment.evaluate(parts):
            yield part.number, tables


def _reason(error: Exception) -> str:
    """The last line of an error of Ray, which says the most."""
    return str(error).strip().rpartition("\n")[2].strip() or type(error).__name__
