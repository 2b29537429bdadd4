"""Catalogs of plug-ins: names, papers and options, read from source code without importing it."""

import ast
import importlib
import pkgutil
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from wsol_bench.common.option_texts import Option, Scope, options_of
from wsol_bench.common.plugin_options import require_options
from wsol_bench.errors import ConfigError, did_you_mean

__all__ = [
    "DATASETS",
    "METHODS",
    "METRICS",
    "NETWORK_FREE",
    "Catalog",
    "Description",
    "require_method_or_metric",
    "require_no_file",
]

# An error about an unknown name says of as many names what they are.
_FEW = 20


class Description(NamedTuple):
    """The description of a plug-in, as ``wsol-bench list`` prints it.

    Attributes:
        summary: first line of the function's docstring.
        paper: paper that defines the plug-in; "" if its decorator names no paper.
        arguments: constants that the decorator is called with, by parameter.
        options: the options.
        cost: what the docstring says behind "Cost:"; "" if it says nothing.
    """

    summary: str
    paper: str
    arguments: Mapping[str, Any]
    options: list[Option]
    cost: str = ""


class _BuiltIn(NamedTuple):
    """A decorated function in the source code, and the name and syntax tree of its module."""

    module: str
    tree: ast.Module
    function: ast.FunctionDef
    decorator: ast.Call


class Catalog:
    """The names of all plug-ins of one kind, known without importing any of them.

    A built-in plug-in is one function with one decorator in a module of ``package``, and is listed
    nowhere else: names, papers and options are read from the source code. Importing the methods
    imports torch, which takes seconds; listing names or checking the names in a configuration does
    not.

    Args:
        kind: name of the kind in messages ("map method").
        package: package whose modules hold the built-in plug-ins.
        group: entry point group by which other distributions offer plug-ins.
        decorator: name of the decorator that registers a function. The registry's variable is named
            by its plural (``metrics``), by which ``families`` finds calls of ``metrics.family``.
    """

    def __init__(self, kind: str, *, package: str, group: str, decorator: str) -> None:
        self.kind = kind
        self.package = package
        self.group = group
        self.decorator = decorator
        self.registered: set[str] = set()  # names that running code registers, as in a notebook

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._built_in, *self.registered, *self.entry_points()}))

    @property
    def built_in(self) -> list[str]:
        """The names of the built-in plug-ins."""
        return sorted(self._built_in)

    def __contains__(self, name: object) -> bool:
        """Return whether ``name`` is listed or belongs to a family."""
        if not isinstance(name, str):
            return False
        if name in self._built_in or name in self.registered:
            return True
        prefix, _, rest = name.partition("/")  # an entry point or a member of a family
        return bool(rest) and (prefix in self.families or name in self.entry_points())

    def require(self, name: str, *, also: "Catalog | None" = None) -> None:
        """Raise ConfigError if no plug-in can have the name; an import path is accepted unread.

        Args:
            name: name in a configuration.
            also: catalog of other plug-ins that the configuration may name here, for the message.
        """
        require_no_file(name, self.kind)
        if name not in self and ":" not in name:
            if self is DATASETS and Path(name).exists():
                command = shlex.join(["wsol-bench", "init", "my.yaml", "--data", name])
                raise ConfigError(
                    f"unknown data set {name!r}, but it is a path; an experiment that reads what "
                    f"is there is written by: {command}"
                )
            catalogs = (self, *([also] if also else []))
            names = [listed for catalog in catalogs for listed in catalog]
            names += [f"{prefix}/..." for catalog in catalogs for prefix in catalog.families]
            few = len(names) <= _FEW
            suggestion = did_you_mean(name, names, listed_by="" if few else self.listed_by)
            if few:
                lines = [f"  {known}{self._what(known)}" for known in sorted(names)]
                suggestion = "\n".join([f"{suggestion.partition('known: ')[0]}known:", *lines])
            raise ConfigError(f"unknown {self.kind} {name!r}; {suggestion}")

    def _what(self, name: str) -> str:
        """The summary of a built-in plug-in behind a colon; "" for another."""
        described = self.describe(name)
        return f": {described.summary}" if described else ""

    @property
    def listed_by(self) -> str:
        """The command that lists the names."""
        return f"wsol-bench list {self.package.rpartition('.')[2]}"

    def require_options(self, name: str, options: Iterable[str], where: str) -> None:
        """Raise ConfigError if a built-in plug-in lacks one of the named options.

        Args:
            name: name of the plug-in; one that is not built in is not read.
            options: names of options.
            where: place of the options in the message.
        """
        if (described := self.describe(name)) is not None:
            known = [option.name for option in described.options]
            require_options(options, known, where)

    def taken_by(self, name: str) -> str | None:
        """The module of the built-in plug-in called ``name``, if it is not imported yet."""
        built_in = self._built_in.get(name)
        return None if built_in is None or built_in.module in sys.modules else built_in.module

    def find(self, name: str) -> Any:
        """The built-in plug-in called ``name``, or None; imports the plug-in's module."""
        built_in = self._built_in.get(name)
        if built_in is None:
            return None
        return getattr(importlib.import_module(built_in.module), built_in.function.name)

    def describe(self, name: str) -> Description | None:
        """The description of a built-in plug-in; None if ``name`` is not built in."""
        built_in = self._built_in.get(name)
        if built_in is None:
            return None
        arguments = {
            keyword.arg: keyword.value.value
            for keyword in built_in.decorator.keywords
            if keyword.arg and isinstance(keyword.value, ast.Constant)
        }
        docstring = (ast.get_docstring(built_in.function) or "").strip()
        summary, paper = docstring.partition("\n")[0], str(arguments.get("paper", ""))
        cost = re.search(r"^Cost: (.*?)(?:\n\n|\Z)", docstring, re.DOTALL | re.MULTILINE)
        words = " ".join(cost[1].replace("``", "").split()) if cost else ""
        options = options_of(built_in.function, Scope(built_in.tree))
        return Description(summary, paper, arguments, options, words)

    def entry_points(self) -> dict[str, EntryPoint]:
        """The entry points of installed distributions, by ``distribution/name``."""
        return {
            f"{point.dist.name if point.dist else '?'}/{point.name}": point
            for point in entry_points(group=self.group)
        }

    @cached_property
    def families(self) -> dict[str, str]:
        """The names of the modules that make the plug-ins called ``prefix/rest``, by prefix."""
        modules = {}
        for module, tree in self._trees:
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr == "family"
                    and ast.unparse(node.func.value) == f"{self.decorator}s"
                    and isinstance(node.args[0], ast.Constant)
                ):
                    modules[str(node.args[0].value)] = module
        return modules

    @cached_property
    def _built_in(self) -> dict[str, _BuiltIn]:
        built_in: dict[str, _BuiltIn] = {}
        for module, tree in self._trees:
            for node in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
                for call in node.decorator_list:
                    if (
                        isinstance(call, ast.Call)
                        and isinstance(call.func, ast.Name)
                        and call.func.id == self.decorator
                        and isinstance(call.args[0], ast.Constant)
                    ):
                        name = str(call.args[0].value)
                        if name in built_in:
                            raise ConfigError(f"{self.kind} {name!r} is registered twice")
                        built_in[name] = _BuiltIn(module, tree, node, call)
        return built_in

    @cached_property
    def _trees(self) -> list[tuple[str, ast.Module]]:
        """The name and syntax tree of every module of the package."""
        spec = find_spec(self.package)  # imports the package's parents, not the package
        folders = list(spec.submodule_search_locations or []) if spec else []
        return [
            (module.name, ast.parse(_source_of(module).read_text(encoding="utf-8")))
            for module in _modules(folders, f"{self.package}.")
            if not module.name.endswith("__main__")
        ]


