"""Classifiers: build a network, load its weights, know its classes and its target layer."""

import hashlib
import inspect
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor, nn

from wsol_bench.common.registry import import_object
from wsol_bench.errors import ConfigError, ModelError, did_you_mean
from wsol_bench.models import shapes_net
from wsol_bench.models.target_layers import Layout, Target, target_of

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Classifier", "load_classifier", "model_names"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_NESTED_KEYS = ("state_dict", "model_state_dict", "model", "net")


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network in evaluation mode with everything a run needs to know of it.

    Attributes:
        name: stands in the results.
        module: maps (b, 3, h, w) normalized RGB to (b, n) logits.
        classes: wnid of each of the n outputs.
        targets: the layers where maps are taken, at least one.
        mean, std: of RGB in [0, 1], by which the input is normalized.
        native_size: side in pixels of the images that the weights are published for; None where
            nobody says.
        fingerprint: digest of the weights.
        classes_from: where the class order comes from, for people.
    """

    name: str
    module: nn.Module
    classes: tuple[str, ...]
    targets: tuple[Target, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    native_size: int | None
    fingerprint: str
    classes_from: str


def model_names() -> list[str]:
    """The networks that can be named without a package prefix."""
    return sorted(["shapes_net", *torchvision.models.list_models(module=torchvision.models)])


def load_classifier(
    name: str,
    *,
    weights: str = "DEFAULT",
    classes: Path | None = None,
    dataset_classes: Sequence[str] = (),
    layer: str | None = None,
    layers: Sequence[str] | None = None,
    layout: Layout | None = None,
    head: str | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    arguments: Mapping[str, Any] | None = None,
    label: str | None = None,
    input_size: int = 224,
) -> Classifier:
    """Build a network and load its weights.

    Args:
        name: ``shapes_net``, a torchvision classification model, ``timm/<name>`` or
            ``my_module:builder``.
        weights: ``DEFAULT`` or another torchvision weights name (``IMAGENET1K_V1``); the path of a
            .pth or .safetensors file that holds a state_dict or a mapping with one; ``random``.
        classes: file of wnids in the order of the outputs, one a line, words may follow.
        dataset_classes: the data set's wnids, sorted: the order where nothing else tells one.
        layer, layout, head: override the target-layer table.
        layers: several target layers, instead of one; ``head`` is then that of the last.
        mean, std: of the network's preprocessing; by default what its weights are published with,
            else ImageNet's.
        arguments: for the builder.
        label: name in the results; ``name`` where there is none.
        input_size: side in pixels of the images that will come.

    Raises:
        ModelError: a network that cannot be built, weights that do not fit, classes that do not
            match the outputs.
    """
    path = _weights_file(weights)
    _require_known_weights(name, weights, path)
    _require_input_transform(name, path, arguments or {})
    state, wnids, order = None, None, "the data set's sorted wnids"
    if name == "shapes_net" and weights == "DEFAULT":
        path = shapes_net.WEIGHTS
    if path is not None:
        state, wnids = _read_weights(path)
    if wnids is not None:
        order = f"'wnids' in {path}"
    if classes is not None:
        wnids, order = _read_classes(classes), str(classes)
    options = dict(arguments or {})
    if wnids is not None and _takes_num_classes(name):
        options.setdefault("num_classes", len(wnids))
    module = _build(name, weights if path is None else None, options)
    if state is not None:
        _load_state(module, state, f"{name}: {path}")
    module = module.eval()
    if wnids is None:
        wnids = tuple(dataset_classes)
    n_outputs = _count_outputs(module, name, input_size)
    if n_outputs != len(wnids):
        raise ModelError(
            f"{name}: the network has {n_outputs} outputs, but {order} name {len(wnids)} classes; "
            "give the order of the outputs with the model's 'classes:', a file whose lines begin "
            "with the wnids, such as LOC_synset_mapping.txt"
        )
    published = _published_preprocessing(name, weights if path is None else None, module)
    return Classifier(
        name=label or name,
        module=module,
        classes=tuple(wnids),
        targets=_targets(module, layers or [layer], layout, head),
        mean=mean or published.mean,
        std=std or published.std,
        native_size=published.size,
        fingerprint=_fingerprint(module),
        classes_from=order,
    )


def _targets(
    module: nn.Module, layers: Sequence[str | None], layout: Layout | None, head: str | None
) -> tuple[Target, ...]:
    heads = [None] * (len(layers) - 1) + [head]
    targets = tuple(
        target_of(module, layer=layer, layout=layout, head=its_head)
        for layer, its_head in zip(layers, heads, strict=True)
    )
    names = [target.layer for target in targets]
    if len(set(names)) < len(names):
        raise ModelError(f"layers: {', '.join(names)} names a layer twice")
    return targets


def _require_known_weights(name: str, weights: str, path: Path | None) -> None:
    """Torchvision's builder checks its own names; nobody else reads any but these."""
    foreign = name == "shapes_net" or name.startswith("timm/") or ":" in name
    if foreign and path is None and weights not in {"DEFAULT", "random"}:
        raise ModelError(
            f"{name} has no weights {weights!r} and no such file exists; "
            "known: DEFAULT, random, a file"
        )


