"""The program ``wsol-bench``: its commands in the order of ``--help``."""

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import typer

from wsol_bench import __version__
from wsol_bench.cli.check import check, doctor
from wsol_bench.cli.convert import convert
from wsol_bench.cli.init import init
from wsol_bench.cli.names import list_names, schema
from wsol_bench.cli.page import report, view
from wsol_bench.cli.pictures import explain, figures
from wsol_bench.cli.process import endings
from wsol_bench.cli.reproduce import reproduce, sensitivity
from wsol_bench.cli.results import analyze, compare, export
from wsol_bench.cli.run import demo, merge, rescore, run
from wsol_bench.cli.score import score, score_maps
from wsol_bench.cli.shared_options import Quiet, Verbose
from wsol_bench.cli.tables import leaderboard, table
from wsol_bench.common.progress import Verbosity, set_verbosity
from wsol_bench.errors import ConfigError, did_you_mean, shown

__all__ = ["app"]


class Command(NamedTuple):
    """A command of the program.

    Attributes:
        name: the word that is typed.
        function: what is called; its docstring is the command's help.
        examples: the command lines that help shows, of at most 76 characters each.
    """

    name: str
    function: Callable[..., None]
    examples: Sequence[str]


COMMANDS = (
    Command("demo", demo, ["wsol-bench demo", "wsol-bench demo --limit 50 --out runs/demo"]),
    Command("init", init, ["wsol-bench init", "wsol-bench init my.yaml --data /data/imagenet"]),
    Command(
        "run",
        run,
        [
            "wsol-bench run my.yaml --out runs/first",
            "wsol-bench run my.yaml --limit 500 --set batch_size=32 --device cuda",
            "wsol-bench run my.yaml --shard 3/32 --out runs/3",
        ],
    ),
    Command(
        "rescore",
        rescore,
        [
            "wsol-bench rescore runs/first --protocol zhou-2016",
            "wsol-bench rescore runs/first --set protocol.box.threshold=0.2",
        ],
    ),
    Command(
        "reproduce",
        reproduce,
        [
            "wsol-bench reproduce grad_cam_2017",
            "wsol-bench reproduce grad_cam_2017 --data /data/imagenet --limit 500",
            "wsol-bench reproduce choe_2020_cub --data CUB --weights checkpoints --vary",
        ],
    ),
    Command(
        "sensitivity",
        sensitivity,
        ["wsol-bench sensitivity runs/first", "wsol-bench sensitivity runs/first --new-maps"],
    ),
    Command("merge", merge, ["wsol-bench merge runs/shard.1 runs/shard.2 --out runs/whole"]),
    Command(
        "score",
        score,
        [
            "wsol-bench score predictions.txt --root /data/imagenet",
            "wsol-bench score boxes.csv --root /data/imagenet --option subset=ids.txt",
        ],
    ),
    Command(
        "score-maps",
        score_maps,
        ["wsol-bench score-maps maps --root /data/imagenet --protocol choe-2020-v2"],
    ),
    Command(
        "analyze",
        analyze,
        [
            "wsol-bench analyze runs/first",
            "wsol-bench analyze runs/first runs/second --against grad_cam --all",
        ],
    ),
    Command(
        "compare",
        compare,
        [
            "wsol-bench compare runs/before runs/after",
            "wsol-bench compare runs/a runs/b --fail-on-difference --tolerance 1e-6",
        ],
    ),
    Command("report", report, ["wsol-bench report runs/first --open"]),
    Command("view", view, ["wsol-bench view runs/first runs/second --open"]),
    Command(
        "figures",
        figures,
        [
            "wsol-bench figures runs/first --choose worst --n 8",
            "wsol-bench figures runs/first --choose differ --methods grad_cam,layer_cam",
        ],
    ),
    Command(
        "explain",
        explain,
        ["wsol-bench explain photo.jpg --methods grad_cam,layer_cam"],
    ),
    Command(
        "table",
        table,
        [
            "wsol-bench table runs/first --format latex --intervals --out table.tex",
            "wsol-bench table runs/* --format markdown --numbers gt_known_loc_error",
        ],
    ),
    Command(
        "leaderboard",
        leaderboard,
        ["wsol-bench leaderboard results", "wsol-bench leaderboard results --page board.html"],
    ),
    Command(
        "export",
        export,
        [
            "wsol-bench export runs/first --format kaggle",
            "wsol-bench export runs/first --format devkit --devkit /data/ILSVRC/devkit",
        ],
    ),
    Command(
        "convert",
        convert,
        [
            "wsol-bench convert my.yaml --to boxes.parquet",
            "wsol-bench convert voc --root /data/VOC2012 --to instances.json",
        ],
    ),
    Command("list", list_names, ["wsol-bench list methods gradient", "wsol-bench list protocols"]),
    Command("schema", schema, ["wsol-bench schema > experiment.schema.json"]),
    Command("doctor", doctor, ["wsol-bench doctor my.yaml"]),
    Command(
        "check",
        check,
        ["wsol-bench check my_module:my_cam --option power=2", "wsol-bench check mean_iou"],
    ),
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(__version__)
        raise typer.Exit
    return wanted


def _examples(lines: Sequence[str]) -> str:
    """The last lines of a command's help; the backspace keeps their line breaks."""
    return "\n".join(
        ["\b", "Example:" if len(lines) == 1 else "Examples:", *map("  {}".format, lines)]
    )


def _with_verbosity(function: Callable[..., None]) -> Callable[..., None]:
    """A command with the options ``--quiet`` and ``--verbose``, which every command has."""

    @functools.wraps(function)
    def command(*arguments: Any, quiet: bool, verbose: bool, **options: Any) -> None:
        if quiet and verbose:
            raise ConfigError("--quiet and --verbose: expected one of them, found both")
        told = Verbosity.QUIET if quiet else Verbosity.VERBOSE if verbose else Verbosity.NORMAL
        set_verbosity(told)
        function(*arguments, **options)

    shared = {"quiet": Quiet, "verbose": Verbose}
    own = inspect.signature(function)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in shared.items()
    ]
    command.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
    command.__annotations__ = {**function.__annotations__, **shared}
    return command


