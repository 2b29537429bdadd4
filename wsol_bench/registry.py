"""Named things that a configuration can ask for: one mechanism for all of them."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin

from wsol_bench.errors import ConfigError, did_you_mean

__all__ = ["Registry", "bind_options", "has_option", "import_object", "option_lines"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to things of one kind.

    A name is looked up in this order: built-in name, family (``prefix/rest``), entry point
    (``distribution/name``), import path (``my_module:my_object``). The modules and sub-packages of
    ``package`` are imported at the first look-up, so a built-in thing is one file with one
    decorator and stands in no second list.
    """

    def __init__(self, kind: str, *, package: str, decorator: str = "") -> None:
        """``decorator``: a line that makes a function one of these, ``{name}`` its name."""
        self.kind = kind
        self._package = package
        self._decorator = decorator
        self._things: dict[str, T] = {}
        self._families: dict[str, Callable[[str], T]] = {}
        self._loaded = False

    def register(self, name: str, thing: T) -> T:
        """Add ``thing`` under ``name``; a name is given once."""
        if name in self._things and self._things[name] is not thing:
            raise ConfigError(f"{self.kind} {name!r} is registered twice")
        self._things[name] = thing
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
        self._load()
        return iter(sorted({*self._things, *self._entry_points()}))

    def __contains__(self, name: object) -> bool:
        """Whether ``name`` is listed, or of a family."""
        return name in set(self) or (isinstance(name, str) and self._made_by(name) is not None)

    def get(self, name: str) -> T:
        """The thing called ``name``.

        Raises:
            ConfigError: nothing bears the name; the message suggests the nearest one.
        """
        self._load()
        if name in self._things:
            return self._things[name]
        if make := self._made_by(name):
            return make(name.partition("/")[2])
        plugins = self._entry_points()
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
        known = [*self, *(f"{prefix}/..." for prefix in self._families)]
        raise ConfigError(f"unknown {self.kind} {name!r}; {did_you_mean(name, known)}")

    def _made_by(self, name: str) -> Callable[[str], T] | None:
        prefix, _, rest = name.partition("/")
        return self._families.get(prefix) if rest else None

    def _accept(self, found: Any, name: str) -> T:
        """A plug-in hands over the thing itself: what the decorator returned."""
        expected = type(next(iter(self._things.values())))
        if not isinstance(found, expected):
            line = ""
            if self._decorator and inspect.isfunction(found):
                line = f"; write above it: {self._decorator.format(name=found.__name__)}"
            raise ConfigError(
                f"{name!r} is not a {self.kind}: expected {expected.__name__} (what its decorator "
                f"returns), found {type(found).__name__}{line}"
            )
        return found

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")

    def _entry_points(self) -> dict[str, Any]:
        return {
            f"{point.dist.name if point.dist else '?'}/{point.name}": point
            for point in entry_points(group=self._package)
        }


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
