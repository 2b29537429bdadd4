"""The local engine evaluates parts in this process, one after the other."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from wsol_bench.common.machine import usable_cores
from wsol_bench.errors import WorkerError
from wsol_bench.runs.engines.base import DEATHS
from wsol_bench.runs.experiment import Experiment, Part
from wsol_bench.runs.schema import Tables

__all__ = ["LocalEngine"]

# The number of parts that are evaluated alone after the death of a decoder. Decoding runs ahead, so
# only a part that was evaluated alone can be blamed.
_ALONE = 32


class LocalEngine:
    """Evaluates parts in this process, on the experiment's device.

    Other processes decode the images. If one of them dies (out of memory, killed), the parts that
    are not done begin again with new processes.
    """

    def facts(self, experiment: Experiment) -> dict[str, Any]:
        """Say where the work is done; ConfigError if the device cannot be used."""
        if not experiment.config.models:  # no network, and no torch
            return {"engine": "local", "device": "cpu"}
        import torch

        device = experiment.device()
        on_gpu = device.type == "cuda"
        return {
            "engine": "local",
            "device": torch.cuda.get_device_name(device) if on_gpu else str(device),
            "threads": _threads(),
            "tf32_convolutions": torch.backends.cudnn.allow_tf32 if on_gpu else False,
        }

    def evaluate(
        self, experiment: Experiment, parts: Sequence[Part], advance: Callable[[int], object]
    ) -> Iterator[tuple[Part, Tables]]:
        """Evaluate parts; yield each with its tables, in order.

        Args:
            experiment: the experiment that the parts belong to.
            parts: the parts to evaluate.
            advance: called with the number of images done since the last call; a negative number
                takes back the images of a part that begins again.

        Raises:
            WorkerError: processes that decode images died repeatedly in one part.
            WsolBenchError: see ``Evaluator.evaluate``.
        """
        if experiment.config.models:
            with _fewer_threads():
                yield from self._evaluate(experiment, parts, advance)
        else:
            yield from self._evaluate(experiment, parts, advance)

    def _evaluate(
        self, experiment: Experiment, parts: Sequence[Part], advance: Callable[[int], object]
    ) -> Iterator[tuple[Part, Tables]]:
        """Evaluate parts, whatever the number of threads; see ``evaluate``."""
        left = list(parts)
        deaths = 0
        alone = 0  # the number of parts to evaluate alone, since one of them may kill its decoder
        begun = 0  # the number of images done in parts that are not done

        def count(n: int) -> None:
            nonlocal begun
            begun += n
            advance(n)

        while left:
            try:
                for part, tables in experiment.evaluate(left[:1] if alone else left[:], count):
                    yield part, tables
                    del left[0]
                    begun -= len(part.images)
                    alone = max(0, alone - 1)
                    deaths = 0
            except WorkerError as error:
                advance(-begun)
                begun = 0
                deaths += 1 if alone else 0
                alone = _ALONE
                if deaths == DEATHS:
                    first = experiment.dataset.images["image_id"].iloc[left[0].images[0]]
                    raise WorkerError(
                        f"{error}. This happened {deaths} times in the part of "
                        f"{len(left[0].images)} images that begins with {first}. Is the memory "
                        "full (--set workers=1 takes less), or does an image kill its decoder? "
                        "The finished parts are kept"
                    ) from error


def _threads() -> int:
    """The number of threads of the network: torch's, but no more than there are cores for it.

    In a container with a share of a large machine torch takes a thread for each core of the
    machine, and they would wait for each other.
    """
    import torch

    return min(torch.get_num_threads(), usable_cores())


@contextmanager
def _fewer_threads() -> Iterator[None]:
    """Use that number of threads within the context."""
    import torch

    before, fitting = torch.get_num_threads(), _threads()
    if fitting < before:
        torch.set_num_threads(fitting)
    try:
        yield
    finally:
        if fitting < before:
            torch.set_num_threads(before)