def _modules(folders: Iterable[str], prefix: str) -> Iterator[pkgutil.ModuleInfo]:
    """All modules in folders, as ``pkgutil.walk_packages`` but without importing packages."""
    for module in pkgutil.iter_modules(folders, prefix):
        yield module
        if module.ispkg:
            yield from _modules([str(_source_of(module).parent)], f"{module.name}.")


def _source_of(module: pkgutil.ModuleInfo) -> Path:
    finder: Any = module.module_finder
    name = module.name.rpartition(".")[2]
    inside = f"{name}/__init__.py" if module.ispkg else f"{name}.py"
    return Path(finder.path, inside)


METHODS = Catalog(
    "map method", package="wsol_bench.methods", group="wsol_bench.cams", decorator="cam_method"
)
NETWORK_FREE = Catalog(
    "map method",
    package="wsol_bench.methods",
    group="wsol_bench.sources",
    decorator="network_free_method",
)
METRICS = Catalog(
    "metric", package="wsol_bench.metrics", group="wsol_bench.metrics", decorator="metric"
)
DATASETS = Catalog(
    "data set", package="wsol_bench.datasets", group="wsol_bench.datasets", decorator="dataset"
)


def require_no_file(name: str, kind: str) -> None:
    """Raise ConfigError if the file of a module is named where an import path is expected.

    Args:
        name: name in a configuration.
        kind: what it names, for the message.
    """
    file, _, function = name.partition(":")
    if file.endswith(".py"):
        path = Path(file).with_suffix("")
        module = path.name if path.is_absolute() else ".".join(path.parts)
        raise ConfigError(
            f"{kind} {name!r}: expected FILE:FUNCTION without .py; write "
            f"{module}:{function or path.name}"
        )


def require_method_or_metric(name: str) -> None:
    """Raise ConfigError unless a map method or a metric has the name."""
    require_no_file(name, "map method or metric")
    if any(name in catalog for catalog in (METHODS, NETWORK_FREE, METRICS)):
        return
    families = [f"{prefix}/..." for prefix in METHODS.families]
    suggestion = did_you_mean(name, [*METHODS, *families, *METRICS])
    raise ConfigError(
        f"unknown map method or metric {name!r}; {suggestion}; {METHODS.listed_by!r} and "
        f"{METRICS.listed_by!r} list all"
    )
