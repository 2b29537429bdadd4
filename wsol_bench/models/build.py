"""Networks by name: shapes_net, those of torchvision, timm, Hugging Face, papers, and one's own."""

import contextlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from wsol_bench.common.plugin_errors import plugin_error
from wsol_bench.common.registry import import_object
from wsol_bench.errors import ConfigError, ModelError, did_you_mean
from wsol_bench.models import shapes_net
from wsol_bench.models.hugging_face import network_builder
from wsol_bench.models.names import HUGGING_FACE, paper_network, require_model_name
from wsol_bench.models.published_weights import Remarks

__all__ = ["build", "network_error", "sized_by", "takes_num_classes"]


def build(name: str, weights: str | None, arguments: dict[str, Any]) -> nn.Module:
    """Build a network.

    Args:
        name: ``shapes_net``, a torchvision classification model, ``timm/<name>``, ``hf/<folder or
            id>``, a paper's network (``wsolevaluation/vgg16_cam``) or ``my_module:builder``.
        weights: name of a published set of weights; ``random``, or None if weights are loaded
            afterwards. Random weights are the same in every run.
        arguments: for the builder.

    Raises:
        ModelError: there is no such network or no such set of weights, or the builder fails.
    """
    published = weights if weights != "random" else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            builder = _builder(name, published)
        except ConfigError as error:
            raise ModelError(str(error)) from error
        try:
            module = builder(**arguments)
        except (Exception, SystemExit) as error:  # a user's builder can raise any error
            if isinstance(error, ModelError) and name.startswith(HUGGING_FACE):
                raise
            if isinstance(error, OSError) and published is not None and ":" not in name:
                raise ModelError(
                    f"{name}: weights {weights!r} could not be downloaded ({error}); download the "
                    "file on a machine with internet access, and give its path with the model's "
                    "'weights:'"
                ) from error
            given = f"with {arguments}" if arguments else "without 'arguments:'"
            raise ModelError(
                network_error(name, f"cannot be built {given}", error, builder)
            ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{name}: expected a torch.nn.Module, found {type(module).__name__}")
    return module


def network_error(
    name: str, failure: str, error: BaseException, builder: Callable[..., Any] | None = None
) -> str:
    """The message of an exception that a network, or its builder, has raised.

    Args:
        name: name of the network. If it is that of a user's builder, the message tells the file and
            the line.
        failure: what failed, as a predicate: "cannot be built".
        error: the exception.
        builder: the user's builder.
    """
    if ":" in name and not name.startswith(HUGGING_FACE):
        return plugin_error(f"{name}: {failure}", error, builder)
    return f"{name}: {failure}: {type(error).__name__}: {error}"


def takes_num_classes(name: str) -> bool:
    """Return whether a network's builder takes the number of classes.

    All published networks' builders do; a user's own builder may fix the number itself.
    """
    parameters = _parameters(name)
    if parameters is None:
        return True
    kinds = {parameter.kind for parameter in parameters.values()}
    return "num_classes" in parameters or inspect.Parameter.VAR_KEYWORD in kinds


def sized_by(name: str, size: int | str) -> str:
    """The key of a model that builds its network with a number of outputs, for an error.

    Args:
        name: name of the network.
        size: the number of outputs; a letter if it is not known.
    """
    if takes_num_classes(name):
        return f"'arguments: {{num_classes: {size}}}'"
    taken = ", ".join(_parameters(name) or ())
    return f"'arguments:' for {size} outputs ({name} takes {taken or 'none: write a builder'})"


def _parameters(name: str) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of a user's own builder; None of another one, or if they are not known."""
    if ":" not in name or name.startswith(HUGGING_FACE):
        return None
    try:
        return inspect.signature(import_object(name, "model builder")).parameters
    except (ConfigError, TypeError, ValueError):  # an error that building it will report
        return None


def _builder(name: str, published: str | None) -> Callable[..., nn.Module]:
    """The function that makes a network, with published weights if a set is named."""
    if name == "shapes_net":
        return shapes_net.shapes_net
    if name.startswith(HUGGING_FACE):
        source = name.removeprefix(HUGGING_FACE)
        return network_builder(source, pretrained=published is not None)
    path = paper_network(name) or name
    if ":" in path:
        builder: Callable[..., nn.Module] = import_object(path, "model builder")
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
    require_model_name(name)
    import torchvision  # its import takes seconds, and no other network needs it

    if published is not None:
        sets = [entry.name for entry in torchvision.models.get_model_weights(name)]
        if published not in {"DEFAULT", *sets}:
            raise ModelError(
                f"{name} has no weights {published!r} and no such file exists; "
                f"{did_you_mean(published, ['DEFAULT', 'random', *sets])}"
            )

    def build(**arguments: Any) -> nn.Module:
        if published is None and name in {"googlenet", "inception_v3"}:
            # Auxiliary classifiers never run in evaluation mode, and their initialization is slow.
            arguments = {"aux_logits": False, "init_weights": False, **arguments}
        with contextlib.redirect_stdout(Remarks()):
            module: nn.Module = torchvision.models.get_model(name, weights=published, **arguments)
        return module

    return build