def _require_input_transform(name: str, path: Path | None, arguments: Mapping[str, Any]) -> None:
    """Torchvision's own weights of these networks expect an input rescaled inside the network.

    It does so where it loads them itself; a file does not say whether they are those.
    """
    if name in {"googlenet", "inception_v3"} and path and "transform_input" not in arguments:
        raise ModelError(
            f"{name}: weights from a file need 'arguments: {{transform_input: true}}' where they "
            "are torchvision's own, and false where they were trained on normalized images"
        )


class _Preprocessing(NamedTuple):
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: int | None


def _published_preprocessing(name: str, weights: str | None, module: nn.Module) -> _Preprocessing:
    """What the weights' publisher says of their input; ImageNet's mean and std where none does."""
    config = getattr(module, "pretrained_cfg", None) if name.startswith("timm/") else None
    if config:
        return _Preprocessing(tuple(config["mean"]), tuple(config["std"]), config["input_size"][-1])
    if weights in (None, "random") or name == "shapes_net" or ":" in name:
        return _Preprocessing(IMAGENET_MEAN, IMAGENET_STD, None)
    transforms = torchvision.models.get_model_weights(name)[weights].transforms()
    return _Preprocessing(tuple(transforms.mean), tuple(transforms.std), transforms.crop_size[0])


def _weights_file(weights: str) -> Path | None:
    path = Path(weights)
    if path.suffix in {".pth", ".pt", ".safetensors", ".tar", ".bin"} or path.is_file():
        return path
    return None


