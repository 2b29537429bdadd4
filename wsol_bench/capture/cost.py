"""What asking a network costs: passes, and time by the device's clock."""

import time
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["Cost", "Timestamp"]


@dataclass
class Cost:
    """Work that was done for a batch.

    It is counted where it is done: images by ``network.passed``, cotangents by
    ``cotangents.pulled_back``, activations by ``replay.Head``.

    Attributes:
        forward: images that passed the network.
        backward: (image, cotangent) pairs that passed back, as far as the layer or to the pixels.
        head: activations that passed the part behind the target layer alone.
        spans: of time, by a device's clock.
    """

    forward: int = 0
    backward: int = 0
    head: int = 0
    spans: "list[tuple[Timestamp, Timestamp]]" = field(default_factory=list)

    def __iadd__(self, other: "Cost") -> "Cost":
        self.forward += other.forward
        self.backward += other.backward
        self.head += other.head
        self.spans += other.spans
        return self

    def seconds(self) -> float:
        """The sum of the spans; waits for a GPU that is still at them."""
        return sum((begin.until(end) for begin, end in self.spans), 0.0)


class Timestamp:
    """A moment in what a device does; taking one does not wait for the device."""

    def __init__(self, device: torch.device) -> None:
        self._event: Any = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)
            self._event.record()
        self._time = time.perf_counter()

    def until(self, end: "Timestamp") -> float:
        """Seconds from this moment to another."""
        if self._event is None:
            return end._time - self._time
        end._event.synchronize()
        return float(self._event.elapsed_time(end._event)) / 1000
