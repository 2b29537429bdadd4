"""Every error this package raises on purpose.

WsolBenchError
├── ConfigError          an experiment, an option or a name that cannot be meant
├── DatasetError         a data root, an annotation or a list of images
│   └── ImageError       one image that cannot be read; a run counts it and goes on
├── ModelError           a network, its weights, its classes or its layers
│   └── NotApplicableError   a map method that the network has not got what it takes for
├── PredictionError      a prediction file that is not in the format it claims
├── RunError             a run that is missing, incomplete, in the way, or failed
└── WorkerError          a process of a run that died
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "DatasetError",
    "ImageError",
    "ModelError",
    "NotApplicableError",
    "PredictionError",
    "RunError",
    "WorkerError",
    "WsolBenchError",
    "did_you_mean",
]


class WsolBenchError(Exception):
    """Base of all errors of this package; its message is for the person at the keyboard."""


class ConfigError(WsolBenchError):
    """A configuration that cannot be carried out: file, key, expected and found."""


class DatasetError(WsolBenchError):
    """A data set that cannot be loaded."""


class ImageError(DatasetError):
    """One image that cannot be decoded."""


class ModelError(WsolBenchError):
    """A classifier that cannot be built, loaded or looked into."""


class NotApplicableError(ModelError):
    """A network without what a map method is defined on; a run says so and goes on."""


class PredictionError(WsolBenchError):
    """A prediction file that cannot be parsed or does not fit its data set."""


class RunError(WsolBenchError):
    """A run that cannot be read, written, continued, scored again or merged, or that failed."""


class WorkerError(WsolBenchError):
    """A process that decodes or evaluates images died; its work can be done again."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known name (if one is near) and the list of all."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    suggestion = f"did you mean {near[0]!r}? " if near else ""
    return f"{suggestion}known: {', '.join(names) if names else '(none)'}"
