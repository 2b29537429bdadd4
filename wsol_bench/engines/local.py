"""The engine of one process: parts one after the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from wsol_bench.engines.job import Job, Part
from wsol_bench.errors import WorkerError
from wsol_bench.evaluate import Tables

__all__ = ["LocalEngine"]

# Deaths in a row without a part done between them: then it is no accident.
_DEATHS = 3


class LocalEngine:
    """Evaluates parts in this process, on the experiment's device.

    Images are decoded in processes of their own; where one dies (out of memory, killed) the parts
    that are not done begin again with new ones.
    """

    def facts(self, job: Job) -> dict[str, Any]:
        """Where the work is done, for the record; ConfigError for a device that is not there."""
        device = job.device()
        on_gpu = device.type == "cuda"
        return {
            "engine": "local",
            "device": torch.cuda.get_device_name(device) if on_gpu else str(device),
            "threads": torch.get_num_threads(),
            "tf32_convolutions": torch.backends.cudnn.allow_tf32 if on_gpu else False,
        }

    def evaluate(
        self, job: Job, parts: Sequence[Part], advance: Callable[[int], object]
    ) -> Iterator[tuple[Part, Tables]]:
        """The tables of each part.

        Args:
            job: what the parts belong to.
            parts: to be done.
            advance: called with the number of images done since the last call; a negative one
                takes back images of a part that begins again.

        Raises:
            WorkerError: processes died again and again.
            WsolBenchError: see ``Evaluator.evaluate``.
        """
        device = job.device()
        left = list(parts)
        deaths = 0
        ahead = 0  # images of parts that are not done

        def count(n: int) -> None:
            nonlocal ahead
            ahead += n
            advance(n)

        while left:
            try:
                for part, tables in job.evaluate(list(left), device, count):
                    yield part, tables
                    del left[0]
                    ahead -= len(part.images)
                    deaths = 0
            except WorkerError as error:
                deaths += 1
                advance(-ahead)
                ahead = 0
                if deaths == _DEATHS:
                    first = job.dataset.images["image_id"].iloc[left[0].images[0]]
                    raise WorkerError(
                        f"{error}. That was {deaths} times in a row, in the part that begins with "
                        f"image {first}. Is the memory full ('workers', 'batch_size'), or an image "
                        "there one that kills its decoder? What is done is kept"
                    ) from error
