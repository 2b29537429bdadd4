"""The doctor tells what is odd about an experiment before hours are spent on it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Bool

from wsol_bench.common.vocabulary import KeptMaps
from wsol_bench.datasets import Dataset
from wsol_bench.datasets.findings import MEANINGS
from wsol_bench.datasets.synsets import is_wnid, numbered_order
from wsol_bench.errors import DatasetError, ModelError, WsolBenchError
from wsol_bench.models.classes import few
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.evaluator import Evaluator
from wsol_bench.runs.experiment import Experiment, load_model
from wsol_bench.runs.experiment_config import ExperimentConfig
from wsol_bench.runs.facts import PassSettings
from wsol_bench.runs.map_sizes import bytes_of_maps, size_of_maps
from wsol_bench.runs.schema import ImageStatus
from wsol_bench.runs.scorer import Scorer
from wsol_bench.scoring.kinds import scoring_of
from wsol_bench.scoring.measured_columns import NOTHING_MEASURED

if TYPE_CHECKING:
    from wsol_bench.models.classifiers import Classifier

__all__ = ["diagnose"]

# A trained classifier ranks the label among the best tenth of its outputs for most images; with the
# wrong class order it does so for a tenth of the images.
_SAMPLE = 48
_SUSPICIOUS = 0.3
# The probability below which as many right labels are not taken for chance.
_LEAST_P = 0.05
# Maps of as many bytes are said to be large.
_LARGE = 10**9


def diagnose(config: ExperimentConfig, *, examples: int = 3) -> Iterator[str]:
    """A report on an experiment, line by line: counts, odd files, and images that a run would skip.

    Args:
        config: the experiment.
        examples: the number of findings of each kind to show.

    Raises:
        WsolBenchError: the experiment cannot be run; raised after the last line.
    """
    dataset = config.dataset.load()
    yield from _dataset_lines(dataset, examples)
    experiment = Experiment.resolve(config, dataset)  # whose errors are those of a run
    protocol = experiment.protocol
    if config.models:
        experiment.device()
    labels, tried = experiment.dataset.images["label"], []
    failed = 0
    for model in config.models:
        yield ""
        try:
            classifier = load_model(model, dataset, protocol, experiment.map_methods)
        except WsolBenchError as error:
            yield f"Model {model.shown_name}: CANNOT BE LOADED: {error}"
            failed += 1
            continue
        tried.append(labels.isin(classifier.classes))
        yield from _classifier_lines(
            classifier, dataset, protocol, random=model.weights == "random"
        )
        yield from _size_lines(experiment, classifier)
    for method in experiment.network_free:
        opened = experiment.maps_or_boxes[method.name]
        n = sum(opened.covers(image_id) for image_id in dataset.images["image_id"])
        yield f"Method {method.name}: {method.gives} of {n} of {len(dataset)} images"
    if failed:
        raise ModelError(f"{failed} of {len(config.models)} models cannot be loaded")
    if not config.models:
        ids = experiment.dataset.images["image_id"]
        covers = [opened.covers for opened in experiment.maps_or_boxes.values()]
        tried = [ids.map(lambda image_id: any(covered(image_id) for covered in covers))]
    yield from _failed_lines(experiment, tried)
    if experiment.selection_run is not None:  # it must be a run of the same models and methods
        experiment.identity()


def _dataset_lines(dataset: Dataset, examples: int) -> Iterator[str]:
    """Lines about the data set: counts, the class order, and the loader's findings."""
    images = dataset.images
    yield (
        f"Data set {dataset.name}: {len(dataset)} images of {images['label'].nunique()} classes "
        f"({len(dataset.classes)} in the data set), {len(dataset.boxes)} boxes"
    )
    pixels = int((images["path"] != "").sum())
    yield f"  images with pixels: {pixels}; without: {len(dataset) - pixels}"
    yield f"  images with several boxes: {int((images['n_boxes'] > 1).sum())}"
    of_files = images.loc[images["path"] != "", "path"].value_counts()
    if several := int((of_files > 1).sum()):
        yield f"  image files of several classes: {several}; each counts as an image for each class"
    yield from _ilsvrc_lines(dataset)
    wnids = dataset.classes["wnid"].tolist()
    yield f"  class order (sorted as text): {_shown_order(wnids, dataset)}"
    if numbered_order(wnids) is not None:
        yield (
            "  ODD: by their numbers the classes have another order: a network whose weights file "
            "does not list its classes needs 'classes:'"
        )
    yield f"  findings of the loader: {len(dataset.findings) or 'none'}"
    counts = Counter(finding.kind for finding in dataset.findings)
    of_all = {finding.kind for finding in dataset.findings if not finding.image_id}
    # What concerns all images comes first, then what concerns most of them.
    for kind, count in sorted(counts.items(), key=lambda item: (item[0] not in of_all, -item[1])):
        yield f"    {count} x {kind}: {MEANINGS.get(kind, '')}"
        shown = [finding for finding in dataset.findings if finding.kind == kind][:examples]
        # A finding of the data set as a whole concerns no one image.
        names = (finding.image_id or "all images" for finding in shown)
        yield from (
            f"      {name}: {finding.detail}" for name, finding in zip(names, shown, strict=True)
        )


