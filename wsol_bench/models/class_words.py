"""The names of a network's outputs for people: classes in words."""

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from wsol_bench.common.text_files import read_lines
from wsol_bench.datasets.formats.class_tables import class_on_line
from wsol_bench.errors import ConfigError, ModelError, did_you_mean, shown
from wsol_bench.models.classifiers import OUTPUT_NUMBERS, Classifier
from wsol_bench.models.names import weights_file

__all__ = [
    "IMAGENET",
    "class_words",
    "imagenet_words",
    "output_of",
    "plain_names",
    "published_words",
]

# What stands for the 1000 classes of ILSVRC in place of a file.
IMAGENET = "imagenet"
_N_IMAGENET = 1000


def class_words(
    classifier: Classifier, name: str, weights: str, classes: Path | None
) -> Sequence[str] | None:
    """The name of each output for people; None if nothing says what the outputs are.

    Args:
        classifier: the classifier.
        name, weights, classes: what it was loaded from, as in ``load_classifier``; ``imagenet`` in
            place of a file of classes stands for those of ILSVRC.

    Raises:
        ModelError: the classes are to be those of ILSVRC, but the network has not 1000 outputs.
    """
    n_outputs = len(classifier.classes)
    if classes is not None and str(classes) == IMAGENET:
        if n_outputs != _N_IMAGENET:
            raise ModelError(
                f"classes: {IMAGENET!r} stands for {_N_IMAGENET} classes, but the network "
                f"{classifier.name} has {n_outputs} outputs; name a file of its classes instead"
            )
        return imagenet_words()
    if classes is not None:
        names = plain_names(classes)
        return [class_on_line(line, names)[1] for line in _lines(classes)]
    if classifier.classes_from != OUTPUT_NUMBERS:
        return classifier.classes
    published = published_words(name, weights)
    return published if published is not None and len(published) == n_outputs else None


def output_of(target: Any, words: Sequence[str], classes: Sequence[str]) -> int:
    """The output index of a class.

    Args:
        target: the index; or the class by its name, by the first of its names, or by its wnid.
        words: the names of all outputs for people.
        classes: the wnid of each output.

    Raises:
        ConfigError: there is no such class, or several have this name.
    """
    if isinstance(target, Integral) and not isinstance(target, bool):
        if 0 <= target < len(words):
            return int(target)
        raise ConfigError(
            f"targets: the network has no output {target}; its outputs are 0 to {len(words) - 1}"
        )
    if not isinstance(target, str):
        raise ConfigError(
            "targets: expected a class (its name or output index) or a function of the network's "
            f"output, found {shown(target)}"
        )
    for names in (words, [name.split(",")[0] for name in words], classes):
        found = [index for index, name in enumerate(names) if name == target]
        if len(found) > 1:
            raise ConfigError(
                f"targets: the outputs {found[0]} and {found[1]} are called {target!r}; give the "
                "output index"
            )
        if found:
            return found[0]
    raise ConfigError(f"targets: no class {target!r}; {did_you_mean(target, words)}")


def plain_names(classes: Path) -> list[str]:
    """The lines of a file of classes that are names of several words, and not a code and words.

    A code, such as a wnid, has a digit. If each line begins with one, no line is a name as a whole.

    Raises:
        ModelError: the file cannot be read.
    """
    lines = [line.strip() for line in _lines(classes)]
    coded = all(any(map(str.isdigit, line.split()[0])) for line in lines)
    return [] if coded else [line for line in lines if "\t" not in line]


def _lines(classes: Path) -> list[str]:
    """The lines of a file of classes that are not blank."""
    try:
        return [line for line in read_lines(classes, ModelError) if line.strip()]
    except ModelError as error:
        raise ModelError(f"classes file {error}") from error


def published_words(name: str, weights: str) -> tuple[str, ...] | None:
    """The classes in words with which torchvision publishes weights; None if it does not.

    Args:
        name: the network, as in ``load_classifier``.
        weights: the weights, as in ``load_classifier``.
    """
    if weights_file(weights) or weights == "random" or ":" in name or name.startswith("timm/"):
        return None
    if name == "shapes_net":
        return None
    import torchvision  # its import takes seconds, and no other network needs it

    meta = torchvision.models.get_model_weights(name)[weights].meta
    return tuple(meta["categories"]) if "categories" in meta else None


def imagenet_words() -> tuple[str, ...]:
    """The 1000 classes of ILSVRC in words, by sorted wnids, as torchvision publishes them."""
    import torchvision  # its import takes seconds

    return tuple(torchvision.models.ResNet50_Weights.DEFAULT.meta["categories"])
