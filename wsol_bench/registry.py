"""Named things that a configuration can ask for: one mechanism for all of them."""

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    NamedTuple,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    runtime_checkable,
)

from wsol_bench.errors import ConfigError, did_you_mean

__all__ = [
    "DATASETS",
    "METHODS",
    "METRICS",
    "SOURCES",
    "Catalog",
    "Description",
    "Registry",
    "bind_options",
    "distinct",
    "has_option",
    "import_object",
    "option_lines",
]

T = TypeVar("T")


@runtime_checkable
class _Named(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_Named)


class Description(NamedTuple):
    """What a list says of a thing.

    Attributes:
        about: the first line of its docstring.
        paper: where it is defined; "" where its decorator names none.
        words: other words that its decorator says, by parameter.
        options: one line each: name, type, default.
    """

    about: str
    paper: str
    words: Mapping[str, Any]
    options: list[str]


class _BuiltIn(NamedTuple):
    """A decorated function as its source has it, and the module that it is in."""

    module: str
    function: ast.FunctionDef
    decorator: ast.Call


class Catalog:
    """The names of things of one kind, known without importing any of them.

    A built-in thing is one function with one decorator in a file of ``package``, and stands in no
    second list: names, papers and options are read from the sources. The methods need torch, which
    takes seconds to import; checking a configuration's names and listing them do not.

    Args:
        kind: what a thing is called in messages.
        package: where the built-in ones lie; also the group of the entry points.
        decorator: what registers them.
    """

    def __init__(self, kind: str, *, package: str, decorator: str) -> None:
        self.kind = kind
        self.package = package
        self.decorator = decorator
        self.registered: set[str] = set()  # by code that runs, as in a notebook

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._built_in, *self.registered, *self.entry_points()}))

    @property
    def built_in(self) -> list[str]:
        """The names of what lies in the package."""
        return sorted(self._built_in)

    def __contains__(self, name: object) -> bool:
        """Whether ``name`` is listed, or of a family."""
        if not isinstance(name, str):
            return False
        if name in self._built_in or name in self.registered:
            return True
        prefix, _, rest = name.partition("/")  # as entry points and members of families have it
        return bool(rest) and (prefix in self.families or name in self.entry_points())

    def require(self, name: str, *, also: "Catalog | None" = None) -> None:
        """Raise ConfigError where nothing can bear the name; an import path is not followed.

        Args:
            name: in a configuration.
            also: other things that may stand there, for the message.
        """
        if name not in self and ":" not in name:
            catalogs = (self, *([also] if also else []))
            known = [one for catalog in catalogs for one in catalog]
            known += [f"{prefix}/..." for catalog in catalogs for prefix in catalog.families]
            raise ConfigError(f"unknown {self.kind} {name!r}; {did_you_mean(name, known)}")

    def is_taken(self, name: str) -> bool:
        """Whether ``name`` is of something built in whose module nobody has imported yet."""
        built_in = self._built_in.get(name)
        return built_in is not None and built_in.module not in sys.modules

    def find(self, name: str) -> Any:
        """The built-in thing called ``name``, or None; imports the one module that it is in."""
        built_in = self._built_in.get(name)
        if built_in is None:
            return None
        return getattr(importlib.import_module(built_in.module), built_in.function.name)

    def describe(self, name: str) -> Description | None:
        """What the source of a built-in thing says of it; None of anything else."""
        built_in = self._built_in.get(name)
        if built_in is None:
            return None
        function, words = built_in.function, {}
        for keyword in built_in.decorator.keywords:
            if keyword.arg and isinstance(keyword.value, ast.Constant):
                words[keyword.arg] = keyword.value.value
        about = (ast.get_docstring(function) or "").strip().partition("\n")[0]
        return Description(about, str(words.get("paper", "")), words, _options_of(function))

    def entry_points(self) -> dict[str, EntryPoint]:
        """What installed distributions offer, by ``distribution/name``."""
        return {
            f"{point.dist.name if point.dist else '?'}/{point.name}": point
            for point in entry_points(group=self.package)
        }

    @cached_property
    def families(self) -> dict[str, str]:
        """The modules that make the things called ``prefix/rest``, by prefix."""
        found = {}
        for module, tree in self._trees:
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr == "family"
                    and isinstance(node.args[0], ast.Constant)
                ):
                    found[str(node.args[0].value)] = module
        return found

    @cached_property
    def _built_in(self) -> dict[str, _BuiltIn]:
        found: dict[str, _BuiltIn] = {}
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
                        if name in found:
                            raise ConfigError(f"{self.kind} {name!r} is registered twice")
                        found[name] = _BuiltIn(module, node, call)
        return found

    @cached_property
    def _trees(self) -> list[tuple[str, ast.Module]]:
        """The modules of the package by name, parsed."""
        spec = find_spec(self.package)  # which imports what holds the package, not itself
        folders = list(spec.submodule_search_locations or []) if spec else []
        return [
            (module.name, ast.parse(_source_of(module).read_text(encoding="utf-8")))
            for module in _modules(folders, f"{self.package}.")
            if not module.name.endswith("__main__")
        ]


