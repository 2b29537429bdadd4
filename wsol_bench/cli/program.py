"""The program ``wsol-bench``: its commands in the order of ``--help``."""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import typer

from wsol_bench import __version__
from wsol_bench.cli.check import check, doctor
from wsol_bench.cli.names import list_names, schema
from wsol_bench.cli.page import report, view
from wsol_bench.cli.pictures import explain, figures
from wsol_bench.cli.process import endings, want_traceback
from wsol_bench.cli.results import analyze, export
from wsol_bench.cli.run import demo, merge, rescore, run
from wsol_bench.cli.score import score, score_maps

__all__ = ["app"]


class Command(NamedTuple):
    """A command of the program.

    Attributes:
        name: the word that is typed.
        function: what is called; its docstring is the command's help.
        example: a command line that help shows, of at most 76 characters.
    """

    name: str
    function: Callable[..., None]
    example: str


COMMANDS = (
    Command("demo", demo, "wsol-bench demo --limit 50"),
    Command("run", run, "wsol-bench run my.yaml --out runs/first --set batch_size=32"),
    Command("rescore", rescore, "wsol-bench rescore runs/first --protocol zhou-2016"),
    Command("merge", merge, "wsol-bench merge runs/shard.1 runs/shard.2 --out runs/whole"),
    Command("score", score, "wsol-bench score predictions.txt --root /data/imagenet"),
    Command(
        "score-maps",
        score_maps,
        "wsol-bench score-maps maps --root /data/imagenet --protocol choe-2020-v2",
    ),
    Command("analyze", analyze, "wsol-bench analyze runs/first runs/second"),
    Command("report", report, "wsol-bench report runs/first --open"),
    Command("view", view, "wsol-bench view runs/first runs/second --open"),
    Command("figures", figures, "wsol-bench figures runs/first --choose worst --n 8"),
    Command("explain", explain, "wsol-bench explain photo.jpg --methods grad_cam,layer_cam"),
    Command("export", export, "wsol-bench export runs/first --format kaggle"),
    Command("list", list_names, "wsol-bench list methods"),
    Command("schema", schema, "wsol-bench schema > experiment.schema.json"),
    Command("doctor", doctor, "wsol-bench doctor my.yaml"),
    Command("check", check, "wsol-bench check my_module:my_cam --option power=2"),
)


def _example(line: str) -> str:
    """The last lines of a command's help; the backspace keeps their line breaks."""
    return f"\b\nExample:\n  {line}"


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(__version__)
        raise typer.Exit
    return wanted


app = typer.Typer(
    name="wsol-bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in COMMANDS:
    # Here and not around the program alone, since typer ends the process by rules of its own.
    app.command(command.name, epilog=_example(command.example))(endings()(command.function))


@app.callback(epilog=_example("wsol-bench demo"))
def program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", callback=want_traceback, help="Print the traceback of an error, too."
        ),
    ] = False,
) -> None:
    """Measure how well classifiers and map methods localize objects.

    An experiment names a data set, classifiers, map methods and a protocol. A run of it makes a
    localization map for every image and class, takes boxes from the maps, scores them as the
    protocol says, and keeps maps, boxes and scores in a folder.
    """
