"""The command that writes a first experiment: init."""

import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsol_bench.cli.process import print_message, print_notice
from wsol_bench.cli.shared_options import utf8_path
from wsol_bench.common.harmless import printable, yaml_text
from wsol_bench.common.progress import step
from wsol_bench.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from wsol_bench.datasets.recognition import Recognition

__all__ = ["init"]

# The folders below a root that are looked into if the root itself is not recognized.
_MOST_FOLDERS = 50


def init(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File to write.", callback=utf8_path)
    ] = Path("my.yaml"),
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="Folder of a data set, or a table of boxes (CSV, Parquet). By default the "
            "embedded data set.",
            callback=utf8_path,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a first experiment file, with a comment on every key.

    Looks at the names in a data folder and tells which data set it holds, in which layout. Writes
    an experiment that is ready to run, and what else could be chosen, as comments.
    """
    from wsol_bench.common.files import write_atomically

    if file.exists() and not force:
        given = [] if data is None else ["--data", str(data)]
        again = shlex.join(["wsol-bench", "init", str(file), "--force", *given])
        raise ConfigError(f"{file} exists; name another file, or replace it with --force: {again}")
    if not file.parent.is_dir():
        raise ConfigError(f"{file}: the folder {file.parent} does not exist; make it first")
    if data is not None:
        step(f"looking at {data}")  # before loaders are imported
    command = ["wsol-bench", "init", str(file), *(["--force"] if force else []), "--data"]
    recognized = {} if data is None else _recognized(data, command)
    text = "".join(f"{line}\n" for line in _lines(file, data, recognized))
    _require_valid(text, file, recognized)
    write_atomically(file, text.encode())
    for name, look in list(recognized.items())[:1]:
        print_message(f"{data} is read as {name}: {'; '.join(look.seen)}")
        for option in look.unsure.keys() & look.options.keys():
            print_notice(f"Look up {option}: {look.options[option]} is a guess, no file tells it.")
    print_message(f"Written: {file}")
    quoted = shlex.quote(str(file))
    print_message(f"Check it and its data:  wsol-bench doctor {quoted}")
    print_message(f"Try it on 50 images:    wsol-bench run {quoted} --limit 50")
    print_message(f"Run it:                 wsol-bench run {quoted}")


def _recognized(data: Path, command: Sequence[str]) -> "dict[str, Recognition]":
    """Ask the loaders what they see in a folder that they can read; the best one comes first.

    Args:
        data: the folder, or a table of boxes.
        command: the words of the command line before the folder.

    Raises:
        DatasetError: no loader can; the message ends with the commands for folders below that a
            loader can read, or else with the layout that comes nearest.
    """
    from wsol_bench.common.files import existing

    root = existing(data, "--data")
    seen = _looks(root)
    if fitting := {name: look for name, look in seen.items() if look.fits}:
        return fitting
    unknown = f"--data {data}: no data set is recognized in it. It {_shown(root)}."
    for where, found in (
        ("Folders in it are", _recognized_below(root)),
        ("The folder that it lies in is", _recognized_above(root)),
    ):
        if found:
            lines = [f"  {name}: {shlex.join([*command, str(at)])}" for at, name in found.items()]
            raise DatasetError(f"{unknown}\n{where} recognized:\n{chr(10).join(lines)}")
    raise DatasetError(
        f"{unknown}\nExpected one of:\n"
        + "\n".join(f"  {name}: {'; '.join(look.needs)}" for name, look in sorted(seen.items()))
        + "\ndocs/datasets.md describes the layouts. For files of your own, write a CSV file with "
        f"the columns image, label, x0, y0, x1, y1 (the data set 'table').{_nearest(seen)}"
    )


def _shown(root: Path) -> str:
    """The end of a sentence that says what a folder holds, or the first line of a file."""
    from wsol_bench.common.files import contents
    from wsol_bench.datasets.recognition import first_line

    if root.is_dir():
        return f"holds {contents(root)}"
    if _is_image(root):
        return "is an image; name the folder of the images and their boxes"
    return f"begins with {printable(first_line(root)[:80])!r}"


def _looks(root: Path) -> "dict[str, Recognition]":
    """Ask each loader, by name, what it sees in a folder; the one that fits best comes first."""
    from wsol_bench.datasets import datasets
    from wsol_bench.datasets.recognition import Recognition

    looks = {}
    for name in datasets:
        try:
            recognize = datasets.get(name).recognize
        except ConfigError:  # another distribution's module may not be importable
            continue
        if recognize is None:
            continue
        try:
            looks[name] = recognize(root)
        except (OSError, DatasetError) as error:
            if root.is_file():  # of the loaders that read a file only, another one may fit
                continue
            looks[name] = Recognition({f"a folder that can be read ({error})": False}, {})
    return dict(sorted(looks.items(), key=lambda item: -item[1].n_found))


def _recognized_below(root: Path) -> dict[Path, str]:
    """The folders in a folder that a loader can read, each with the loader that fits best."""
    from wsol_bench.common import data_files

    names = sorted(data_files.names_in(root)) if data_files.is_dir(root) else []
    folders = [path for path in (root / name for name in names) if data_files.is_dir(path)]
    found = {}
    for folder in folders[:_MOST_FOLDERS]:
        if names := [name for name, look in _looks(folder).items() if look.fits]:
            found[folder] = names[0]
    return found


def _recognized_above(root: Path) -> dict[Path, str]:
    """The folder around, with the loader that fits best, if that one reads the file or folder."""
    fitting = [(name, look) for name, look in _looks(root.parent).items() if look.fits]
    for name, look in fitting[:1]:
        if _is_image(root) or str(root) in look.options.values():
            return {root.parent: name}
    return {}


def _is_image(path: Path) -> bool:
    """Return whether a path has the extension of an image and is a file."""
    from wsol_bench.common.image_files import IMAGE_SUFFIXES

    return path.is_file() and path.suffix.lower().removeprefix(".") in IMAGE_SUFFIXES


def _nearest(looks: "Mapping[str, Recognition]") -> str:
    """A line about the layout that comes nearest; "" if nothing of any is there."""
    name, look = max(
        looks.items(), key=lambda item: sum(item[1].needs.values()) / len(item[1].needs)
    )
    there = [need for need, met in look.needs.items() if met]
    if not there:
        return ""
    lacking = [need for need, met in look.needs.items() if not met]
    return f"\nNearest is {name}. There: {'; '.join(there)}. Missing: {'; '.join(lacking)}"


def _require_valid(text: str, file: Path, recognized: "Mapping[str, Recognition]") -> None:
    """Raise ConfigError unless the text reads back as the experiment that was meant."""
    from wsol_bench.common.yaml_files import parse_yaml
    from wsol_bench.runs.experiment_config import load_config

    experiment = load_config(parse_yaml(text, str(file)))
    for look in list(recognized.values())[:1]:
        for option, value in look.options.items():
            if experiment.dataset.options[option] != value:
                raise ConfigError(
                    f"the path {value} cannot stand in an experiment, since ${{...}} in it is "
                    "taken for an environment variable; rename the folder, or link to it"
                )


def _lines(file: Path, data: Path | None, recognized: "Mapping[str, Recognition]") -> Iterator[str]:
    """The lines of the experiment file."""
    name = re.sub(r"[^\w.-]+", "-", file.stem).strip("-.") or "my"
    yield "# An experiment of wsol_bench. docs/experiments.md describes all keys."
    for command, what in (("doctor", "checks it and its data"), ("run", "runs it")):
        yield f"#   wsol-bench {command:6} {printable(shlex.quote(str(file)))}    {what}"
    yield ""
    yield "# Name of the experiment; runs are kept in the folder results/<name>."
    yield f"name: {yaml_text(name)}"
    yield ""
    yield from _dataset_lines(data, recognized)
    best = next(iter(recognized.values()), None)
    yield ""
    yield from _model_lines(best)
    yield ""
    yield from _protocol_lines(best)
    yield ""
    yield from _OTHER_KEYS


def _dataset_lines(data: Path | None, recognized: "Mapping[str, Recognition]") -> Iterator[str]:
    """The key dataset, with what was seen, and other loaders that fit as comments."""
    yield "# The images, and the boxes or masks of their objects (docs/datasets.md)."
    if data is None:
        yield "# This is the embedded data set: 300 drawn images of 16 classes. For your data:"
        yield "# wsol-bench init FILE --data FOLDER"
        yield "dataset: shapes"
        return
    (name, look), *others = recognized.items()
    yield f"# Seen in {printable(str(data))}:"
    yield from (f"#   {printable(line)}" for line in look.seen)
    yield "dataset:"
    yield f"  name: {yaml_text(name)}"
    for option, value in look.options.items():
        yield f"  {option}: {_yaml_value(value)}"
    for option, unsure in look.unsure.items():
        yield f"  # {option}: {printable(unsure)}"
    if others:
        yield "# It can be read as another data set, too:"
    for name, look in others:
        options = [f"{option}: {_yaml_value(value)}" for option, value in look.options.items()]
        yield f"# dataset: {{{', '.join([f'name: {yaml_text(name)}', *options])}}}"


def _yaml_value(value: str | Mapping[str, str]) -> str:
    """The value of an option in YAML, on one line."""
    if isinstance(value, str):
        return yaml_text(value)
    pairs = (f"{yaml_text(key)}: {yaml_text(text)}" for key, text in value.items())
    return f"{{{', '.join(pairs)}}}"


def _model_lines(look: "Recognition | None") -> Iterator[str]:
    """The keys models and methods."""
    yield from _comment(
        "Classifiers: a name of torchvision, timm/<name>, hf/<folder or id>, or my_module:builder. "
        "A model without weights: has its published ones, which are downloaded once."
    )
    if look is None:
        yield "models: [shapes_net]    # the small network that comes with the package"
    elif look.images and look.wnids:
        yield "models:"
        yield "  - resnet50"
        yield "  # - vgg16"
        yield "  # - {name: resnet50, weights: /path/to/weights.pth, label: mine}"
    else:
        reason = (
            "No published classifier has the classes of this data set. Give your own, with its "
            "weights and the number of its outputs; until then only baselines without a network "
            "are measured."
            if look.images
            else "There are no image files here, so no network can run; baselines, and files of "
            "maps or boxes, can be scored."
        )
        yield from _comment(reason)
        yield "models: []"
        yield "# models:"
        yield "#   - {name: resnet50, weights: mine.pth, arguments: {num_classes: 2}}"
        yield "#   - {name: my_module:builder, weights: mine.pth, layer: features.8}"
    yield ""
    yield from _comment(
        "Map methods, by name (wsol-bench list methods); they share one pass of each model."
    )
    yield "methods:"
    mark = "" if look is None or (look.images and look.wnids) else "# "
    yield f"  {mark}- cam            # weights of the last layer (Zhou et al., 2016)"
    yield f"  {mark}- grad_cam       # gradients as weights (Selvaraju et al., 2017)"
    yield f"  {mark}- layer_cam      # gradients at each position (Jiang et al., 2021)"
    yield "  # - score_cam    # no gradients, but hundreds of passes an image: slow"
    yield "  # - my_module:my_cam   # a function of your own (docs/cookbook.md)"
    if look is not None and look.masks:
        yield "  - center_gaussian  # baseline without a network: a bell in the middle"
    else:
        yield "  - center_box     # baseline without a network: a box in the middle"


def _protocol_lines(look: "Recognition | None") -> Iterator[str]:
    """The key protocol, with the other protocols as comments."""
    from wsol_bench.protocols.load import SUMMARIES

    masks = look is not None and look.masks
    yield from _comment(
        "The protocol names every choice between image and number, such as input size, threshold "
        "and IoU (wsol-bench list protocols)."
    )
    names = ["choe-2020-pxap"] if masks else ["gradcam-2017", "zhou-2016", "choe-2020-v2"]
    for position, name in enumerate(names):
        line = f"{'# ' if position else ''}protocol: {name}"
        yield f"{line:24} # {SUMMARIES[name]}"
    if not masks:
        yield "# protocol: {name: gradcam-2017, box: {threshold: 0.2}} # with a change"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 80, initial_indent="# ", subsequent_indent="# ")


_OTHER_KEYS = """\
# More keys, with their defaults or an example. Take the "# " away to use one.
# limit: 500             # evaluate the first 500 images only; default: all
# metrics: [mean_iou]    # further numbers (wsol-bench list metrics)
# maps: all              # maps that are kept; or label (those of labels), none
# batch_size: auto       # images in one forward pass; or a number, such as 16
# part_size: 128         # images between two savings; so many can be lost
# workers: auto          # processes that decode images; or a number
# device: auto           # the first GPU, else the CPU; or cpu, cuda, cuda:1
# precision: fp32        # or bf16, fp16: faster on a GPU; the results name it
# max_failed: 0.05       # the share of images that may be unreadable""".splitlines()
