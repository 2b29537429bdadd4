"""Commands that draw: figures, explain.

A command has a parameter for each of its options, which may be more than eight.

``figures`` is longer than other functions because the help of its options stands in its signature.
``explain`` is longer than other functions because the help of its options does, too.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsol_bench.cli.completion import (
    map_methods,
    methods_of_runs,
    model_names,
    models_of_runs,
    protocol_names,
)
from wsol_bench.cli.process import print_message, print_notice
from wsol_bench.cli.shared_options import AnyDevice, reading, utf8_path
from wsol_bench.common.files import require_writable_folder
from wsol_bench.common.progress import step
from wsol_bench.common.vocabulary import Choose, FigureFormat
from wsol_bench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wsol_bench.report.figures.choice import Choice
    from wsol_bench.runs.stored_run import StoredRun

__all__ = ["draw_and_say", "explain", "figures"]


def figures(
    run_folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Folders of finished runs.", show_default=False),
    ],
    choose: Annotated[
        Choose | None,
        typer.Option(
            metavar="RULE",
            help="Which images: random, best or worst (with the highest or lowest mean IoU), or "
            "differ (which the first of --methods hits and the second one misses). By default "
            "random.",
        ),
    ] = None,
    ids: Annotated[
        str | None, typer.Option(metavar="A,B", help="Ids of the images, instead of a rule.")
    ] = None,
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="Only images of a class: its name or a word."),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Names of methods, in order. By default as many as fit.",
            autocompletion=methods_of_runs,
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Names of models. By default all.", autocompletion=models_of_runs
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            metavar="N",
            min=1,
            max=200,
            help="Largest number of images. By default as many as fit a page.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Seed of the choice of images, and of intervals."),
    ] = 0,
    file_format: Annotated[
        FigureFormat | None,
        typer.Option("--format", help="Format of the files. By default both."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the files. By default RUN/figures of a single run.",
            callback=utf8_path,
        ),
    ] = None,
) -> None:
    """Draw figures of runs: images with maps, curves, bars.

    Reads the stored results of finished runs, and their image files. Writes a sheet with a row for
    each image and a column for each method, curves over thresholds or IoUs, and numbers with their
    95% intervals, fit for a paper. What was chosen, and what the marks mean, stands below each.
    """
    if out is None and len(run_folders) > 1:
        raise ConfigError(
            f"--out: expected the folder for figures of {len(run_folders)} runs, found none; add "
            "--out figures"
        )
    if ids is not None and (choose is not None or class_name is not None):
        given = "--choose" if choose is not None else "--class"
        raise ConfigError(
            f"--ids names the images, so {given} has no effect; leave one of them out"
        )
    reading(*run_folders)
    from wsol_bench.report.figures.choice import Choice
    from wsol_bench.runs.stored_run import StoredRun

    choice = Choice(
        choose=choose or "random",
        ids=_names(ids),
        class_name=class_name,
        methods=_names(methods),
        models=_names(models),
        n=n,
        seed=seed,
    )
    runs = [StoredRun(path) for path in run_folders]
    draw_and_say(runs, out or run_folders[0] / "figures", choice, file_format)


def draw_and_say(
    runs: "list[StoredRun]",
    folder: Path,
    choice: "Choice | None" = None,
    file_format: FigureFormat | None = None,
) -> None:
    """Draw the figures of runs, and say which files they are and what they lack."""
    from wsol_bench.report.figures.files import write_figures
    from wsol_bench.report.figures.style import FORMATS

    formats = [file_format] if file_format else FORMATS
    require_writable_folder(folder)
    written = write_figures(runs, folder, choice, formats=formats)
    for remark in written.remarks:
        print_notice(remark)
    if written.without_picture:
        print_notice(
            f"{len(written.without_picture)} of {written.n_images} images have no picture; the "
            f"first: {written.without_picture[0]}"
        )
    for file in written.files:
        print_message(f"Figure: {file}")


def _names(text: str | None) -> list[str] | None:
    """The names in a list with commas; None if there is no list."""
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]


def _require_known(
    model: str, methods: "Sequence[str]", protocol: str, weights: str | None
) -> None:
    """Raise an error at once, before torch is loaded, if a name or a weights file is unknown."""
    from wsol_bench.calls import in_words_of_options
    from wsol_bench.common.catalog import METHODS, NETWORK_FREE
    from wsol_bench.models.names import require_model_name, require_weights_file, weights_file
    from wsol_bench.protocols.load import load_protocol

    require_model_name(model)
    for name in methods:
        METHODS.require(name, also=NETWORK_FREE)
    load_protocol(protocol)
    if weights is not None and (file := weights_file(weights)):
        with in_words_of_options():
            require_weights_file(file)


def explain(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE", help="Image files.", show_default=False),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Name of the network in torchvision (wsol-bench list models), timm/NAME, "
            "hf/FOLDER, or my_module:builder.",
            autocompletion=model_names,
        ),
    ] = "resnet50",
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Map methods (wsol-bench list methods).",
            autocompletion=map_methods,
        ),
    ] = "grad_cam",
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Weights file, or a name of published weights. By default the published ones.",
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Names of the outputs in order, one a line, such as LOC_synset_mapping.txt; or "
            "imagenet for its 1000 classes. By default those that are published with the weights, "
            "else numbers.",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Layer whose activations the maps are made from, such as layer3. By default the "
            "last one before the network's head.",
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Name or file of the protocol whose rule takes the boxes, one of each map.",
            autocompletion=protocol_names,
        ),
    ] = "gradcam-2017",
    device: AnyDevice = "auto",
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the pictures.", callback=utf8_path)
    ] = Path("explained"),
) -> None:
    """Draw maps and boxes of your own photographs.

    Needs no data set. Reads image files, and turns them as their EXIF orientation says. Writes one
    PNG for each: a row for each method, a column for each of the five best classes, with boxes as a
    run by the protocol would take them.
    """
    _require_known(model, _names(methods) or [], protocol, weights)
    pictures, problems = _pictures(images, out)
    step(f"loading the network {model}")
    from wsol_bench.calls import in_options, in_words_of_options
    from wsol_bench.common.progress import progress
    from wsol_bench.errors import ImageError, ModelError
    from wsol_bench.photographs import Explainer
    from wsol_bench.report.figures.style import save

    explainer = Explainer(
        model,
        _names(methods) or [],
        weights=weights,
        classes=classes,
        layer=layer,
        protocol=protocol,
        device=device,
    )
    if explainer.hint:
        print_message(explainer.hint)
    files: list[tuple[Path, Path]] = []
    told: set[tuple[str, str]] = set()
    with progress("explaining", len(pictures), "photographs") as advance:
        for path, picture in pictures.items():
            try:
                with in_words_of_options():
                    explained = explainer.of(path)
            except (ImageError, ModelError) as error:
                if len(pictures) == 1 and not problems:
                    raise
                print_notice(str(error))
                problems.append(str(error))
            else:
                told |= (reasons := set(explained.not_applicable.items()) - told)
                for method, reason in sorted(reasons):
                    print_notice(f"{method}: {in_options(reason)}")
                [file] = save(explained.figure(), picture.with_suffix(""), ["png"])
                files.append((path, file))
            advance(1)
    stems = [path.stem for path in pictures]
    for path, file in files:
        of = f" (of {path})" if stems.count(path.stem) > 1 else ""
        print_message(f"Figure: {file}{of}")
    if problems:
        n = len(problems)
        raise ImageError(
            f"{n} of {len(set(images))} photographs {'has' if n == 1 else 'have'} no picture, as "
            "told above"
        )


def _pictures(images: "Sequence[Path]", out: Path) -> tuple[dict[Path, Path], list[str]]:
    """The picture that is written of each photograph, and why others have none.

    Raises:
        ImageError: no photograph can be read.
        ConfigError: a picture would replace a photograph.
        RunError: the folder cannot be made.
    """
    from wsol_bench.common.image_files import problem_of
    from wsol_bench.errors import ImageError

    distinct = list(dict.fromkeys(images))
    found = {path: problem_of(path) for path in distinct}
    problems = [problem for problem in found.values() if problem]
    readable = [path for path in distinct if not found[path]]
    if not readable:
        raise ImageError(_joined(problems, len(distinct)))
    for problem in problems:
        print_notice(problem)
    require_writable_folder(out)
    pictures = {
        path: out / name for path, name in zip(readable, _file_names(readable), strict=True)
    }
    photographs = {path.resolve() for path in distinct}
    for picture in pictures.values():
        if picture.resolve() in photographs:
            raise ConfigError(
                f"{picture} is a photograph, which the picture of another one would replace; name "
                "another folder with --out"
            )
    if replaced := [picture for picture in pictures.values() if picture.exists()]:
        more = f" and {len(replaced) - 3} more" if len(replaced) > 3 else ""
        print_notice(
            f"replacing {', '.join(map(str, replaced[:3]))}{more}; --out FOLDER writes elsewhere"
        )
    return pictures, problems


def _joined(problems: "Sequence[str]", n_images: int) -> str:
    """The reasons why photographs have no picture."""
    shown = "\n".join(problems[:10])
    more = f"\n... and {len(problems) - 10} more" if len(problems) > 10 else ""
    if n_images == 1:
        return f"{shown}{more}"
    return f"{len(problems)} of {n_images} photographs have no picture:\n{shown}{more}"


def _file_names(photographs: "Sequence[Path]") -> "Iterator[str]":
    """The name of the figure of each photograph; no two are equal."""
    seen: Counter[str] = Counter()
    for path in photographs:
        seen[path.stem] += 1
        number = "" if seen[path.stem] == 1 else f"-{seen[path.stem]}"
        yield f"{path.stem}_maps{number}.png"
