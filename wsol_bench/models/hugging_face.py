"""Classifiers of Hugging Face (``hf/<folder or id>``): networks, their images and their labels.

A folder or a repository is untrusted: no code of it runs, and its weights are safetensors, or are
loaded as tensors alone.
"""

import contextlib
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from PIL import Image
from torch import nn

from wsol_bench.common.harmless import printable_lines
from wsol_bench.common.vocabulary import Probabilities
from wsol_bench.errors import ModelError
from wsol_bench.models.normalization import Preprocessing

__all__ = [
    "is_of_transformers",
    "labels_of",
    "network_builder",
    "processing_of",
    "regression_finding",
    "usual_output",
]

# The name of a repository on the hub.
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# The files that hold an image processor.
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
# What a classifier never runs, though a checkpoint of another training may hold it.
_UNUSED = re.compile(r"(^|\.)(pooler|mask_token|decoder|lm_head|num_batches_tracked)(\.|$)")
# The side in pixels of the images that a processor is asked with, and their colors.
_SIDE = 320
_COLORS = np.array([[0] * 4, [255] * 4, [10, 90, 170, 250], [128] * 4])
# The labels of a network to which nobody gave names.
_NAMELESS = re.compile(r"LABEL_\d+")
_TOLERANCE = 1e-5


def is_of_transformers(module: nn.Module) -> bool:
    """Return whether a network is one of transformers, whose output has its scores as logits."""
    return any(
        base.__module__.startswith("transformers.") and base.__name__ == "PreTrainedModel"
        for base in type(module).__mro__
    )


def usual_output(module: nn.Module) -> tuple[str | None, Probabilities | None]:
    """The place of the scores in what a network of transformers returns, and their meaning.

    Both are None for another network.
    """
    if not is_of_transformers(module):
        return None, None
    several = getattr(module.config, "problem_type", None) == "multi_label_classification"
    # Without a dictionary the output is a tuple, whose first item they are.
    place = "logits" if getattr(module.config, "return_dict", True) else "0"
    return place, "sigmoid" if several else None


def regression_finding(module: nn.Module) -> tuple[str, ...]:
    """A sentence, without its end, which says that a network of transformers is no classifier."""
    config: Any = getattr(module, "config", None)
    if not is_of_transformers(module) or getattr(config, "problem_type", None) != "regression":
        return ()
    return (
        "its config.json has 'problem_type: regression', so that its outputs may be no scores of "
        "classes: their probabilities say nothing then. If they are scores, correct it there, or "
        "with 'arguments: {problem_type: single_label_classification}'",
    )


