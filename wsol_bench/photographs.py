"""Maps and boxes of anybody's photographs: no data set, no ground truth."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float16, Float64
from PIL import Image
from torch import Tensor

from wsol_bench.capture import BestClasses, capture
from wsol_bench.common.catalog import METHODS, NETWORK_FREE
from wsol_bench.common.image_files import opened_image
from wsol_bench.common.plugin_errors import plugin_error
from wsol_bench.common.registry import uniquely_named
from wsol_bench.datasets.formats.class_tables import read_synset_mapping
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import (
    ConfigError,
    ImageError,
    ModelError,
    NotApplicableError,
    WsolBenchError,
)
from wsol_bench.geometry import Placement
from wsol_bench.images.decode import load_upright
from wsol_bench.images.preprocess import normalize, window
from wsol_bench.methods.base import MapMethod, cam_methods, merged_plan
from wsol_bench.metrics.localization import TOP_K
from wsol_bench.models.classifiers import (
    OUTPUT_NUMBERS,
    Classifier,
    load_classifier,
    published_words,
)
from wsol_bench.protocols.load import load_protocol, protocol_names
from wsol_bench.protocols.model import OneBoxProtocol
from wsol_bench.report.figures.images import HEAT_NOTE, cut_rule
from wsol_bench.report.figures.panel import Panel
from wsol_bench.report.figures.sheet import PICTURE_PIXELS, Cell, Words, draw_sheet
from wsol_bench.report.figures.style import MUTED, plain_text
from wsol_bench.runs.experiment import device_named
from wsol_bench.runs.map_storage import storable
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.one_box import OneBox
from wsol_bench.scoring.region import region_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Explained", "Explainer", "explain", "file_names", "require_photographs"]


@dataclass(frozen=True, eq=False)
class Explained:
    """The maps and boxes of a photograph.

    Attributes:
        path: the image file.
        picture: the image, right way up.
        classes: the names of the best classes, best first.
        probabilities: the softmax probability of each of them.
        maps: by the name of the method, the map of each class divided by its maximum, at the
            resolution of the layer. Boxes are taken from these values, as in a run.
        boxes: by the name of the method, the box of each class, half-open xyxy pixels of
            ``picture``; NaN for none.
        not_applicable: by the name of the method, why the network does not allow it.
        model: the name of the network.
        protocol: the rule by which boxes are taken from maps.
        placement: the place of the network's input in ``picture``.
    """

    path: Path
    picture: Image.Image
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    maps: dict[str, Float16[np.ndarray, "k h w"]]
    boxes: dict[str, Float64[np.ndarray, "k 4"]]
    not_applicable: dict[str, str]
    model: str
    protocol: OneBoxProtocol
    placement: Placement

    def figure(self) -> "Figure":
        """Draw the maps and boxes: a row for each method, a column for each class."""
        picture = self.picture.copy()
        picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS), Image.Resampling.LANCZOS)
        plain = Panel(self.placement.original, picture, self.placement, verdict="box")
        strips: list[list[Cell]] = []
        for name in (*self.maps, *self.not_applicable):
            first = not strips
            cells = [Cell(plain, _titles("photograph", "") if first else (), [Words(name, True)])]
            for k, words in enumerate(self.classes):
                share = f"{100 * self.probabilities[k]:.1f}%"
                titles = _titles(words.split(",")[0], share) if first else ()
                cells.append(self._cell(name, k, plain, titles))
            strips.append(cells)
        protocol = self.protocol
        notes = [
            f"Photograph: {plain_text(self.path.name)}. Network: {plain_text(self.model)}. "
            "Above each column: a class, and its probability.",
            f"Outline: {cut_rule(protocol)} The box is that of the largest region "
            f"({plain_text(protocol.name)}, {protocol.hash}). {HEAT_NOTE}",
        ]
        return draw_sheet(strips, notes=notes, columns=1)

    def _cell(self, method: str, k: int, plain: Panel, titles: Sequence[Words]) -> Cell:
        """The cell of a method and a class."""
        if method in self.not_applicable:
            return Cell(replace(plain, note="not applicable"), titles)
        protocol = self.protocol
        region = region_of(
            self.maps[method][k].astype(np.float32),
            self.placement.input,
            protocol.map,
            protocol.box,
            protocol.box.threshold,
        )
        box = self.boxes[method][k]
        has_box = bool(np.isfinite(box).all())
        panel = replace(plain, values=region.values, region=region, box=box if has_box else None)
        return Cell(panel, titles, [] if has_box else [Words("no box", color=MUTED)])


def _titles(first: str, second: str) -> list[Words]:
    return [Words(first, bold=True), Words(second, color=MUTED)]


class Explainer:
    """Makes the maps and boxes of photographs, one after another, as a run makes those of images.

    Args:
        model: the name of the network; see ``load_classifier``.
        methods: the names of map methods.
        weights: the weights; see ``load_classifier``. None for the published ones.
        classes: a file of the classes in the order of the outputs, one a line: its name, then words
            for people. None for the words that torchvision publishes, else the names that the
            weights file lists, else numbers.
        layer: the target layer; None for that of the target-layer table.
        protocol: the name or file of a protocol of one box.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` is the first GPU, or the CPU if there
            is none.

    Raises:
        ConfigError: a name is unknown, or the protocol takes no one box of each map.
        ModelError: the network cannot be built, or its weights or layer cannot be used.
    """

    def __init__(
        self,
        model: str = "resnet50",
        methods: Sequence[str] = ("grad_cam",),
        *,
        weights: str | Path | None = None,
        classes: Path | None = None,
        layer: str | None = None,
        protocol: str = "gradcam-2017",
        device: str = "auto",
    ) -> None:
        self.methods = _map_methods(methods)
        self.protocol = _one_box_protocol(protocol)
        self._device = device_named(device)
        named = "DEFAULT" if weights is None else str(weights)
        loaded = load_classifier(
            model,
            weights=named,
            classes=classes,
            dataset_classes=None,
            layer=layer,
            input_size=self.protocol.input.size,
            needs_layer=any(method.scope == "layer" for method in self.methods),
        )
        self._words = _class_words(loaded, model, named, classes)
        with torch.inference_mode(False):
            module = loaded.module.to(self._device).to(memory_format=torch.channels_last)
        self.classifier = replace(loaded, module=module)

    def of(self, path: Path) -> Explained:
        """The maps and boxes of the best five classes of a photograph.

        Args:
            path: an image file, which is turned as its EXIF orientation says.

        Raises:
            ImageError: the file cannot be read as an image.
            ModelError: the network fails on it, or its outputs are not finite.
        """
        picture = load_upright(path)
        try:
            placement = self.protocol.input.place(picture.height, picture.width)
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
        classifier = self.classifier
        pixels = window(picture, placement, self.protocol.input)[None].to(self._device)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        inputs = normalize(pixels, classifier.mean, classifier.std)
        try:
            record = capture(
                classifier.module, inputs, classifier.targets, merged_plan(self.methods),
                classes=BestClasses(TOP_K), image_ids=[path.stem], black=classifier.black,
            )  # fmt: skip
        except WsolBenchError:
            raise
        except Exception as error:  # a network of a user can raise any error
            failed = f"{classifier.name} fails on {path}"
            raise ModelError(plugin_error(failed, error)) from error
        if not record.logits.isfinite().all():
            raise ModelError(
                f"{path}: the outputs of {classifier.name} are not finite, so it has no best class"
            )
        best = record.classes[0].tolist()
        probabilities = record.logits.double().softmax(dim=1)[0, best].tolist()
        maps, boxes, not_applicable = {}, {}, {}
        for method in self.methods:
            try:
                of_classes = method.measured(record).maps.detach()[0]
            except NotApplicableError as error:
                not_applicable[method.name] = str(error)
                continue
            maps[method.name], boxes[method.name] = self._boxes(of_classes, placement)
        return Explained(
            path, picture, tuple(self._words[index] for index in best), tuple(probabilities),
            maps, boxes, not_applicable, classifier.name, self.protocol, placement,
        )  # fmt: skip

    def _boxes(
        self, maps: Tensor, placement: Placement
    ) -> tuple[Float16[np.ndarray, "k h w"], Float64[np.ndarray, "k 4"]]:
        """The maps as a run stores them, and their boxes as a run takes them."""
        stored, _ = storable(maps)
        k = len(stored)
        nothing = ImageTruth("", np.zeros((0, 4)))
        rows = RowBatch(
            ImageBatch(("",), (nothing,), (placement,)),
            np.zeros(k, np.int64),
            np.arange(1, k + 1),
            np.array([" "] * k, dtype=object),  # of no class that is the label
            np.full(k, np.nan),
        )
        scores = OneBox(self.protocol, ()).score_maps(stored.astype(np.float32), rows)
        return stored, np.stack([scores.rows[name] for name in ("x0", "y0", "x1", "y1")], axis=1)


def explain(
    images: str | Path | Sequence[str | Path],
    *,
    model: str = "resnet50",
    methods: str | Sequence[str] = ("grad_cam",),
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    layer: str | None = None,
    protocol: str = "gradcam-2017",
    device: str = "auto",
) -> list[Explained]:
    """The maps and boxes of the best five classes of photographs; no data set is needed.

    They are made as a run makes those of a data set's images: the protocol's preprocessing, the
    methods on one shared forward pass, maps as they are stored, boxes by the protocol's rule. But a
    photograph is turned as its EXIF orientation says, while the boxes of a data set refer to pixels
    as they are stored.

    Args:
        images: image files, one or several.
        model: the name of the network: a torchvision model, ``timm/<name>``, ``shapes_net`` or
            ``my_module:builder``.
        methods: the names of map methods (``wsol-bench list methods``), one or several.
        weights: a name of published weights, a weights file, or ``random``; None for the published
            ones.
        classes: a file of the classes in the order of the outputs; see ``Explainer``.
        layer: the target layer; None for that of the target-layer table.
        protocol: the name or file of a protocol of one box.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` is the first GPU, or the CPU if there
            is none.

    Returns:
        One result for each image, in order; ``result.figure()`` draws it.

    Raises:
        ConfigError: a name is unknown, or the protocol takes no one box of each map.
        ImageError: a file cannot be read as an image.
        ModelError: the network cannot be built or fails, or its weights or layer cannot be used.
    """
    several = [images] if isinstance(images, str | Path) else images
    paths = [Path(image) for image in several]
    require_photographs(paths)
    explainer = Explainer(
        model,
        [methods] if isinstance(methods, str) else methods,
        weights=weights,
        classes=None if classes is None else Path(classes),
        layer=layer,
        protocol=protocol,
        device=device,
    )
    return [explainer.of(path) for path in paths]


def require_photographs(paths: Sequence[Path]) -> None:
    """Raise ImageError unless each path is that of an image file; no pixel is decoded."""
    if not paths:
        raise ImageError("expected at least one image file, found none")
    problems = list(filter(None, map(_problem_of, paths)))
    if problems:
        more = f"\n... and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise ImageError("\n".join(problems[:10]) + more)


def _problem_of(path: Path) -> str:
    """The reason why a file is no image; "" for none."""
    if path.is_dir():
        return f"{path}: expected an image file, found a folder; name its files: {path}/*.jpg"
    try:
        with opened_image(path):
            return ""
    except FileNotFoundError:
        return f"{path}: the file does not exist"
    except Exception as error:  # damaged bytes can make Pillow raise any error
        return f"{path}: cannot be read as an image: {error}"


def _map_methods(names: Sequence[str]) -> list[MapMethod]:
    """The methods of some names; ConfigError if one is unknown or makes no map of a network."""
    if not names:
        raise ConfigError("methods: expected at least one name, found none")
    for name in names:
        if name in NETWORK_FREE:
            raise ConfigError(
                f"methods: expected map methods of a network, found {name!r}, which needs none"
            )
        METHODS.require(name)
    methods = list(uniquely_named(cam_methods.get(name) for name in names))
    for method in methods:
        if method.is_randomized:
            raise ConfigError(f"methods: {method.name} needs a network with permuted weights")
    return methods


def _one_box_protocol(name: str) -> OneBoxProtocol:
    """A protocol by name or file; ConfigError unless it takes one box of each map."""
    protocol = load_protocol(name)
    if isinstance(protocol, OneBoxProtocol):
        return protocol
    fitting = [one for one in protocol_names() if isinstance(load_protocol(one), OneBoxProtocol)]
    raise ConfigError(
        f"protocol: expected one that takes one box of each map ({', '.join(fitting)}), found "
        f"{protocol.name}"
    )


def _class_words(
    classifier: Classifier, model: str, weights: str, classes: Path | None
) -> Sequence[str]:
    """The name of each output for people."""
    if classes is not None:
        table = read_synset_mapping(classes)
        words = dict(zip(table["wnid"], table["words"], strict=True))
        return [words.get(wnid) or wnid for wnid in classifier.classes]
    if classifier.classes_from != OUTPUT_NUMBERS:
        return classifier.classes
    published = published_words(model, weights)
    if published is not None and len(published) == len(classifier.classes):
        return published
    return [f"output {number}" for number in classifier.classes]


def file_names(paths: Sequence[Path]) -> Iterator[str]:
    """The name of the figure of each photograph, without its ending; no two are equal."""
    seen: Counter[str] = Counter()
    for path in paths:
        seen[path.stem] += 1
        number = "" if seen[path.stem] == 1 else f"-{seen[path.stem]}"
        yield f"{path.stem}_maps{number}"
