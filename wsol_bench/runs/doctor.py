"""What is odd about an experiment before hours are spent on it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wsol_bench.datasets import Dataset
from wsol_bench.errors import ModelError, WsolBenchError
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.config import ExperimentConfig
from wsol_bench.runs.evaluator import Evaluator
from wsol_bench.runs.experiment import build_methods, load_model
from wsol_bench.runs.schema import ImageStatus
from wsol_bench.runs.scorer import Scorer
from wsol_bench.scoring import scoring_of

if TYPE_CHECKING:
    from wsol_bench.models.classifiers import Classifier

__all__ = ["diagnose"]

# A trained classifier puts the own class among the best tenth for most images; a classifier whose
# outputs are named in the wrong order does so for a tenth of them.
_SAMPLE = 48
_SUSPICIOUS = 0.3

_MEANING = {
    "missing_file": "listed, but no such image file: left out",
    "no_label": "no source tells the class: left out",
    "unreadable_image": "not an image: left out",
    "bad_annotation": "annotation that cannot be parsed: left out",
    "no_annotation": "no annotation file: counts for the classification error only",
    "no_box": "no ground-truth box: counts for the classification error only",
    "odd_box": "box that was repaired or dropped",
    "size_mismatch": "annotation made for another size: boxes rescaled",
    "unknown_class": "object or image of a class that the data set does not name: left out",
    "label_mismatch": "the sources of the class disagree: is the class order right?",
}


def diagnose(config: ExperimentConfig, *, examples: int = 3) -> Iterator[str]:
    """Lines for people: counts, odd files, and what a run would skip and why.

    Args:
        config: the experiment.
        examples: shown of each kind of finding.

    Raises:
        WsolBenchError: at the end, where a run of the experiment would stop.
    """
    dataset = config.dataset.load()
    protocol = config.build_protocol()
    yield from _about_dataset(dataset, examples)
    failed = 0
    for model in config.models:
        yield ""
        try:
            classifier = load_model(model, dataset, protocol)
        except WsolBenchError as error:
            yield f"Model {model.key}: CANNOT BE LOADED: {error}"
            failed += 1
            continue
        yield from _about_classifier(
            classifier, dataset, protocol, random=model.weights == "random"
        )
    _, sources = build_methods(config)
    for source in sources:
        given = source.open(dataset)
        n = sum(given.covers(image_id) for image_id in dataset.images["image_id"])
        yield f"Method {source.name}: {source.gives} of {n} of {len(dataset)} images"
    if config.models:
        dataset.require_pixels()
    if failed:
        raise ModelError(f"{failed} of {len(config.models)} models cannot be loaded")


def _about_dataset(dataset: Dataset, examples: int) -> Iterator[str]:
    images = dataset.images
    yield (
        f"Data set {dataset.name}: {len(dataset)} images of {images['label'].nunique()} classes "
        f"({len(dataset.classes)} known), {len(dataset.boxes)} boxes"
    )
    pixels = int((images["path"] != "").sum())
    yield f"  images with pixels: {pixels}; without: {len(dataset) - pixels}"
    yield f"  images with several boxes: {int((images['n_boxes'] > 1).sum())}"
    blacklisted = int(images["blacklisted"].sum())
    yield f"  blacklisted: {blacklisted or 'none known (a blacklist comes with a devkit)'}"
    with_id = int((dataset.classes["ilsvrc_id"] > 0).sum())
    yield f"  classes with an ILSVRC2012_ID: {with_id}" + (
        "" if with_id else " (devkit files cannot be read or written; give 'devkit: DIR')"
    )
    order = ", ".join(f"{i} {wnid}" for i, wnid in enumerate(dataset.classes["wnid"].head(3)))
    yield f"  class order (sorted wnids): {order}, ..."
    findings = Counter(finding.kind for finding in dataset.findings)
    yield f"  findings: {sum(findings.values()) or 'none'}"
    for kind, count in findings.most_common():
        yield f"    {count} x {kind}: {_MEANING.get(kind, '')}"
        shown = [finding for finding in dataset.findings if finding.kind == kind][:examples]
        yield from (f"      {finding.image_id}: {finding.detail}" for finding in shown)


def _about_classifier(
    classifier: "Classifier", dataset: Dataset, protocol: Protocol, *, random: bool
) -> Iterator[str]:
    yield (
        f"Model {classifier.name}: {len(classifier.classes)} classes, order from "
        f"{classifier.classes_from}; target layer "
        f"{', '.join(target.layer for target in classifier.targets)}"
    )
    yield f"  input normalized by mean {classifier.mean}, std {classifier.std}"
    if classifier.native_size not in (None, protocol.input.size):
        yield (
            f"  its weights are published for {classifier.native_size} x {classifier.native_size} "
            f"pixels, the protocol's input has {protocol.input.size}: see 'protocol: input: size'"
        )
    if all(target.head is None for target in classifier.targets):
        yield "  cam: not applicable (no GAP + linear head behind the target layer)"
    known = dataset.images["label"].isin(classifier.classes).to_numpy()
    left_out = dataset.images.loc[~known, "label"]
    unknown = sorted(set(left_out))
    yield f"  images of known classes: {int(known.sum())}"
    if len(left_out):
        yield (
            f"  would skip {len(left_out)} images of {len(unknown)} classes that the model does "
            f"not know: {', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}"
        )
    usable = np.flatnonzero(known & (dataset.images["path"] != "").to_numpy())
    if random:
        yield "  label order: not checked, the weights are random"
    elif len(usable):
        spread = np.unique(np.linspace(0, len(usable) - 1, _SAMPLE).round().astype(int))
        yield from _check_order(classifier, dataset, usable[spread].tolist(), protocol)


def _check_order(
    classifier: "Classifier", dataset: Dataset, sample: Sequence[int], protocol: Protocol
) -> Iterator[str]:
    """Look at a few images: a wrong class order is a network that is right by chance only."""
    import torch

    from wsol_bench.runs.network_pass import NetworkPass

    network = NetworkPass(
        classifier=classifier,
        methods=(),
        randomized=None,
        sources={},
        protocol=protocol,
        faithfulness_steps=None,
        batch_size=8,
        workers=0,
        device=torch.device("cpu"),
        precision="fp32",
    )
    scoring = scoring_of(protocol, ())
    scorer = Scorer(classifier.name, protocol, scoring, faithfulness=False, strict=False)
    evaluator = Evaluator(network, scorer, network.batch_size)
    [tables] = evaluator.evaluate(dataset.take(sample), [range(len(sample))])
    images = tables.images
    for line in images[images["status"] != ImageStatus.EVALUATED].to_dict(orient="records"):
        yield f"  {line['image_id']}: {line['status']}: {line['reason']}"
    rank = images.loc[images["status"] == ImageStatus.EVALUATED, "label_rank"].to_numpy()
    if not len(rank):
        return
    tenth = max(1, round(len(classifier.classes) / 10))
    share = float((rank <= tenth).mean())
    verdict = "plausible"
    if share < _SUSPICIOUS and len(classifier.classes) > 1:
        verdict = "SUSPICIOUS: are the weights trained, and is the class order theirs?"
    yield (
        f"  label order, on {len(rank)} images: {100 * (rank == 1).mean():.0f}% right at top-1, "
        f"own class among the best {tenth} for {100 * share:.0f}%: {verdict}"
    )
