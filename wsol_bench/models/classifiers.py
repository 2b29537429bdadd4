"""Classifiers: a network with its weights, its classes, its preprocessing and its target layers.

``load_classifier`` is longer than other functions because its docstring is its documentation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wsol_bench.common.vocabulary import Probabilities
from wsol_bench.errors import ModelError
from wsol_bench.models import shapes_net
from wsol_bench.models.build import build, network_error, sized_by, takes_num_classes
from wsol_bench.models.checkpoints import read_weights
from wsol_bench.models.classes import (
    ClassOrder,
    dataset_order,
    few,
    labeled_order,
    read_class_order,
)
from wsol_bench.models.hugging_face import labels_of, regression_finding, usual_output
from wsol_bench.models.names import paper_network, weights_file
from wsol_bench.models.network_kinds import plain_network
from wsol_bench.models.normalization import channels_advice
from wsol_bench.models.output_reading import OutputReading, unread
from wsol_bench.models.outputs import findings_of, noise_images, single_findings
from wsol_bench.models.published_preprocessing import preprocessing_of
from wsol_bench.models.target_layers import Layout, Target, TokenGrid, targets_of
from wsol_bench.models.weights import fingerprint, load_state

__all__ = [
    "OUTPUT_NUMBERS",
    "Classifier",
    "load_classifier",
    "require_sizes",
]

# What ``Classifier.classes_from`` says if the classes are the numbers of the outputs.
OUTPUT_NUMBERS = "the numbers of the outputs"


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network in evaluation mode, with everything that a run needs to know of it.

    Attributes:
        name: name in the results.
        module: maps (b, channels, h, w) normalized images to (b, n) logits.
        classes: wnid of each of the n outputs.
        targets: the target layers; none if none is known and no method needs one.
        mean, std: mean and standard deviation of each channel in [0, 1], by which the input is
            normalized: of gray, of RGB, or of RGB and alpha.
        native_size: side in pixels of the images that the weights are published for; None if it is
            not published.
        fingerprint: digest of the weights.
        classes_from: a text for people that says where the order of the classes comes from.
        weights_from: a text for people that says where the weights come from, and how the keys of
            their file were read.
        findings: what speaks against the network's outputs as scores before softmax, and what was
            taken for granted of its weights, in sentences.
    """

    name: str
    module: nn.Module
    classes: tuple[str, ...]
    targets: tuple[Target, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    native_size: int | None
    fingerprint: str
    classes_from: str
    weights_from: str
    findings: tuple[str, ...] = ()

    @property
    def n_channels(self) -> int:
        """The number of channels of the input: 1 for gray, 3 for RGB, 4 for RGB and alpha."""
        return len(self.mean)

    @property
    def black(self) -> tuple[float, ...]:
        """The color of opaque black in the normalized input: ``-mean / std``, and alpha of 1."""
        values = (0.0, 0.0, 0.0, 1.0)[: self.n_channels]
        return tuple(
            (value - mean) / std
            for value, mean, std in zip(values, self.mean, self.std, strict=True)
        )


@torch.inference_mode(False)  # a caller's inference mode would make parameters without gradients
def load_classifier(
    name: str,
    *,
    weights: str = "DEFAULT",
    key: str | None = None,
    classes: Path | None = None,
    dataset_classes: Mapping[str, str] | Sequence[str] | None = (),
    layer: str | None = None,
    layers: Sequence[str] | None = None,
    layout: Layout | None = None,
    token_grid: TokenGrid | None = None,
    head: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    arguments: Mapping[str, Any] | None = None,
    label: str | None = None,
    output: int | str | None = None,
    probabilities: Probabilities | None = None,
    input_size: int = 224,
    needs_layer: bool = True,
) -> Classifier:
    """Build a network and load its weights.

    Args:
        name: ``shapes_net``, a torchvision classification model, ``timm/<name>``, ``hf/<folder or
            id>``, a paper's network (``wsolevaluation/vgg16_cam``) or ``my_module:builder``.
        weights: ``DEFAULT`` or another torchvision weights name (``IMAGENET1K_V1``); the path of a
            .pth or .safetensors file that holds a state_dict or a mapping with one; ``random``.
        key: entry of the weights file, or beginning of its keys, to load; see ``read_weights``.
        classes: a file of wnids in the order of the outputs, one per line; words may follow.
        dataset_classes: the data set's sorted wnids, or its words by wnid: the order of the
            outputs if neither ``classes``, the weights file nor the network lists one, see
            ``dataset_order`` and ``labeled_order``. None (no data set) makes them the numbers of
            the outputs.
        layer, head: override the target-layer table.
        layers: several target layers, instead of one; ``head`` then belongs to the last one.
        layout, token_grid: layout of the layers, and grid of their tokens (rows, columns, index of
            the first patch token); by default the network is asked.
        mean, std: of each channel: one number for gray images, three for RGB, four for RGB and
            alpha. By default those that the weights are published with, else ImageNet's.
        arguments: for the builder.
        label: name in the results; by default ``name``.
        output: where the scores are in what the network returns: an index, a key or an attribute, a
            path of these, or the import path of a function; see ``OutputReading``.
        probabilities: ``softmax`` if the classes exclude each other, or ``sigmoid``; None for
            ``softmax``, or ``sigmoid`` if the network has a single logit.
        input_size: side in pixels of the images that will pass the network.
        needs_layer: whether a method needs a target layer; if not, an unknown network has none.

    Raises:
        ModelError: the network cannot be built, is of a kind that maps cannot be made of (see
            ``plain_network``), the weights do not fit, or the classes do not match the outputs.
    """
    network = _loaded_network(name, weights, key, arguments or {}, classes, dataset_classes)
    module = network.module.eval()
    expected = preprocessing_of(name, network.published, module, mean, std)
    usual = usual_output(module)
    reading = OutputReading(output if output is not None else usual[0], probabilities or usual[1])
    module.register_forward_hook(reading)
    outputs = _outputs(module, name, input_size, len(expected.mean))
    order = _order_of(outputs, name, network.order, reading)
    targets = targets_of(
        module, layers or ([layer] if layer else []), layout=layout, head=head,
        token_grid=token_grid, required=needs_layer,
    )  # fmt: skip
    return Classifier(
        name=label or name, module=module, fingerprint=fingerprint(module), targets=targets,
        classes=order.wnids, classes_from=order.origin, weights_from=network.weights_from,
        mean=expected.mean, std=expected.std, native_size=expected.size,
        findings=(
            *findings_of(outputs),
            *regression_finding(module),
            *_of_single_logit(module, reading, order, input_size, len(expected.mean)),
            *_untold(name, weights, arguments or {}),
        ),
    )  # fmt: skip


@torch.inference_mode(False)
@torch.no_grad()
def require_sizes(module: nn.Module, name: str, sizes: Sequence[int], n_channels: int = 3) -> None:
    """Raise ModelError unless a network takes images of the sides of a protocol's further views.

    Args:
        module: the network, on the CPU and in evaluation mode.
        name: the name that it was built by.
        sizes: sides in pixels.
        n_channels: number of channels of the images.
    """
    for size in sizes:
        try:
            module(noise_images(size, n_channels))
        except Exception as error:  # a user's network can raise any error
            failure = network_error(name, f"does not take a {size} x {size} image", error)
            raise ModelError(
                f"{failure}. The protocol's 'input.scales' asks for images of this size; a network "
                "that takes one size only needs a protocol without it"
            ) from error


class _LoadedNetwork(NamedTuple):
    """A network with its weights.

    Attributes:
        module: the network.
        weights_from: where the weights come from.
        published: name of the published weights; None if a file holds the weights.
        order: the classes of the outputs; None if nothing lists them.
    """

    module: nn.Module
    weights_from: str
    published: str | None
    order: ClassOrder | None


def _loaded_network(
    name: str,
    weights: str,
    key: str | None,
    arguments: Mapping[str, Any],
    classes: Path | None,
    dataset_classes: Mapping[str, str] | Sequence[str] | None,
) -> _LoadedNetwork:
    """Build a network, without wrappers, and load its weights."""
    path = _weights_path(name, weights, key, arguments)
    published = weights if path is None else None
    stored = None if path is None else read_weights(path, key)
    names = dataset_classes or ()
    listed = read_class_order(classes, names) if classes else stored and stored.order
    module = plain_network(build(name, published, _builder_arguments(name, arguments, listed)))
    module = unread(module)
    order = listed or _told_order(module, name, dataset_classes)
    for part in module.modules():
        part._compiled_call_impl = None  # a run compiles by itself what can be
    own = ":" in name and published == "DEFAULT"
    from_builder = "as the builder returns them, since no 'weights:' are named"
    weights_from = (
        (from_builder if own else weights) if stored is None else load_state(module, stored, name)
    )
    return _LoadedNetwork(module, weights_from, published, order)


def _told_order(
    module: nn.Module, name: str, classes: Mapping[str, str] | Sequence[str] | None
) -> ClassOrder | None:
    """The classes of outputs that no file lists: by the network's own names, else the data set's.

    None if there is no data set.
    """
    if classes is None:
        return None
    labels = labels_of(module)
    if labels is None or not classes:
        return dataset_order(list(classes))
    words = classes if isinstance(classes, Mapping) else dict(zip(classes, classes, strict=True))
    return labeled_order(labels, words, name)


def _weights_path(
    name: str, weights: str, key: str | None, arguments: Mapping[str, Any]
) -> Path | None:
    """The weights file of a network; None for published or random weights.

    Raises:
        ModelError: no such weights are published, a key is given for weights that are no file, or a
            weights file needs a builder's argument that is missing.
    """
    path = weights_file(weights)
    # Torchvision's builder checks its names of weights; the other builders know these two names.
    foreign = name == "shapes_net" or "/" in name or ":" in name
    if paper_network(name) and weights == "DEFAULT":
        raise ModelError(
            f"{name}: its weights cannot be downloaded by a name; give the authors' file "
            "with the model's 'weights:', or 'weights: random'"
        )
    if foreign and path is None and weights not in {"DEFAULT", "random"}:
        raise ModelError(
            f"{name} has no weights {weights!r} and no such file exists; "
            "expected DEFAULT, random or the path of a weights file"
        )
    if path is None and key is not None:
        raise ModelError(
            f"{name}: 'key: {key}' chooses in a weights file, but 'weights' is no file"
        )
    # Torchvision's own weights of these networks expect an input that is rescaled inside the
    # network. Torchvision sees to that if it loads them itself; a file does not say whose it is.
    if name in {"googlenet", "inception_v3"} and path and "transform_input" not in arguments:
        raise ModelError(
            f"{name}: weights from a file need 'arguments: {{transform_input: true}}' if they are "
            "torchvision's own, and false if they were trained on normalized images"
        )
    return shapes_net.WEIGHTS if name == "shapes_net" and weights == "DEFAULT" else path


def _of_single_logit(
    module: nn.Module,
    reading: OutputReading,
    order: ClassOrder,
    input_size: int,
    n_channels: int,
) -> tuple[str, ...]:
    """Findings that say how a single logit was read, and whether it is a probability already."""
    if not reading.single:
        return ()
    first, second = order.wnids
    return (
        f"its single output y is taken for the logit of class {second!r}: the scores are -y of "
        f"{first!r} and y of {second!r}, their probabilities sigmoid(-y) and sigmoid(y)",
        *single_findings(module, input_size, n_channels),
    )


def _untold(name: str, weights: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Findings that say what was taken for granted, since the weights file does not tell it."""
    # Strides and poolings are in no file; only in these two networks they number the layers.
    numbered = {"wsolevaluation/vgg16_adl", "wsolevaluation/vgg16_cam"}
    untold = name.startswith("wsolevaluation/") and name not in numbered
    if not untold or weights_file(weights) is None or "large_feature_map" in arguments:
        return ()
    return (
        "its weights are taken for those of a training without --large_feature_map, the default of "
        "wsolevaluation: the file does not tell, and those of the other kind would give wrong "
        "scores and maps. Say it with 'arguments: {large_feature_map: false}', or true",
    )


def _builder_arguments(
    name: str, arguments: Mapping[str, Any] | None, listed: ClassOrder | None
) -> dict[str, Any]:
    """The builder's arguments, with the number of listed classes if none is given."""
    completed = dict(arguments or {})
    if listed is not None and takes_num_classes(name):
        completed.setdefault("num_classes", len(listed.wnids))
    return completed


@torch.no_grad()
def _outputs(
    module: nn.Module, name: str, input_size: int, n_channels: int
) -> Float[Tensor, "2 n"]:
    """The outputs for two images of noise; ModelError unless they are logits."""
    try:
        logits = module(noise_images(input_size, n_channels))
    except ModelError:  # of what is read from its output
        raise
    except Exception as error:  # a user's network can raise any error
        failure = network_error(name, f"does not take a {input_size} x {input_size} image", error)
        advice = channels_advice(module, n_channels)
        advice = advice or "Set the size with 'input.size' of the protocol"
        raise ModelError(f"{failure}. {advice}") from error
    return logits


def _order_of(
    logits: Float[Tensor, "2 n"], name: str, order: ClassOrder | None, reading: OutputReading
) -> ClassOrder:
    """The classes of outputs, or their numbers; ModelError unless there is one for each class."""
    if order is None:
        return ClassOrder(tuple(map(str, range(logits.shape[1]))), OUTPUT_NUMBERS)
    if reading.single and len(order.wnids) != 2:
        raise ModelError(
            f"{name}: a single output is the logit of the second of two classes, and there "
            f"are {few(order.wnids)} ({order.origin}); give a network with one output for each "
            "class, or a file of its two classes with the model's 'classes:'"
        )
    if logits.shape[1] != len(order.wnids):
        raise ModelError(
            f"{name}: expected one class for each of the network's {logits.shape[1]} outputs, "
            f"found {few(order.wnids)} ({order.origin}). If the network has other outputs, build "
            f"it with {sized_by(name, len(order.wnids))}; else list the class of each "
            "output, one a line, in a file and name it with the model's 'classes:' (for "
            "ImageNet LOC_synset_mapping.txt)"
        )
    return order