def network_builder(source: str, *, pretrained: bool) -> Callable[..., nn.Module]:
    """The function that makes a network from a folder or a repository on the hub.

    Args:
        source: a folder with config.json, or the id of a repository.
        pretrained: whether its weights are loaded; if not, config.json is all that is needed.

    Raises:
        ModelError: transformers is not installed, or there is no such folder and no such id.
    """
    try:
        import transformers
    except ImportError as error:
        raise ModelError(f"hf/{source} needs transformers: pip install 'wsol-bench[hf]'") from error
    folder = Path(source)
    if not folder.is_dir() and not _ID.fullmatch(source):
        raise ModelError(
            f"hf/{source}: expected a folder with config.json, or the id of a repository on the "
            "hub such as google/vit-base-patch16-224, found neither"
        )

    def build(*, num_classes: int | None = None, **arguments: Any) -> nn.Module:
        with _speaking_of(source), _quiet():
            config = _config(source, num_classes, arguments)
            auto = transformers.AutoModelForImageClassification
            if not pretrained:
                module: nn.Module = auto.from_config(config, trust_remote_code=False)
                return _plain(module).float()
            module, loading = auto.from_pretrained(
                source, config=config, trust_remote_code=False, weights_only=True,
                dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
            _require_all(loading, source)
            return _plain(module)

    return build


def _config(source: str, num_classes: int | None, arguments: dict[str, Any]) -> Any:
    """The configuration of a network, with the arguments in place of its own values."""
    import transformers

    given = {**arguments, **({} if num_classes is None else {"num_labels": num_classes})}
    config, unknown = transformers.AutoConfig.from_pretrained(
        source, trust_remote_code=False, return_unused_kwargs=True, **given
    )
    if unknown:
        raise ModelError(
            f"hf/{source}: arguments: a {type(config).__name__} has no {', '.join(unknown)}"
        )
    kinds = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    if type(config) not in kinds:
        raise ModelError(
            f"hf/{source}: expected an image classifier, found a {config.model_type!r}, for which "
            "transformers has none (AutoModelForImageClassification)"
        )
    if getattr(config, "quantization_config", None) is not None:
        raise ModelError(
            f"hf/{source}: its weights are quantized and have no gradients; give those before it"
        )
    if config.architectures is None:
        of_kind = kinds[type(config)]
        first = of_kind[0] if isinstance(of_kind, list | tuple) else of_kind
        config.architectures = [first.__name__]
    # A configuration could name code on the hub that computes the attention.
    config._attn_implementation = None
    return config


def _plain(module: nn.Module) -> nn.Module:
    """The network with an output that holds its scores, whatever its configuration asks for."""
    config: Any = module.config
    config.output_hidden_states = False
    config._output_attentions = False
    config.return_dict = True
    return module


def _require_all(loading: dict[str, Any], source: str) -> None:
    """Raise ModelError unless the weights are those of the whole network, its head included."""
    missing = sorted(loading["missing_keys"])
    unexpected = sorted(key for key in loading["unexpected_keys"] if not _UNUSED.search(key))
    other = sorted(
        f"{key}: expected {tuple(expected)}, found {tuple(found)}"
        for key, found, expected in loading["mismatched_keys"]
    )
    said = [
        f"{len(keys)} {kind} (first: {keys[0]})"
        for keys, kind in (
            (missing, "missing"), (unexpected, "unexpected"), (other, "of another shape"),
        )
        if keys
    ]  # fmt: skip
    if not said:
        return
    mend = "its head is that of another number of classes: leave 'num_classes' out"
    if missing:
        mend = (
            "weights are never loaded in part. A network that was not trained to classify has no "
            "classification head: give one that was, or 'weights: random'"
        )
    elif unexpected:
        mend = "config.json is that of another network"
    raise ModelError(f"hf/{source}: its weights do not fit its network: {'; '.join(said)}; {mend}")


@contextlib.contextmanager
def _speaking_of(source: str) -> Iterator[None]:
    """Turn errors of transformers into a ModelError that says how to mend it."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # files of others can make transformers raise any error
        first_line = printable_lines(str(error)).strip().partition("\n")[0]
        said = f"hf/{source}: {type(error).__name__}: {first_line}"
        if "trust_remote_code" in str(error):
            said = f"hf/{source}: it brings code of its own, which is never run"
            mend = "build it in a module of yours, and name it my_module:builder"
        elif isinstance(error, pickle.UnpicklingError):
            said = f"hf/{source}: its weights file holds more than tensors, and is never run"
            mend = "ask its authors for model.safetensors"
        elif not Path(source).is_dir() and isinstance(error, OSError):
            mend = (
                "download it on a machine with internet access (hf download "
                f"{source} --local-dir FOLDER), and name the folder: hf/FOLDER"
            )
        elif isinstance(error, OSError):
            mend = (
                "expected config.json there, and model.safetensors (or 'weights: random', or the "
                "path of a weights file)"
            )
        else:
            mend = "transformers cannot build it; is it a classifier of this version?"
        raise ModelError(f"{said}; {mend}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from its progress bars and reports; what matters becomes an error."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def processing_of(source: str, n_channels: int) -> Preprocessing | None:
    """The images that a network expects; None if no processor lies beside it.

    The processor is asked with images of one color, and not read: its fields mean other things in
    other processors.

    Args:
        source: a folder, or the id of a repository.
        n_channels: number of channels of the network's images.

    Raises:
        ModelError: the processor does more to colors than a mean and a standard deviation of each
            channel can say.
    """
    import transformers

    folder = Path(source)
    if folder.is_dir() and not any((folder / name).is_file() for name in _PROCESSORS):
        return None
    with _speaking_of(source), _quiet():
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(
                source, trust_remote_code=False
            )
        except OSError:
            if folder.is_dir():
                raise
            return None
        colors = _COLORS[:, :n_channels]
        said = f"hf/{source}: its processor ({type(processor).__name__})"
        mend = f"give the model's 'mean:' and 'std:', {n_channels} numbers each"
        try:
            found = [_processed(processor, color) for color in colors]
        except Exception as error:  # a processor of RGB alone can raise any error
            raise ModelError(
                f"{said} does not take images of {n_channels} channels, as the network does: "
                f"{error}; {mend}"
            ) from error
    values = np.stack([pixels[:, 0, 0] for pixels in found])
    if values.shape != colors.shape:
        raise ModelError(
            f"{said} makes images of {values.shape[1]} channels, but the network takes "
            f"{n_channels}; {mend}"
        )
    mean, std = _normalization(processor, values)
    expected = (colors / 255 - mean) / std
    plain = all(np.ptp(pixels, axis=(1, 2)).max() < _TOLERANCE for pixels in found)
    if not plain or not np.abs(values - expected).max() < _TOLERANCE * np.abs(values).max():
        raise ModelError(
            f"{said} changes colors by more than a mean and a standard deviation of each channel "
            "(blue before red, a border); build the network in a module of yours that takes "
            "normalized RGB, and name it my_module:builder"
        )
    height, width = found[0].shape[1:]
    return Preprocessing(
        tuple(mean.tolist()), tuple(std.tolist()), int(height) if height == width else None
    )


def _processed(processor: Any, color: Any) -> Float64[np.ndarray, "c h w"]:
    """The pixels that a processor makes of a square image of one color."""
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(len(color), "RGB")
    value = int(color[0]) if len(color) == 1 else tuple(map(int, color))
    image = Image.new(mode, (_SIDE, _SIDE), value)
    pixels = processor(images=image, return_tensors="pt")["pixel_values"]
    return np.asarray(pixels[0], np.float64)


def _normalization(processor: Any, values: Float64[np.ndarray, "4 c"]) -> tuple[Any, Any]:
    """The mean and standard deviation with which black and white become the given values.

    Where the processor's own numbers, or short ones, say the same, they are taken: the values are
    rounded.
    """
    black, white = values[:2]
    with np.errstate(divide="ignore", invalid="ignore"):
        std = 1 / (white - black)
        mean = 0.0 - black * std
    read = [getattr(processor, name, None) for name in ("image_mean", "image_std")]
    rounded = [mean.round(6), std.round(6)]
    ends = np.array([[0.0], [1.0]])
    for candidate in (read, rounded):
        try:
            shift, scale = (
                np.broadcast_to(np.asarray(one, float), black.shape) for one in candidate
            )
        except (TypeError, ValueError):  # the processor has no such numbers
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.abs((ends - shift) / scale - values[:2]).max()
        if error < _TOLERANCE * np.abs(values).max():
            return shift, scale
    return mean, std


def labels_of(module: nn.Module) -> tuple[str, ...] | None:
    """The names of a network's outputs, in order; None if its configuration gives none.

    Raises:
        ModelError: the names are not one text for each output.
    """
    config = getattr(module, "config", None)
    names = getattr(config, "id2label", None)
    # A single output has the name of one of two classes.
    if not is_of_transformers(module) or not isinstance(names, dict) or len(names) == 1:
        return None
    if set(names) != {*range(len(names))} or not all(
        isinstance(name, str) and name.strip() for name in names.values()
    ):
        raise ModelError(
            f"{type(module).__name__}: expected id2label of config.json to map 0, 1, ... to names, "
            f"found {printable_lines(str(names))[:200]}"
        )
    labels = tuple(names[index].strip() for index in range(len(names)))
    return None if all(map(_NAMELESS.fullmatch, labels)) else labels