# How typer writes the range of a number at the end of a help text, and how it reads.
_PLAIN_RANGES = (
    (r"x>=(\d+)\]$", r"at least \1]"),
    (r"(\d+)<=x<=(\d+)\]$", r"\1 to \2]"),
)


class _PlainCommand(typer.core.TyperCommand):
    """A command whose help names arguments and values plainly: ``RUN...``, ``png|pdf``.

    Typer writes ``{RUN}...``, ``RUN <list[Path]>`` and ``<png|pdf>``, which are words of Python.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; its errors say in plain words what was expected."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValueError):
                error.message = _plain_error(error.__cause__) or error.message
            raise
        except Exception as error:
            if hasattr(error, "possibilities") and hasattr(error, "option_name"):
                # Typer compares names with their dashes, by which all short ones are alike.
                known = {name.strip("-"): name for each in self.params for name in each.opts}
                near = difflib.get_close_matches(error.option_name.strip("-"), known, n=1)
                error.possibilities = None
                if near:
                    error.message += f"; did you mean {known[near[0]]}?"  # type: ignore[attr-defined]
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The parts of the usage line behind the command's name."""
        arguments = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        plain = (_plain_name(one) if one.required else f"[{_plain_name(one)}]" for one in arguments)
        return ["[OPTIONS]", *plain]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of arguments and of options."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is None:
                continue
            name, text = record
            for written, plain in _PLAIN_RANGES:
                text = re.sub(written, plain, text)
            if parameter.param_type_name == "argument":
                sections["Arguments"].append((_plain_name(parameter), text))
            else:
                sections["Options"].append((re.sub("<(.+)>", r"\1", name), text))
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _plain_error(error: ValueError) -> str:
    """Say what was expected where pydantic refused a value; "" for an error of another kind."""
    from pydantic import ValidationError

    from wsol_bench.common.validation_errors import plain_words

    if not isinstance(error, ValidationError):
        return ""
    item = error.errors()[0]
    if choices := re.search(" is not one of ('.*')[.]$", item["msg"]):
        words = re.findall("'(.*?)'", choices[1])
        return f"found {shown(item['input'])}; {did_you_mean(str(item['input']), words)}"
    return f"{plain_words(item)}, found {shown(item['input'])}"


def _plain_name(argument: Any) -> str:
    """The name of an argument, with dots if it may be given several times."""
    return f"{argument.metavar or argument.name.upper()}{'' if argument.nargs == 1 else '...'}"


app = typer.Typer(
    name="wsol-bench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    # Here and not around the program alone, since typer ends the process by rules of its own.
    ending = endings()(_with_verbosity(command.function))
    app.command(command.name, cls=_PlainCommand, epilog=_examples(command.examples))(ending)


@app.callback(epilog=_examples(["wsol-bench demo"]))
def program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Measure how well classifiers and map methods localize objects.

    An experiment names a data set, classifiers, map methods and a protocol. A run of it makes a
    localization map for every image and class, takes boxes from the maps, scores them as the
    protocol says, and keeps maps, boxes and scores in a folder.
    """
