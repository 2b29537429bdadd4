"""The errors that this package raises on purpose.

WsolBenchError
├── ConfigError          an experiment, an option or a name is not valid
├── DatasetError         a data root, an annotation or a list of images cannot be used
│   └── ImageError       an image cannot be read; a run counts it and goes on
├── ModelError           a network, its weights, its classes or its layers cannot be used
│   └── NotApplicableError   a network lacks what a map method needs; a run notes why and goes on
├── PluginError          a map method, metric or loader fails, or changes what others read
├── PredictionError      a prediction file cannot be parsed, or does not fit its data set
├── RunError             a run is missing, incomplete or of another identity, or it failed
└── WorkerError          a process of a run died; its work can be done again
"""

import difflib
import reprlib
from collections.abc import Iterable

from wsol_bench.common.harmless import printable_lines

__all__ = [
    "ConfigError",
    "DatasetError",
    "ImageError",
    "ModelError",
    "NotApplicableError",
    "PluginError",
    "PredictionError",
    "RunError",
    "WorkerError",
    "WsolBenchError",
    "did_you_mean",
    "shown",
]


# The longest message, and how much of its end is kept if it is longer: the end says how to mend it.
_LONGEST_MESSAGE, _END = 2000, 500


class WsolBenchError(Exception):
    """The base of all errors of this package; the message tells the user what to mend.

    Messages hold names and values that other people wrote. So control characters in them are
    escaped, except line breaks, and a message of more than 2,000 characters loses its middle.
    """

    def __init__(self, message: str = "") -> None:
        # Cut first, too, since a file may have made the message as long as it likes.
        super().__init__(_cut(printable_lines(_cut(str(message)))))


def _cut(text: str) -> str:
    """The text without its middle if it is longer than a message may be."""
    if len(text) <= _LONGEST_MESSAGE:
        return text
    begin = text[: _LONGEST_MESSAGE - _END - 40]
    return f"{begin} [... {len(text) - len(begin) - _END} characters more ...] {text[-_END:]}"


class ConfigError(WsolBenchError):
    """A configuration is not valid; the message says where, what was expected, what was found."""


class DatasetError(WsolBenchError):
    """A data set cannot be loaded."""


class ImageError(DatasetError):
    """An image cannot be decoded."""


class ModelError(WsolBenchError):
    """A classifier cannot be built, loaded or run, or a layer of it cannot be recorded."""


class NotApplicableError(ModelError):
    """A network lacks what a map method needs; a run notes the reason and goes on."""


class PluginError(WsolBenchError):
    """A map method, a metric or a loader fails, or changes what others read.

    The message says whose it is, the file and line, and the exception, which is the ``__cause__``.
    """


class PredictionError(WsolBenchError):
    """A prediction file cannot be parsed, or does not fit its data set."""


class RunError(WsolBenchError):
    """A run failed, or cannot be read, written, continued, scored again or merged."""


class WorkerError(WsolBenchError):
    """A process that decodes or evaluates images died; its work can be done again."""


class _Short(reprlib.Repr):
    """Python's notation of a value, cut short where it is long or deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 3, 100, 100, 40

    def repr_int(self, x: int, level: int) -> str:
        """The digits of a whole number, or its number of bits if Python refuses to write them."""
        try:
            return super().repr_int(x, level)
        except ValueError:
            return f"<a whole number of {x.bit_length()} bits>"


_SHORT = _Short()
_LONGEST_VALUE = 200


def shown(value: object) -> str:
    """A value as an error message shows it: Python's notation in one line, 200 characters at most.

    >>> shown([1.5, "two"])
    "[1.5, 'two']"
    """
    text = " ".join(_SHORT.repr(value).split())
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 4]} ..."


# The longest list of names in a message, also if a command lists them, and how many are listed of
# more names than that.
_MOST, _MOST_OF_LISTED, _NEAREST = 30, 15, 5


def did_you_mean(name: str, known: Iterable[str], *, listed_by: str = "") -> str:
    """The end of an error message: the known name nearest to an unknown one, and the known names.

    Of more than 30 names, or of more than 15 that a command lists, it has the five that are nearest
    to the unknown one.

    Args:
        name: the unknown name.
        known: the names that exist. If none of them is near, the text only lists them.
        listed_by: the command that lists all of them; "" for none.
    """
    names = sorted(known)
    name = name[:_LONGEST_VALUE]  # nearness takes time by the length of a name
    near = difflib.get_close_matches(name, names, n=1)
    suggestion = f"did you mean {near[0]!r}? " if near else ""
    if len(names) > (_MOST_OF_LISTED if listed_by else _MOST):
        nearest = difflib.get_close_matches(name, names, n=_NEAREST, cutoff=0)
        lister = f"; {listed_by!r} lists all" if listed_by else ""
        return f"{suggestion}nearest of {len(names)}: {', '.join(nearest)}{lister}"
    return f"{suggestion}known: {', '.join(names) if names else '(none)'}"
