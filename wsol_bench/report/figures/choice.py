"""The choice of images and methods of a figure, by a rule that can be stated in a sentence."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from wsol_bench.common.vocabulary import Choose
from wsol_bench.errors import ConfigError, did_you_mean
from wsol_bench.report.figures.layout import MOST_LINES
from wsol_bench.report.page.address_keys import line_keys, model_keys, short_names
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.outcomes import HIT, NOT_DEFINED

__all__ = ["Choice", "ChosenImages", "LineNames", "chosen_images", "chosen_lines"]

# Images of a sheet, which would else be too high for any program that opens it.
_MOST_IDS = 200
# Pairs of methods that an error names.
_MOST_PAIRS = 3


@dataclass(frozen=True)
class Choice:
    """The images, methods and models that a figure shows.

    Attributes:
        choose: ``random``; ``best`` and ``worst`` by the mean IoU of the methods; ``differ`` for
            images that the first method hits and the second one misses; without ``methods``, of
            the first two methods for which there are such images.
        ids: ids of images; None for the images that ``choose`` finds.
        class_name: a wnid, or a word, of the class of the images; None for all classes.
        methods: names of methods; None for as many as fit a page, of each model as many.
        models: names of models; None for all.
        n: the number of images; None for as many as fit a page.
        seed: seed of what is random.
    """

    choose: Choose = "random"
    ids: Sequence[str] | None = None
    class_name: str | None = None
    methods: Sequence[str] | None = None
    models: Sequence[str] | None = None
    n: int | None = None
    seed: int = 0


class LineNames(NamedTuple):
    """The names of the models and lines of a collection, each once; see ``address_keys``."""

    models: list[str]
    lines: list[str]

    @classmethod
    def of(cls, collection: Collection) -> "LineNames":
        """The names of a collection."""
        runs = short_names(
            [run.path.name or str(run.path) for run in collection.runs],
            [str(run.path) for run in collection.runs],
        )
        models = model_keys([(runs[model.run], model.name) for model in collection.models])
        lines = [(line.model, line.method, line.layer) for line in collection.lines]
        return cls(models, line_keys(models, lines))


def chosen_lines(
    collection: Collection, choice: Choice, *, most: int | None = MOST_LINES
) -> tuple[list[int], int]:
    """The positions of the lines that are shown, and the number of lines to choose from.

    They are ordered by model, and those of a model as the choice names them.

    Args:
        collection: the runs.
        choice: the names of models and methods.
        most: the largest number of lines if the choice names no methods; None for all.

    Raises:
        ConfigError: a model or a method is unknown.
    """
    names = LineNames.of(collection)
    models = range(len(collection.models))
    if choice.models is not None:
        known = [{names.models[n], collection.models[n].name} for n in models]
        models_asked = _matches("models", choice.models, known)
    else:
        models_asked = list(models)
    lines = [n for model in models_asked for n in collection.lines_of(model)]
    if choice.methods is None:
        each = len(lines) if most is None else max(1, most // max(1, len(models_asked)))
        fits = most is None or len(lines) <= most
        first = [n for model in models_asked for n in collection.lines_of(model)[:each]]
        return lines if fits else first[:most], len(lines)
    known = [
        {collection.lines[n].method, names.lines[n], names.lines[n].rpartition("/")[2]}
        for n in lines
    ]
    asked = [lines[place] for place in _matches("methods", choice.methods, known)]
    asked.sort(key=lambda n: models_asked.index(collection.lines[n].model))
    return asked, len(lines)


def _matches(option: str, asked: Sequence[str], known: Sequence[set[str]]) -> list[int]:
    """The positions of the names that are asked for, in the order in which they are."""
    places: dict[int, None] = {}
    for name in asked:
        found = [place for place, names in enumerate(known) if name in names]
        if not found:
            every = {one for names in known for one in names}
            raise ConfigError(
                f"{option}: expected {option} of the runs, found {name!r}; "
                f"{did_you_mean(name, every)}"
            )
        places |= dict.fromkeys(found)
    if not places:
        raise ConfigError(f"{option}: expected at least one name, found none")
    return list(places)


class ChosenImages(NamedTuple):
    """The images of a figure.

    Attributes:
        images: their positions in the collection, in the order of the figure.
        rule: how they were chosen, as a sentence.
        name: the rule as part of a file's name.
    """

    images: list[int]
    rule: str
    name: str


def chosen_images(
    collection: Collection, choice: Choice, lines: Sequence[int], n: int
) -> ChosenImages:
    """Choose images.

    Args:
        collection: the runs.
        choice: the rule.
        lines: the lines that are shown.
        n: the number of images.

    Raises:
        ConfigError: an id or a class is unknown, the rule needs hits that the runs do not have, or
            no image fits it.
    """
    if choice.ids is not None:
        known = {image_id: place for place, image_id in enumerate(collection.images.ids)}
        for image_id in choice.ids:
            if image_id not in known:
                raise ConfigError(
                    f"ids: expected ids of images of the runs, found {image_id!r}; "
                    f"{did_you_mean(image_id, known)}"
                )
        if not 0 < len(choice.ids) <= _MOST_IDS:
            n_ids = len(choice.ids) or "none"
            raise ConfigError(f"ids: expected from 1 to {_MOST_IDS} ids, found {n_ids}")
        images = [known[image_id] for image_id in dict.fromkeys(choice.ids)]
        return ChosenImages(images, "Images: named by their ids.", "ids")
    if not (isinstance(n, int) and 0 < n <= _MOST_IDS):
        raise ConfigError(f"n: expected from 1 to {_MOST_IDS} images, found {n}")
    candidates, of_class = _candidates(collection, choice, lines)
    shuffled = np.random.default_rng(choice.seed).permutation(candidates)
    pool = _Pool(collection, choice, lines, shuffled, of_class, n)
    rule = {"random": _random, "differ": _differ}.get(choice.choose, _extreme)
    images, sentence = rule(pool)
    return ChosenImages(images[:n], sentence, choice.choose)


class _Pool(NamedTuple):
    """The images that a rule chooses from.

    Attributes:
        collection, choice, lines, n: see ``chosen_images``.
        shuffled: the positions of the images, in a random order.
        of_class: their class as the end of a phrase; "" for images of all classes.
    """

    collection: Collection
    choice: Choice
    lines: Sequence[int]
    shuffled: Int64[np.ndarray, " n"]
    of_class: str
    n: int


def _candidates(
    collection: Collection, choice: Choice, lines: Sequence[int]
) -> tuple[Int64[np.ndarray, " n"], str]:
    """The images that a model of the lines was evaluated on, and of which class they are."""
    models = {collection.lines[line].model for line in lines}
    there: Bool[np.ndarray, " n"] = np.zeros(len(collection.images), np.bool_)
    for model in models:
        there |= collection.models[model].evaluated
    of_class = ""
    if choice.class_name is not None:
        wnids = _classes_named(collection, choice.class_name)
        codes = [n for n, (wnid, _) in enumerate(collection.classes) if wnid in wnids]
        there &= np.isin(collection.images.label, codes)
        words = ", ".join(collection.words(wnid).split(",")[0] for wnid in wnids)
        of_class = f" of class {words}"
    if not there.any():
        raise ConfigError(
            f"no image{of_class} was evaluated by the models that are shown; choose another class, "
            "or other models"
        )
    return np.flatnonzero(there), of_class


def _classes_named(collection: Collection, name: str) -> list[str]:
    """The wnids of the labels that have a name: the wnid, all words, or one of the words."""
    labels = {collection.classes[code] for code in np.unique(collection.images.label).tolist()}
    found, known = [], []
    for wnid, words in sorted(labels):
        parts = [word.strip() for word in words.split(",")]
        names = {wnid, words, *parts}
        known += [wnid, *parts]
        if name.casefold() in {one.casefold() for one in names}:
            found.append(wnid)
    if not found:
        raise ConfigError(
            f"class: expected a class of the runs' images, found {name!r}; "
            f"{did_you_mean(name, set(known))}"
        )
    return found


def _random(pool: "_Pool") -> tuple[list[int], str]:
    drawn = pool.shuffled[: pool.n].tolist()
    how = _how(pool, len(drawn), len(pool.shuffled))
    return drawn, f"Images: {len(drawn)} of {len(pool.shuffled):,}{pool.of_class}, {how}."


def _how(pool: "_Pool", n_shown: int, n_found: int) -> str:
    return "all" if n_shown == n_found else f"drawn at random (seed {pool.choice.seed})"


def _extreme(pool: "_Pool") -> tuple[list[int], str]:
    """The images with the highest, or the lowest, mean IoU; hits where a run keeps no IoU."""
    collection, choice, lines, shuffled, of_class, n = pool
    judged = _judged(collection, choice.choose, lines)
    known = shuffled[
        np.logical_and.reduce([_is_judged(collection, line)[shuffled] for line in judged])
    ]
    if not len(known):
        raise ConfigError(
            f"choose {choice.choose}: no image{of_class} is judged for all methods that are shown; "
            "name fewer of them (methods), or choose random"
        )
    ious = np.array([collection.lines[line].iou[known] for line in judged], np.float64)
    has_iou = not np.isnan(ious).all()
    if has_iou:
        values: Float64[np.ndarray, " n"] = np.nan_to_num(ious).mean(axis=0)
    else:
        hits = [collection.lines[line].gt_known[known] == HIT for line in judged]
        values = np.mean(hits, axis=0)
    best = choice.choose == "best"
    order = np.argsort(-values if best else values, kind="stable")
    what = "IoU" if has_iou else "number of hits"
    of = f"mean {what} of the methods shown" if len(judged) > 1 and has_iou else what
    highest = "highest" if best else "lowest"
    if n >= len(known):
        return known[order].tolist(), f"Images: all {len(known):,}{of_class}, {highest} {of} first."
    return known[order].tolist(), (
        f"Images: the {n} of {len(known):,}{of_class} with the {highest} {of}; of equal ones, "
        f"random ones (seed {choice.seed})."
    )


def _differ(pool: "_Pool") -> tuple[list[int], str]:
    """Images that the first line hits and the second one misses."""
    collection, shuffled = pool.collection, pool.shuffled
    judged = _judged(collection, "differ", pool.lines)
    if len(judged) < 2:
        raise ConfigError(
            "choose differ: expected two methods whose boxes are judged, found only "
            f"{_line_titles(collection, judged)[0]}; {_others_that_differ(pool)}"
        )
    pairs: Iterable[tuple[int, int]] = permutations(judged, 2)
    if pool.choice.methods is not None:
        pairs = [(judged[0], judged[1])]
    for pair in pairs:
        differ = _differing(pool, *pair)
        if differ.any():
            break
    else:
        a, b = _line_titles(collection, judged[:2])
        opposite = int(_differing(pool, judged[1], judged[0]).sum())
        raise ConfigError(
            f"choose differ: {a} hits no image{pool.of_class} that {b} misses, and {b} hits "
            f"{opposite or 'none'} that {a} misses; {_others_that_differ(pool)}"
        )
    names = _line_titles(collection, pair)
    found = shuffled[differ].tolist()
    shown = found[: pool.n]
    how = _how(pool, len(shown), len(found))
    return shown, (
        f"Images: {len(shown)} of the {len(found):,}{pool.of_class} that {names[0]} hits and "
        f"{names[1]} misses, {how}."
    )


def _differing(pool: "_Pool", first: int, second: int) -> Bool[np.ndarray, " n"]:
    """Which of the images a line hits that another one misses."""
    hit, missed = (pool.collection.lines[line].gt_known[pool.shuffled] for line in (first, second))
    return np.asarray((hit == HIT) & (missed != HIT) & (missed != NOT_DEFINED))


def _others_that_differ(pool: "_Pool") -> str:
    """Pairs of methods that differ: first those of the first method shown, within its model."""
    collection = pool.collection
    judged = [line for line in range(len(collection.lines)) if _is_judged(collection, line).any()]
    first = next(line for line in pool.lines if line in judged)
    model = {line: collection.lines[line].model for line in judged}
    # Lines are ordered by their models, so a later model cannot be named first.
    pairs = [pair for pair in permutations(judged, 2) if model[pair[0]] <= model[pair[1]]]
    counts = {pair: int(_differing(pool, *pair).sum()) for pair in pairs}

    def order(pair: tuple[int, int]) -> tuple[bool, bool, int]:
        return model[pair[0]] != model[pair[1]], first not in pair, -counts[pair]

    most = sorted((pair for pair in pairs if counts[pair]), key=order)
    if not most:
        return "no methods differ there, so choose other images: random, best or worst"
    names = LineNames.of(collection).lines
    texts = [f"{names[a]},{names[b]} ({counts[a, b]:,} images)" for a, b in most[:_MOST_PAIRS]]
    return f"other methods differ: {'; '.join(texts)}"


def _is_judged(collection: Collection, line: int) -> Bool[np.ndarray, " n"]:
    return np.asarray(collection.lines[line].gt_known != NOT_DEFINED)


def _judged(collection: Collection, rule: str, lines: Iterable[int]) -> list[int]:
    """The lines whose boxes are judged on some image; ConfigError if there is none."""
    judged = [line for line in lines if _is_judged(collection, line).any()]
    if not judged:
        raise ConfigError(
            f"choose {rule}: expected methods whose boxes are hits or misses, found none; choose "
            "at random, or score the run by a protocol of boxes (wsol-bench rescore)"
        )
    return judged


def _line_titles(collection: Collection, lines: Sequence[int]) -> list[str]:
    """Short names of some lines: the method, or its key where that is not enough."""
    methods = [collection.lines[line].method for line in lines]
    if max(Counter(methods).values()) == 1:
        return methods
    names = LineNames.of(collection)
    return [names.lines[line] for line in lines]
