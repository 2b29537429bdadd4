"""The names of networks, weights and devices, known without torch: a wrong one is told at once."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from wsol_bench.common.files import require_regular
from wsol_bench.errors import ConfigError, ModelError, did_you_mean, shown

__all__ = [
    "GIVEN",
    "HUGGING_FACE",
    "model_names",
    "paper_network",
    "require_device_name",
    "require_model_name",
    "require_weights_file",
    "weights_file",
]

# The prefix of the import paths of networks that are given as objects (``models.given``), which end
# with the process.
GIVEN = "wsol_bench.models.given:"
# The prefix of the names of Hugging Face's classifiers; a folder or the id of a repository follows.
HUGGING_FACE = "hf/"
# A builder in torchvision's source code. Those of detection, segmentation and video are in folders
# of their own.
_BUILDER = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
# A builder in a module of ``models.paper_networks``, which has no other public functions.
_PAPERS_BUILDER = re.compile(r"^def ([a-z]\w*)\(", re.MULTILINE)
# The endings of weights files; a file with another one is found if it is there.
_WEIGHTS = {".pth", ".pt", ".ckpt", ".safetensors", ".caffemodel", ".tar", ".bin"}
# The kinds of devices that torch knows by name, with or without a number; "npu" is a common name of
# the kind that other packages add.
_DEVICES = (
    "cpu", "cuda", "hip", "hpu", "ipu", "maia", "mps", "mtia", "npu", "privateuseone", "xla", "xpu",
)  # fmt: skip
_DEVICE = re.compile(rf"auto|(?:{'|'.join(_DEVICES)})(?::\d+)?")


@cache
def model_names() -> list[str]:
    """Sorted names of the networks: torchvision's classifiers, shapes_net, and those of papers.

    Importing torchvision takes seconds, so they are read from source code.
    """
    spec = find_spec("torchvision")  # which imports nothing
    folders = spec.submodule_search_locations if spec is not None else None
    names = ["shapes_net"]
    for folder in folders or []:
        for file in Path(folder, "models").glob("*.py"):
            names += _BUILDER.findall(file.read_text(encoding="utf-8"))
    return sorted([*names, *_paper_networks()])


def paper_network(name: str) -> str | None:
    """The import path of the builder of a paper's network; None for another network."""
    return _paper_networks().get(name)


@cache
def _paper_networks() -> dict[str, str]:
    """The import paths of the builders of papers' networks, by the networks' names."""
    folder = Path(__file__).with_name("paper_networks")
    return {
        f"{file.stem}/{function}": f"wsol_bench.models.paper_networks.{file.stem}:{function}"
        for file in sorted(folder.glob("[!_]*.py"))
        for function in _PAPERS_BUILDER.findall(file.read_text(encoding="utf-8"))
    }


def require_model_name(name: str) -> None:
    """Raise ModelError if no network can have the name.

    A name of timm (``timm/<name>``) or of Hugging Face (``hf/<folder or id>``), or an import path
    (``my_module:builder``), passes unread.
    """
    if (
        not name.startswith(("timm/", HUGGING_FACE))
        and ":" not in name
        and name not in model_names()
    ):
        suggestion = did_you_mean(name, model_names(), listed_by="wsol-bench list models")
        raise ModelError(
            f"unknown model {name!r}; {suggestion}; a network of your own is named "
            "my_module:builder, by its file and its function or class"
        )


def weights_file(weights: str) -> Path | None:
    """The path that a model's ``weights`` names; None if it names published or random weights."""
    path = Path(weights)
    return path if path.suffix in _WEIGHTS or path.is_file() else None


def require_weights_file(path: Path) -> None:
    """Raise ModelError unless a regular file is there."""
    try:
        require_regular(path)
    except OSError as error:
        raise ModelError(
            f"weights file {path} cannot be read: {error.strerror}; correct the model's 'weights:'"
        ) from error


def require_device_name(name: str, where: str) -> None:
    """Raise ConfigError if no device can have the name; whether it is there is not looked up.

    Args:
        name: name of a device.
        where: place of the name in the message.
    """
    if not _DEVICE.fullmatch(name):
        raise ConfigError(
            f"{where}: expected cpu, cuda (a GPU), cuda:1 (the second GPU), auto (the first GPU, "
            f"else the CPU) or another device of torch such as mps, found {shown(name)}"
        )
