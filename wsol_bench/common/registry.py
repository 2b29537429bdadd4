"""Registries: plug-ins of one kind by name, built in, offered by a distribution, or imported."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from wsol_bench.common.catalog import Catalog
from wsol_bench.errors import ConfigError, did_you_mean

__all__ = ["Registry", "distinct", "import_object"]

T = TypeVar("T")


@runtime_checkable
class _Named(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_Named)


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
