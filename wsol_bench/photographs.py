"""Maps and boxes of anybody's photographs: no data set, no ground truth.

``explain`` is longer than other functions because its docstring is its documentation.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float16, Float64
from torch import Tensor, nn

from wsol_bench.calls import (
    given_networks,
    in_python,
    in_words_of_options,
    in_words_of_python,
    named_model,
    named_plugin,
)
from wsol_bench.capture import BestClasses, Plan, Record, capture
from wsol_bench.common.image_files import problem_of
from wsol_bench.common.plugin_errors import plugin_error
from wsol_bench.common.progress import step
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import (
    ConfigError,
    ImageError,
    ModelError,
    WsolBenchError,
)
from wsol_bench.geometry import Placement
from wsol_bench.images.decode import load_upright
from wsol_bench.images.preprocess import normalize, windows
from wsol_bench.methods.base import MapMethod, merged_plan
from wsol_bench.metrics.localization import TOP_K
from wsol_bench.models.class_words import IMAGENET, class_words, output_of, plain_names
from wsol_bench.models.classifiers import Classifier, load_classifier, require_sizes
from wsol_bench.models.output_reading import reading_of, scored_targets
from wsol_bench.protocols.input_section import View
from wsol_bench.protocols.load import load_protocol, protocol_names
from wsol_bench.protocols.model import OneBoxProtocol
from wsol_bench.report.figures.explained import Explained
from wsol_bench.runs.experiment import device_named
from wsol_bench.runs.experiment_config import ExperimentConfig, load_config
from wsol_bench.runs.map_storage import storable
from wsol_bench.runs.method_maps import MethodMaps, maps_of, mean_over_views
from wsol_bench.runs.methods import build_methods
from wsol_bench.runs.views import Capture, Views, naming_scale
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.one_box import OneBox

__all__ = ["Explained", "Explainer", "explain"]

# Anything else is refused with advice.
Images = str | Path | Iterable[str | Path] | Any
Network = str | nn.Module | Mapping[str, Any] | Any
Methods = str | MapMethod | Sequence[str | MapMethod | Mapping[str, Any]] | Any


class Explainer:
    """Makes the maps and boxes of photographs, one after another, as a run makes those of images.

    Args:
        model, methods, weights, classes, layer, protocol, device, targets: as in ``explain``.

    Attributes:
        hint: how to name the classes if they have no names, in words of the command line, and how
            a single output was read; "" if there is nothing to say.

    Raises:
        ConfigError, ModelError: as in ``explain``.
    """

    def __init__(
        self,
        model: Network = "resnet50",
        methods: Sequence[Any] = ("grad_cam",),
        *,
        weights: str | Path | None = None,
        classes: str | Path | None = None,
        layer: str | None = None,
        protocol: str | Mapping[str, Any] = "gradcam-2017",
        device: "str | torch.device | None" = None,
        targets: Any = None,
    ) -> None:
        if not methods:
            raise ConfigError("methods: expected at least one name, found none")
        networks: dict[str, Any] = {}
        options = model if isinstance(model, Mapping) else {"name": model}
        texts = {"weights": weights, "classes": classes}
        given = {key: str(value) for key, value in texts.items() if value is not None}
        given |= {} if layer is None else {"layer": layer}
        config = load_config(
            {
                "name": "explain",
                "dataset": "shapes",  # an experiment has one; none is loaded
                "models": [named_model({**options, **given}, "model", "network", networks)],
                "methods": [named_plugin(one, f"methods.{n}") for n, one in enumerate(methods)],
                "protocol": protocol,
            }
        )
        self.methods = _map_methods(config)
        self.protocol = _one_box_protocol(config)
        self._device = device_named("auto" if device is None else str(device))
        [chosen] = config.models
        file = None if str(chosen.classes) == IMAGENET else chosen.classes
        # A mapping has the keys of a model, of which errors speak.
        speaking = nullcontext() if isinstance(model, Mapping) else in_words_of_options()
        with given_networks(networks), speaking:
            loaded = load_classifier(
                **{**chosen.model_dump(), "classes": file},
                dataset_classes=None if file is None else plain_names(file),
                input_size=self.protocol.input.size,
                needs_layer=any(method.scope == "layer" for method in self.methods),
            )
            require_sizes(loaded.module, chosen.name, self.protocol.input.further_sides)
        words = class_words(loaded, chosen.name, chosen.weights, chosen.classes)
        self._words = words or [f"output {number}" for number in loaded.classes]
        self.hint = "" if words else _hint(loaded)
        if reading_of(loaded.module).single:
            self.hint = "\n".join(filter(None, [self.hint, f"{loaded.name}: {loaded.findings[0]}"]))
        self._targets = None if targets is None else self._resolved(targets, loaded)
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
        picture, section = load_upright(path), self.protocol.input
        try:
            placements = section.windows(picture.height, picture.width)
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
        classifier, placement = self.classifier, placements[0]
        pixels = windows(picture, placements, section)
        views = Views(section, [self._normalized(of_window) for of_window in pixels])
        run, plan = self._capturing(path), merged_plan(self.methods)
        predictions = views.predict(run, plan, self._slots)
        if not predictions.logits.isfinite().all():
            raise ModelError(
                f"{path}: the outputs of {classifier.name} are not finite, so it has no best class"
            )
        best, reading = predictions.classes[0].tolist(), reading_of(classifier.module)
        scores = predictions.logits.double()
        probabilities = torch.full_like(scores, torch.nan)
        if reading.targets is None:
            probabilities = reading.probabilities_of(scores)
        of_methods: dict[str, list[tuple[View, MethodMaps]]] = {}
        for view, record in views.records(run, plan, predictions):
            for method in self.methods:
                # Of all classes, also where a run makes the map of the label alone.
                of_all = replace(method, classes="all")
                with naming_scale(view):
                    made = maps_of(of_all, "", record)
                of_methods.setdefault(method.name, []).append((view, made))
        maps, boxes, not_applicable = {}, {}, {}
        for name, of_views in of_methods.items():
            mean = mean_over_views(of_views, placement.input, predictions.cost)
            if mean.maps is None:
                not_applicable[name] = mean.reason
            else:
                maps[name], boxes[name] = self._boxes(mean.maps[0], placement)
        return Explained(
            path, picture, tuple(self._words[index] for index in best),
            tuple(probabilities[0, best].tolist()), tuple(scores[0, best].tolist()),
            maps, boxes, not_applicable, classifier.name, self.protocol, placement,
        )  # fmt: skip

    def _resolved(self, targets: Any, loaded: Classifier) -> list[int]:
        """The score index of each target; functions become scores of the network."""
        listed = list(targets) if isinstance(targets, list | tuple) else [targets]
        if not listed:
            raise ConfigError("targets: expected at least one class or function, found none")
        indices = [
            target if callable(target) else output_of(target, self._words, loaded.classes)
            for target in listed
        ]
        scored = scored_targets(indices)
        if scored is None:
            return indices
        if self.protocol.input.ten_crop is not None:
            raise ConfigError(
                "targets: a function of the network's output has no probability, of which "
                f"{self.protocol.name} takes the mean over ten crops; choose another protocol"
            )
        reading_of(loaded.module).targets = scored  # the network is this object's own
        self._words = [
            getattr(target, "__name__", type(target).__name__)
            if callable(target)
            else self._words[target]
            for target in scored
        ]
        return list(range(len(scored)))

    @property
    def _slots(self) -> "BestClasses | Tensor":
        """The class slots of a photograph: the five best classes, or the targets."""
        if self._targets is None:
            return BestClasses(TOP_K)
        return torch.tensor([self._targets], device=self._device)

    def _normalized(self, pixels: Tensor) -> Tensor:
        pixels = pixels[None].to(self._device).contiguous(memory_format=torch.channels_last)
        return normalize(pixels, self.classifier.mean, self.classifier.std)

    def _capturing(self, path: Path) -> Capture:
        """A function that runs the network once on the pixels of a photograph."""
        classifier = self.classifier

        def run(inputs: Tensor, plan: Plan, classes: BestClasses | Tensor) -> Record:
            try:
                return capture(
                    classifier.module, inputs, classifier.targets, plan, classes=classes,
                    image_ids=[path.stem], black=classifier.black,
                )  # fmt: skip
            except WsolBenchError:
                raise
            except Exception as error:  # a network of a user can raise any error
                failed = f"{classifier.name} fails on {path}"
                raise ModelError(plugin_error(failed, error)) from error

        return run

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
    images: Images,
    *,
    model: Network = "resnet50",
    methods: Methods = ("grad_cam",),
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    layer: str | None = None,
    protocol: str | Mapping[str, Any] = "gradcam-2017",
    device: "str | torch.device | None" = None,
    targets: Any = None,
) -> list[Explained]:
    """The maps and boxes of the best five classes of photographs; no data set is needed.

    They are made as a run makes those of a data set's images: the protocol's preprocessing, the
    methods on one shared forward pass, maps as they are stored, boxes by the protocol's rule. But a
    photograph is turned as its EXIF orientation says, while the boxes of a data set refer to pixels
    as they are stored.

    Args:
        images: image files, one or several.
        model: the network: a torchvision model, ``timm/<name>``, ``shapes_net``,
            ``my_module:builder``, a ``torch.nn.Module``, or a mapping with one of these as its
            ``name`` and the keys of an experiment's model (``mean``, ``std``, ``head``, ...).
        methods: map methods, one or several: names (``wsol-bench list methods``), what
            ``@cam_method`` returns, or mappings with one of these as ``name`` and its options.
        weights: a name of published weights, a weights file, or ``random``; None for the published
            ones.
        classes: a file of the classes in the order of the outputs, one a line: its name, then words
            for people; or ``imagenet`` for the 1000 classes of ILSVRC. None for the words that
            torchvision publishes with its weights, else the names that the weights file lists, else
            numbers.
        layer: the target layer; None for that of the target-layer table.
        protocol: the name or file of a protocol of one box, or a mapping with that as ``name`` and
            changes.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; None for the first GPU, or the CPU if there is
            none.
        targets: what maps are made of in the place of the best classes: a class (its name or output
            index), a function that maps what the network returns for a batch to one number an
            image, or a list of these. Methods that need all classes, their probabilities or their
            weights do not apply to a function.

    Returns:
        One result for each image, in order. A notebook shows its figure, ``result.figure()``.

    Raises:
        ConfigError: a name is unknown, or the protocol takes no one box of each map.
        ImageError: files cannot be read as images. This is found before the network is loaded.
        ModelError: the network cannot be built or fails, or its weights or layer cannot be used.
    """
    several = _listed(images, "images", "the path of an image file", str | Path)
    asked = _listed(methods, "methods", "a method's name", str | MapMethod | Mapping)
    with in_words_of_python():
        paths = _readable(several)
        step(f"loading the network {model if isinstance(model, str) else type(model).__name__}")
        explainer = Explainer(
            model,
            asked,
            weights=weights,
            classes=classes,
            layer=layer,
            protocol=protocol,
            device=device,
            targets=targets,
        )
        if explainer.hint:
            step(in_python(explainer.hint))
        return [explainer.of(path) for path in paths]


def _listed(given: Any, name: str, expected: str, kind: Any) -> list[Any]:
    """A value or several as a list; ConfigError if it is neither."""
    # A function that lacks its decorator is told like one in a list.
    if isinstance(given, kind) or callable(given):
        return [given]
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise ConfigError(
            f"{name}: expected {expected} or a list of them, found {type(given).__name__}"
        )
    return list(given)


def _readable(images: Sequence[Any]) -> list[Path]:
    """The paths of image files that can be decoded; ImageError names those that cannot."""
    if not images:
        raise ImageError("images: expected at least one image file, found none")
    problems, paths = [], []
    for image in images:
        if not isinstance(image, str | Path):
            raise ConfigError(
                f"images: expected the path of an image file or a list of them, found a list with "
                f"{type(image).__name__}"
            )
        paths.append(Path(image))
        if problem := problem_of(paths[-1]):
            problems.append(problem)
            continue
        try:
            load_upright(paths[-1])
        except ImageError as error:
            problems.append(str(error))
    if problems:
        more = f"\n... and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise ImageError("\n".join(problems[:10]) + more)
    return paths


def _map_methods(config: ExperimentConfig) -> Sequence[MapMethod]:
    """The methods of a configuration; ConfigError if one makes no map of the network."""
    methods, network_free = build_methods(config)
    if network_free:
        raise ConfigError(
            f"methods: expected map methods of a network, found {network_free[0].name!r}, which "
            "needs none"
        )
    for method in methods:
        if method.is_randomized:
            raise ConfigError(f"methods: {method.name} needs a network with permuted weights")
    return methods


def _one_box_protocol(config: ExperimentConfig) -> OneBoxProtocol:
    """The protocol of a configuration; ConfigError unless it takes one box of each map."""
    protocol = config.build_protocol()
    if isinstance(protocol, OneBoxProtocol):
        return protocol
    fitting = [one for one in protocol_names() if isinstance(load_protocol(one), OneBoxProtocol)]
    raise ConfigError(
        f"protocol: expected one that takes one box of each map ({', '.join(fitting)}), found "
        f"{protocol.name}"
    )


def _hint(classifier: Classifier) -> str:
    """Say how to name classes that have no names."""
    n_outputs = len(classifier.classes)
    imagenet = f", --classes {IMAGENET} if they are those of ImageNet" if n_outputs == 1000 else ""
    return (
        f"the classes have no names: nothing says what the {n_outputs} outputs of "
        f"{classifier.name} are; --classes FILE names them{imagenet}"
    )