def _modules(folders: Iterable[str], prefix: str) -> Iterator[pkgutil.ModuleInfo]:
    """As ``pkgutil.walk_packages``, which imports every package on its way."""
    for module in pkgutil.iter_modules(folders, prefix):
        yield module
        if module.ispkg:
            yield from _modules([str(_source_of(module).parent)], f"{module.name}.")


def _source_of(module: pkgutil.ModuleInfo) -> Path:
    finder: Any = module.module_finder
    name = module.name.rpartition(".")[2]
    inside = f"{name}/__init__.py" if module.ispkg else f"{name}.py"
    return Path(finder.path, inside)


def _options_of(function: ast.FunctionDef) -> list[str]:
    lines = []
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        kind = argument.annotation
        if isinstance(kind, ast.Subscript) and ast.unparse(kind.value) == "Annotated":
            kind = kind.slice.elts[0] if isinstance(kind.slice, ast.Tuple) else kind.slice
        said = f": {ast.unparse(kind)}" if kind is not None else ""
        lines.append(
            f"  {argument.arg}{said}{'' if default is None else f' = {ast.unparse(default)}'}"
        )
    return lines


METHODS = Catalog("map method", package="wsol_bench.cams", decorator="cam_method")
SOURCES = Catalog("map method", package="wsol_bench.sources", decorator="source")
METRICS = Catalog("metric", package="wsol_bench.metrics", decorator="metric")
DATASETS = Catalog("data set", package="wsol_bench.datasets", decorator="dataset")


class Registry(Generic[T]):
    """Names to things of one kind.

    A name is looked up in this order: registered or built-in name, family (``prefix/rest``), entry
    point (``distribution/name``), import path (``my_module:my_object``).

    Args:
        expected: the class of the things.
        catalog: what is built in; a thing is imported when it is asked for.
        example: a line that makes a function one of these, ``{name}`` its name.
    """

    def __init__(self, expected: type[T], catalog: Catalog, *, example: str = "") -> None:
        self.kind = catalog.kind
        self.catalog = catalog
        self._expected = expected
        self._example = example
        self._things: dict[str, T] = {}
        self._families: dict[str, Callable[[str], T]] = {}

    def register(self, name: str, thing: T) -> T:
        """Add ``thing`` under ``name``; a name is given once."""
        if self._things.get(name, thing) is not thing or self.catalog.is_taken(name):
            raise ConfigError(f"{self.kind} {name!r} is registered twice")
        self._things[name] = thing
        self.catalog.registered.add(name)
        return thing

    def family(self, prefix: str) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
        """Let a function make the things called ``prefix/rest`` from the rest of their names.

        What they are called is for the function to know: a list holds none of them.
        """

        def register(make: Callable[[str], T]) -> Callable[[str], T]:
            if self._families.get(prefix, make) is not make:
                raise ConfigError(f"{self.kind} family {prefix!r} is registered twice")
            self._families[prefix] = make
            return make

        return register

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._things, *self.catalog}))

    def __contains__(self, name: object) -> bool:
        """Whether ``name`` is listed, or of a family."""
        return name in self._things or name in self.catalog or self._made_by(name) is not None

    def get(self, name: str) -> T:
        """The thing called ``name``.

        Raises:
            ConfigError: nothing bears the name; the message suggests the nearest one.
        """
        if name in self._things:
            return self._things[name]
        if (built_in := self.catalog.find(name)) is not None:
            return self._accept(built_in, name)
        if make := self._made_by(name):
            return make(name.partition("/")[2])
        plugins = self.catalog.entry_points()
        if name in plugins:
            try:
                found = plugins[name].load()
            except Exception as error:  # whatever somebody's module raises when it is imported
                raise ConfigError(
                    f"{self.kind} {name!r} cannot be loaded: {type(error).__name__}: {error}"
                ) from error
            return self._accept(found, name)
        if ":" in name:
            return self._accept(import_object(name, self.kind), name)
        prefixes = {*self._families, *self.catalog.families}
        known = [*self, *(f"{prefix}/..." for prefix in prefixes)]
        raise ConfigError(f"unknown {self.kind} {name!r}; {did_you_mean(name, known)}")

    def _made_by(self, name: object) -> Callable[[str], T] | None:
        prefix, _, rest = name.partition("/") if isinstance(name, str) else ("", "", "")
        if not rest:
            return None
        if prefix not in self._families and prefix in self.catalog.families:
            importlib.import_module(self.catalog.families[prefix])
        return self._families.get(prefix)

    def _accept(self, found: Any, name: str) -> T:
        """A plug-in hands over the thing itself: what the decorator returned."""
        if not isinstance(found, self._expected):
            line = ""
            if self._example and inspect.isfunction(found):
                line = f"; write above it: {self._example.format(name=found.__name__)}"
            raise ConfigError(
                f"{name!r} is not a {self.kind}: expected {self._expected.__name__} (what its "
                f"decorator returns), found {type(found).__name__}{line}"
            )
        return found


