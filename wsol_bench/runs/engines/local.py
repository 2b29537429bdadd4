"""The engine of one process: parts one after the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from wsol_bench.errors import WorkerError
from wsol_bench.runs.experiment import Experiment, Part
from wsol_bench.runs.schema import Tables

__all__ = ["LocalEngine"]

# Deaths in one part: then it is no accident. Decoding runs ahead, so that only a part that was
# alone can be blamed; after a death so many are.
_DEATHS = 3
_ALONE = 32


class LocalEngine:
    """Evaluates parts in this process, on the experiment's device.

    Images are decoded in processes of their own; where one dies (out of memory, killed) the parts
    that are not done begin again with new ones.
    """

    def facts(self, experiment: Experiment) -> dict[str, Any]:
        """Where the work is done, for the record; ConfigError for a device that is not there."""
        if not experiment.config.models:  # no network, and no torch
            return {"engine": "local", "device": "cpu"}
        import torch

        device = experiment.device()
        on_gpu = device.type == "cuda"
        return {
            "engine": "local",
            "device": torch.cuda.get_device_name(device) if on_gpu else str(device),
            "threads": torch.get_num_threads(),
            "tf32_convolutions": torch.backends.cudnn.allow_tf32 if on_gpu else False,
        }

    def evaluate(
        self, experiment: Experiment, parts: Sequence[Part], advance: Callable[[int], object]
    ) -> Iterator[tuple[Part, Tables]]:
        """The tables of each part.

        Args:
            experiment: what the parts belong to.
            parts: to be done.
            advance: called with the number of images done since the last call; a negative one
                takes back images of a part that begins again.

        Raises:
            WorkerError: processes died again and again in one part.
            WsolBenchError: see ``Evaluator.evaluate``.
        """
        left = list(parts)
        deaths = 0
        alone = 0  # parts that are done one by one, since one of them may kill its decoder
        begun = 0  # images of parts that are not done

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
                if deaths == _DEATHS:
                    first = experiment.dataset.images["image_id"].iloc[left[0].images[0]]
                    raise WorkerError(
                        f"{error}, {deaths} times in the part of {len(left[0].images)} images that "
                        f"begins with {first}. Is the memory full (--set workers=1 takes "
                        "less), or is there an image that kills its decoder? What is done is kept"
                    ) from error
