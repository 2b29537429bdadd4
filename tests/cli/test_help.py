"""The help of every command: whole within 80 columns, in sentences, with an example that parses."""

import inspect
import re
import shlex
from pathlib import Path

import pytest
import typer
from command_line import cli

from wsol_bench.cli.program import app

PROGRAM = typer.main.get_command(app)
COMMANDS = sorted(PROGRAM.commands)
REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(REPOSITORY))
    for path in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"))
)


def parse(line):
    """Parse a command line without running it; raise what the parser raises."""
    program, name, *arguments = shlex.split(line)
    assert program == "wsol-bench"
    # The group's own option comes before a command's name.
    if name in ("--help", "--version"):
        return
    assert name in PROGRAM.commands, f"no command {name!r}"
    PROGRAM.commands[name].make_context(name, arguments)


def test_the_parser_of_these_tests_refuses_an_option_that_is_not_there():
    with pytest.raises(Exception, match="No such option"):
        parse("wsol-bench run my.yaml --epochs 3")
    with pytest.raises(Exception, match="Missing parameter"):
        parse("wsol-bench run")


@pytest.mark.parametrize("columns", [80, 100, 200])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_whole_within_80_columns(name, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    out, err = cli(*filter(None, [name]), "--help")
    assert err == ""
    usage, _, rest = out.partition("\n\n")
    assert usage.startswith("Usage: ")
    for line in out.splitlines():
        assert len(line) <= 80, line
    for line in rest.splitlines():
        assert not line.endswith(("...", "…")), line


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_no_notation_of_pythons_types(name):
    usage, _, rest = cli(name, "--help")[0].partition("\n\n")
    assert not re.search(r"[{}<>]", usage)
    assert not re.search(r"list\[|<path>|\bx[<>]=", rest)


def test_arguments_and_ranges_are_named_plainly():
    assert "wsol-bench analyze [OPTIONS] RUN...\n" in cli("analyze", "--help")[0]
    assert "wsol-bench list [OPTIONS] KIND [WORD...]\n" in cli("list", "--help")[0]
    assert "wsol-bench init [OPTIONS] [FILE]\n" in cli("init", "--help")[0]
    words = " ".join(cli("figures", "--help")[0].split())
    assert "as many as fit a page. [1 to 200]" in words
    assert "--format png|pdf" in words
    assert "By default the experiment's" not in cli("explain", "--help")[0]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_ends_with_examples_that_parse(name):
    out, _ = cli(*filter(None, [name]), "--help")
    _, title, examples = re.split(r"\n  (Examples?):\n", out)
    lines = examples.strip("\n").split("\n")
    assert title == ("Example" if len(lines) == 1 else "Examples")
    for line in lines:
        parse(line.partition(" > ")[0])
        assert f"wsol-bench {name}" in line


def test_the_list_of_commands_has_the_whole_first_sentence_of_each():
    out, _ = cli("--help")
    width = max(map(len, COMMANDS))
    for name in COMMANDS:
        sentence = inspect.getdoc(PROGRAM.commands[name].callback).partition("\n")[0]
        assert sentence.endswith("."), name
        assert f"  {name:{width}}  {sentence}\n" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_more_than_the_list_of_commands(name):
    _, *paragraphs = inspect.getdoc(PROGRAM.commands[name].callback).split("\n\n")
    assert paragraphs
    assert all(paragraph.endswith(".") for paragraph in paragraphs)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_by_a_whole_phrase(name):
    for parameter in PROGRAM.commands[name].params:
        assert re.fullmatch(r"[A-Z]\w+ .*\.", parameter.help), parameter.name


def commands_of(page):
    """The command lines in the blocks of a page, without the explanations beside them."""
    for line in (REPOSITORY / page).read_text().splitlines():
        if match := re.match(r"(?:    )?(wsol-bench .*)$", line):
            yield re.split(r"\s{2,}|\s#|\s\\$| > ", match[1])[0]


def mentions_of(page):
    """The commands that the sentences of a page name, with some of their options or none."""
    return re.findall(r"`(wsol-bench [^`]+)`", (REPOSITORY / page).read_text())


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_parse(page):
    for line in commands_of(page):
        parse(line.replace("[RUN ...]", "RUN").replace("[--json]", "--json"))


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_that_a_page_mentions_have_these_options(page):
    for line in mentions_of(page):
        _, name, *arguments = shlex.split(line)
        command = PROGRAM if name[:2] == "--" else PROGRAM.commands[name]
        known = {
            option
            for parameter in command.get_params(typer.Context(command))
            for option in parameter.opts
        }
        assert {argument for argument in [name, *arguments] if argument[:2] == "--"} <= known, line


def test_the_pages_have_commands():
    assert sum(len([*commands_of(page)]) for page in PAGES) > 30
    assert sum(len(mentions_of(page)) for page in PAGES) > 10