def distinct(things: Iterable[Named], kind: str = "map method") -> list[Named]:
    """The things; ConfigError where two bear one name, by which results would confuse them."""
    listed = list(things)
    names = [thing.name for thing in listed]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{kind} {name!r} is listed twice; tell them apart with 'label:'")
    return listed


def import_object(path: str, kind: str) -> Any:
    """The object at ``module:name``; errors say which half of the path is wrong."""
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever somebody's module raises when it is imported
        raise ConfigError(
            f"{kind} {path!r}: cannot import {module_name!r}: {type(error).__name__}: {error} "
            "(looked among installed modules and in the working directory)"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigError(
            f"{kind} {path!r}: module {module_name!r} has no {attribute!r}; "
            f"{did_you_mean(attribute, (name for name in vars(module) if name[:1] != '_'))}"
        ) from None


def bind_options(
    function: Callable[..., Any], options: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The options, converted by the annotations of ``function``'s keyword-only parameters.

    Raises:
        ConfigError: an option the function does not have, lacks, or of the wrong type.
    """
    import pydantic

    parameters = _options(function)
    bound = {}
    for name, value in options.items():
        if name not in parameters:
            raise ConfigError(f"{where}: unknown option {name!r}; {did_you_mean(name, parameters)}")
        try:
            annotation = parameters[name].annotation
            kind = Any if annotation is inspect.Parameter.empty else annotation
            bound[name] = pydantic.TypeAdapter(kind).validate_python(value)
        except pydantic.ValidationError as error:
            reason = "; ".join(item["msg"] for item in error.errors())
            raise ConfigError(f"{where}.{name}: {reason}, found {value!r}") from error
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and name not in bound
    ]
    if missing:
        raise ConfigError(f"{where}: missing option {missing[0]!r}")
    return bound


def has_option(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has a keyword-only parameter of this name."""
    return name in _options(function)


def option_lines(function: Callable[..., Any]) -> list[str]:
    """The options of a function for people, one a line: name, type, default."""
    lines = []
    for name, parameter in _options(function).items():
        kind = parameter.annotation
        kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        kind = inspect.formatannotation(kind).replace("pathlib.", "")
        required = parameter.default is inspect.Parameter.empty
        lines.append(f"  {name}: {kind}{'' if required else f' = {parameter.default!r}'}")
    return lines


def _options(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(function, eval_str=True)
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    return {name: p for name, p in signature.parameters.items() if p.kind is keyword_only}
