"""The names that models and lines have in the page's address.

They are as short as they can be and do not depend on the order of models and lines, so that an
address still leads to the same line of a page of the same models that is made again with more
methods. Among other models, a name may be unknown; the page then says so.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import count

__all__ = ["line_keys", "model_keys", "short_names"]


def short_names(short: Sequence[str], long: Sequence[str]) -> list[str]:
    """The short names, or the long ones if the short ones are not unique."""
    return list(short if len(set(short)) == len(short) else long)


def model_keys(models: Sequence[tuple[str, str]]) -> list[str]:
    """A key for each model, given the names of its run and its own.

    >>> model_keys([("run", "resnet50"), ("run", "vgg16")])
    ['resnet50', 'vgg16']
    >>> model_keys([("first", "vgg16"), ("second", "vgg16")])
    ['first/vgg16', 'second/vgg16']
    """
    return _distinct(short_names([name for _, name in models], ["/".join(one) for one in models]))


def line_keys(models: Sequence[str], lines: Sequence[tuple[int, str, str]]) -> list[str]:
    """A key for each line.

    Args:
        models: the keys of the models.
        lines: the position of the line's model, its method and its layer.

    >>> line_keys(["vgg16"], [(0, "cam", "29"), (0, "grad_cam", "29"), (0, "grad_cam", "22")])
    ['cam', 'grad_cam@29', 'grad_cam@22']
    >>> line_keys(["resnet50", "vgg16"], [(0, "cam", "layer4"), (1, "cam", "29")])
    ['resnet50/cam', 'vgg16/cam']
    """
    layers = Counter((model, method) for model, method, _ in lines)
    keys = []
    for model, method, layer in lines:
        place = f"{models[model]}/" if len(models) > 1 else ""
        keys.append(f"{place}{method}@{layer}" if layers[model, method] > 1 else f"{place}{method}")
    return _distinct(keys)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, each once: one that another has already gets ``~2``, ``~3``, ...

    Commas separate names in an address, so they become semicolons.
    """
    given: list[str] = []
    for name in (name.replace(",", ";") for name in names):
        numbered = (name if n == 1 else f"{name}~{n}" for n in count(1))
        given.append(next(one for one in numbered if one not in given))
    return given
