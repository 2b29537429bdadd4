"""The cost of asking a network: images, cotangents and activations that passed it, and time."""

import time
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["Cost", "Timestamp"]


@dataclass
class Cost:
    """Work that a network did for a batch.

    Each kind is counted in one place: images by ``network.passed``, cotangents by
    ``cotangents.pulled_back``, activations by ``head.Head`` (those of ACoL's second branch by the
    method). Behind a class convolution ``class_maps`` counts a cotangent for each class slot as
    well, though they take less work there.

    Attributes:
        forward: number of images that passed the network.
        backward: number of (image, cotangent) pairs that passed back, to a layer or to the pixels.
        head: number of activations that passed the part behind a layer alone.
        spans: the time spent, as pairs of two timestamps, begin and end.
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
        """The sum of the spans in seconds; waits for a GPU that has not finished them."""
        return sum((begin.until(end) for begin, end in self.spans), 0.0)


class Timestamp:
    """A moment on a device's clock; taking one does not wait for the device.

    Args:
        device: the device whose work is timed. On CUDA the moment is when the device has done all
            work that was queued before; elsewhere it is now.
    """

    def __init__(self, device: torch.device) -> None:
        self._event: Any = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)
            self._event.record()
        self._time = time.perf_counter()

    def until(self, end: "Timestamp") -> float:
        """Seconds from this moment to a later one of the same device; waits for the device."""
        if self._event is None:
            return end._time - self._time
        end._event.synchronize()
        return float(self._event.elapsed_time(end._event)) / 1000