def _read_weights(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """State dict and wnids of a file. Nothing in the file is executed."""
    if not path.is_file():
        raise ModelError(f"weights file {path} does not exist")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                text = (file.metadata() or {}).get("wnids", "null")
        except SafetensorError as error:
            raise ModelError(f"weights file {path} is not a safetensors file: {error}") from error
        try:
            return state, _wnids(json.loads(text), path)
        except json.JSONDecodeError as error:
            raise ModelError(f"weights file {path}: 'wnids' is no JSON: {error}") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead the reader to errors of any kind
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"weights file {path} cannot be loaded as tensors alone (weights_only=True): {reason} "
            "Save a state_dict, as .pth or .safetensors"
        ) from error
    if not isinstance(content, Mapping):
        raise ModelError(f"weights file {path}: expected a mapping, found {type(content).__name__}")
    nested = next(
        (content[key] for key in _NESTED_KEYS if isinstance(content.get(key), Mapping)), content
    )
    state = {
        key: value
        for key, value in nested.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if all(key.startswith("module.") for key in state):  # saved from a DataParallel
        state = {key.removeprefix("module."): value for key, value in state.items()}
    if not state:
        raise ModelError(
            f"weights file {path}: expected a state_dict or a mapping that holds one under "
            f"{' or '.join(_NESTED_KEYS)}, found keys {', '.join(map(str, list(content)[:8]))}"
        )
    return state, _wnids(content.get("wnids"), path)


def _wnids(listed: object, path: Path) -> tuple[str, ...] | None:
    if listed is None:
        return None
    if not isinstance(listed, list | tuple) or not all(isinstance(item, str) for item in listed):
        raise ModelError(
            f"weights file {path}: expected 'wnids' to be a list of names in the order of the "
            f"outputs, found {listed!r:.80}"
        )
    return _distinct(listed, f"'wnids' in {path}")


def _distinct(wnids: Sequence[str], where: str) -> tuple[str, ...]:
    twice = next((wnid for wnid, count in Counter(wnids).items() if count > 1), None)
    if twice is not None:
        raise ModelError(f"{where}: class {twice!r} stands twice; each output has its own")
    if not wnids:
        raise ModelError(f"{where} names no classes")
    return tuple(wnids)


def _read_classes(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"classes file {path}: {error}") from error
    return _distinct([line.split()[0] for line in lines if line.strip()], f"classes file {path}")


def _build(name: str, weights: str | None, arguments: dict[str, Any]) -> nn.Module:
    """The network; ``weights`` is a published set's name, ``random``, or None for none yet."""
    published = weights if weights != "random" else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights are the same in every run
        try:
            module = _builder(name, published)(**arguments)
        except ConfigError as error:
            raise ModelError(str(error)) from error
        except (TypeError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"{name}: cannot be built with {arguments}: {error}") from error
        except OSError as error:
            raise ModelError(
                f"{name}: weights {weights!r} could not be fetched ({error}); download them where "
                "there is a network and give the file as 'weights:'"
            ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{name}: expected a torch.nn.Module, found {type(module).__name__}")
    return module


def _takes_num_classes(name: str) -> bool:
    """Published networks all do; somebody's own builder may know its number itself."""
    if ":" not in name:
        return True
    try:
        parameters = inspect.signature(import_object(name, "model builder")).parameters
    except (ConfigError, TypeError, ValueError):  # building it says what is wrong
        return True
    kinds = {parameter.kind for parameter in parameters.values()}
    return "num_classes" in parameters or inspect.Parameter.VAR_KEYWORD in kinds


def _builder(name: str, published: str | None) -> Callable[..., nn.Module]:
    if name == "shapes_net":
        return shapes_net.shapes_net
    if ":" in name:
        builder: Callable[..., nn.Module] = import_object(name, "model builder")
        return builder
    if name.startswith("timm/"):
        return _timm_builder(name.removeprefix("timm/"), published)
    return _torchvision_builder(name, published)


def _timm_builder(name: str, published: str | None) -> Callable[..., nn.Module]:
    try:
        import timm
    except ImportError as error:
        raise ModelError(f"timm/{name} needs timm: pip install 'wsol-bench[timm]'") from error
    if not timm.is_model(name):
        raise ModelError(
            f"timm has no model {name!r}; {did_you_mean(name, timm.list_models())[:300]}"
        )

    def build(**arguments: Any) -> nn.Module:
        module: nn.Module = timm.create_model(name, pretrained=published is not None, **arguments)
        return module

    return build


def _torchvision_builder(name: str, published: str | None) -> Callable[..., nn.Module]:
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ModelError(f"unknown model {name!r}; {did_you_mean(name, model_names())}")
    if published is not None:
        known = [entry.name for entry in torchvision.models.get_model_weights(name)]
        if published not in {"DEFAULT", *known}:
            raise ModelError(
                f"{name} has no weights {published!r} and no such file exists; "
                f"{did_you_mean(published, ['DEFAULT', 'random', *known])}"
            )

    def build(**arguments: Any) -> nn.Module:
        if published is None and name in {"googlenet", "inception_v3"}:
            # Auxiliary classifiers never run in evaluation mode, and their initialization is slow.
            arguments = {"aux_logits": False, "init_weights": False, **arguments}
        module: nn.Module = torchvision.models.get_model(name, weights=published, **arguments)
        return module

    return build


def _load_state(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    own = module.state_dict()
    extra = [key for key in state if key not in own and not key.lower().startswith("aux")]
    # A counter that older files lack, and that evaluation never reads.
    state = {key: own[key] for key in own if key.endswith("num_batches_tracked")} | state
    missing = [key for key in own if key not in state]
    other = [
        f"{key}: expected {tuple(own[key].shape)}, found {tuple(state[key].shape)}"
        for key in own
        if key in state and own[key].shape != state[key].shape
    ]
    problems = [
        f"{len(keys)} {what} (first: {keys[0]})"
        for what, keys in (("missing", missing), ("unexpected", extra), ("of another shape", other))
        if keys
    ]
    if problems:
        raise ModelError(
            f"weights do not fit {source}: {'; '.join(problems)}. A head of another size is built "
            "with 'arguments: {num_classes: N}' or a class list"
        )
    module.load_state_dict({key: state[key] for key in own})


@torch.no_grad()
def _count_outputs(module: nn.Module, name: str, input_size: int) -> int:
    """The number of logits, by one pass on a blank image of the protocol's size."""
    try:
        logits = module(torch.zeros(1, 3, input_size, input_size))
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        raise ModelError(
            f"{name} does not take a {input_size} x {input_size} image: {error}. The size is "
            "'input.size' of the protocol"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise ModelError(f"{name}: expected logits of shape (b, n), found {_describe(logits)}")
    return logits.shape[1]


def _describe(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _fingerprint(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