def _shown_order(wnids: Sequence[str], dataset: Dataset) -> str:
    """Three classes of an order, with their index and their words: the first, middle and last."""
    words = dataset.words
    last = len(wnids) - 1
    return ", ".join(
        f"{index} {wnids[index]}"
        + (
            f" ({words[wnids[index]]})"
            if words.get(wnids[index], wnids[index]) != wnids[index]
            else ""
        )
        for index in sorted({0, last // 2, last} - {-1})
    )


def _ilsvrc_lines(dataset: Dataset) -> Iterator[str]:
    """Lines about what only ILSVRC's devkit says; none about a data set that is not ILSVRC's."""
    blacklisted = int(dataset.images["blacklisted"].sum())
    with_id = int((dataset.classes["ilsvrc_id"] > 0).sum())
    if dataset.classes["wnid"].map(is_wnid).any() or blacklisted or with_id:
        yield f"  blacklisted: {blacklisted or 'none known (a blacklist comes with a devkit)'}"
        yield f"  classes with an ILSVRC2012_ID: {with_id}" + (
            "" if with_id else " (devkit files cannot be read or written; give 'devkit: DIR')"
        )


def _failed_lines(experiment: Experiment, tried: Sequence["pd.Series[bool]"]) -> Iterator[str]:
    """Lines about the images that no pass can evaluate; DatasetError if a run fails for them.

    Args:
        experiment: the experiment.
        tried: for each model, which images a run tries to evaluate.
    """
    images, config = experiment.dataset.images, experiment.config
    lacking, reason = images["path"] == "", "the data set holds no pixels of them"
    if not config.models:
        lacking = (images["height"] == 0) | (images["width"] == 0)
        reason = "neither an image file nor a table (docs/datasets.md) tells their size"
    n_tried = sum(int(of_model.sum()) for of_model in tried)
    n_failed = sum(int((of_model & lacking).sum()) for of_model in tried)
    if not n_tried:
        raise DatasetError(
            f"none of {len(images)} images can be evaluated: {_why_none(experiment)}"
        )
    if n_failed > config.max_failed * n_tried or n_failed == n_tried:
        first = pd.concat([images.loc[of_model & lacking, "image_id"] for of_model in tried])
        raise DatasetError(
            f"{n_failed} of {n_tried} images cannot be evaluated, more than max_failed "
            f"({config.max_failed:g}) allows, since {reason}; the first is {first.iloc[0]}"
        )
    if n_failed:
        yield f"{n_failed} of {n_tried} images cannot be evaluated: {reason}"


def _why_none(experiment: Experiment) -> str:
    """Say why no image has a label that a model knows, or a map or box, and how to mend it."""
    if not experiment.config.models:
        return "expected images with a map or box, found none"
    labels = few(sorted(experiment.dataset.images["label"].unique()))
    return (
        f"no network has an output for any of the data set's {labels}. If "
        "an output is one of these classes under another name, list their names as the data set "
        "has them, one a line in the order of the outputs, in a file and name it with the model's "
        "'classes:'"
    )


def _classifier_lines(
    classifier: "Classifier", dataset: Dataset, protocol: Protocol, *, random: bool
) -> Iterator[str]:
    """Lines about a classifier: its layers, the images that it skips, and its class order."""
    layers = ", ".join(target.layer for target in classifier.targets)
    yield (
        f"Model {classifier.name}: {len(classifier.classes)} classes, order from "
        f"{classifier.classes_from}; target layer "
        f"{layers or 'unknown, and no method needs one'}"
    )
    yield f"  outputs: {_shown_order(classifier.classes, dataset)}"
    yield f"  weights: {classifier.weights_from}"
    yield f"  input normalized by mean {classifier.mean}, std {classifier.std}"
    if classifier.native_size not in (None, protocol.input.size):
        yield (
            f"  its weights are published for {classifier.native_size} x {classifier.native_size} "
            f"pixels, but the protocol's input has {protocol.input.size}: see 'protocol: input: "
            "size'"
        )
    yield from (f"  ODD: {finding}" for finding in classifier.findings)
    if all(target.head is None for target in classifier.targets):
        yield (
            "  cam: not applicable (no GAP + linear head is known behind the target layer; if the "
            "network has one, name it with 'head:')"
        )
    has_output = dataset.images["label"].isin(classifier.classes).to_numpy()
    left_out = dataset.images.loc[~has_output, "label"]
    unknown = sorted(set(left_out))
    yield f"  images of known classes: {int(has_output.sum())}"
    if len(left_out):
        yield (
            f"  a run would skip {len(left_out)} images of {len(unknown)} classes that the model "
            f"does not know: {', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}"
        )
    usable = np.flatnonzero(has_output & (dataset.images["path"] != "").to_numpy())
    if random:
        yield "  label order: not checked, the weights are random"
    elif len(usable):
        spread = np.unique(np.linspace(0, len(usable) - 1, _SAMPLE).round().astype(int))
        yield from _check_order(classifier, dataset, usable[spread].tolist(), protocol)


def _by_chance(right: Bool[np.ndarray, " n"], chance: float) -> bool:
    """Return whether as many are right by chance alone in more than 5% of all cases."""
    return bool(scipy.stats.binom.sf(right.sum() - 1, len(right), chance) > _LEAST_P)


def _size_lines(experiment: Experiment, classifier: "Classifier") -> Iterator[str]:
    """A line about the size of the maps of a model that a run would keep, if they are large."""
    n_images, kept = len(experiment.dataset), experiment.config.maps
    choices: dict[KeptMaps, int] = {
        choice: n_images
        * bytes_of_maps(classifier, experiment.map_methods, choice, experiment.protocol.input.size)
        for choice in dict.fromkeys((kept, "label"))
    }
    if choices[kept] >= _LARGE:
        sizes = (f"up to {size_of_maps(size)} with maps: {name}" for name, size in choices.items())
        yield f"  maps on disk: {', '.join(sizes)}"


def _check_order(
    classifier: "Classifier", dataset: Dataset, sample: Sequence[int], protocol: Protocol
) -> Iterator[str]:
    """Evaluate a few images: with a wrong class order the network is right by chance only."""
    import torch

    from wsol_bench.runs.network_pass import NetworkPass

    network = NetworkPass(
        classifier=classifier,
        methods=(),
        randomized=None,
        network_free={},
        protocol=protocol,
        faithfulness_steps=None,
        settings=PassSettings(batch_size=8, workers=0, channels_last=False, at_once=8),
        device=torch.device("cpu"),
        precision="fp32",
    )
    scoring = scoring_of(protocol, ())
    scorer = Scorer(classifier.name, protocol, scoring, NOTHING_MEASURED, strict=False)
    evaluator = Evaluator(network, scorer, network.settings.batch_size)
    [tables] = evaluator.evaluate(dataset.take(sample), [range(len(sample))])
    images = tables.images
    for line in images[images["status"] != ImageStatus.EVALUATED].to_dict(orient="records"):
        yield f"  {line['image_id']}: {line['status']}: {line['reason']}"
    rank = images.loc[images["status"] == ImageStatus.EVALUATED, "label_rank"].to_numpy()
    if not len(rank):
        return
    n_classes = len(classifier.classes)
    tenth = max(1, round(n_classes / 10))
    share = float((rank <= tenth).mean())
    verdict = "plausible"
    if n_classes > 1 and (share < _SUSPICIOUS or _by_chance(rank <= tenth, tenth / n_classes)):
        verdict = (
            f"SUSPICIOUS, {100 * tenth / n_classes:.0f}% are right by chance: are the weights "
            "trained, and is this their class order? The model's 'classes:' names another"
        )
        if n_classes == 2 and not _by_chance(rank > 1, 0.5):
            verdict += f", in which {100 * (1 - share):.0f}% are right"
    among = f", label among the best {tenth} for {100 * share:.0f}%" if tenth > 1 else ""
    yield (
        f"  label order, on {len(rank)} images: {100 * (rank == 1).mean():.0f}% right at top-1"
        f"{among}: {verdict}"
    )
