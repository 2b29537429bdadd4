"""Registries, which find plug-ins by name: built in, from a distribution, or by import path."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from wsol_bench.common.catalog import Catalog
from wsol_bench.errors import ConfigError, did_you_mean

__all__ = ["Registry", "import_object", "uniquely_named"]

T = TypeVar("T")


@runtime_checkable
class _Named(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_Named)


class Registry(Generic[T]):
    """The plug-ins of one kind by name.

    A name is looked up in this order: registered or built-in name, family (``prefix/rest``), entry
    point (``distribution/name``), import path (``my_module:my_object``).

    Args:
        expected: class of the plug-ins.
        catalog: names of the built-in plug-ins; a plug-in's module is imported when the plug-in is
            needed.
        example: line of code that makes a function a plug-in, with ``{name}`` for the function's
            name, for error messages.
    """

    def __init__(self, expected: type[T], catalog: Catalog, *, example: str = "") -> None:
        self.kind = catalog.kind
        self.catalog = catalog
        self._expected = expected
        self._example = example
        self._plugins: dict[str, T] = {}
        self._families: dict[str, Callable[[str], T]] = {}

    def register(self, name: str, plugin: T) -> T:
        """Add a plug-in under ``name``.

        Raises:
            ConfigError: the name is taken.
        """
        if self._plugins.get(name, plugin) is not plugin or self.catalog.is_taken(name):
            raise ConfigError(f"{self.kind} {name!r} is registered twice")
        self._plugins[name] = plugin
        self.catalog.registered.add(name)
        return plugin

    def family(self, prefix: str) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
        """Let a function make the plug-ins called ``prefix/rest`` from the rest of their names.

        Only the function knows these names, so no list holds them.
        """

        def register(make: Callable[[str], T]) -> Callable[[str], T]:
            if self._families.get(prefix, make) is not make:
                raise ConfigError(f"{self.kind} family {prefix!r} is registered twice")
            self._families[prefix] = make
            return make

        return register

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._plugins, *self.catalog}))

    def __contains__(self, name: object) -> bool:
        """Return whether ``name`` is listed or belongs to a family."""
        return name in self._plugins or name in self.catalog or self._family_of(name) is not None

    def get(self, name: str) -> T:
        """The plug-in called ``name``.

        Raises:
            ConfigError: no plug-in has the name (the message suggests the nearest one), or it
                cannot be loaded.
        """
        if name in self._plugins:
            return self._plugins[name]
        if (built_in := self.catalog.find(name)) is not None:
            return self._accept(built_in, name)
        if make := self._family_of(name):
            return make(name.partition("/")[2])
        plugins = self.catalog.entry_points()
        if name in plugins:
            try:
                plugin = plugins[name].load()
            except Exception as error:  # a user's module can raise any error when it is imported
                raise ConfigError(
                    f"{self.kind} {name!r} cannot be loaded: {type(error).__name__}: {error}"
                ) from error
            return self._accept(plugin, name)
        if ":" in name:
            return self._accept(import_object(name, self.kind), name)
        prefixes = {*self._families, *self.catalog.families}
        names = [*self, *(f"{prefix}/..." for prefix in prefixes)]
        raise ConfigError(f"unknown {self.kind} {name!r}; {did_you_mean(name, names)}")

    def _family_of(self, name: object) -> Callable[[str], T] | None:
        """The function that makes the plug-ins of a name's family; None without a family."""
        prefix, _, rest = name.partition("/") if isinstance(name, str) else ("", "", "")
        if not rest:
            return None
        if prefix not in self._families and prefix in self.catalog.families:
            importlib.import_module(self.catalog.families[prefix])
        return self._families.get(prefix)

    def _accept(self, plugin: Any, name: str) -> T:
        """The plug-in, if it is an object that the decorator returned; else ConfigError."""
        if not isinstance(plugin, self._expected):
            hint = ""
            if self._example and inspect.isfunction(plugin):
                hint = f"; write above it: {self._example.format(name=plugin.__name__)}"
            raise ConfigError(
                f"{name!r} is not a {self.kind}: expected {self._expected.__name__} (what its "
                f"decorator returns), found {type(plugin).__name__}{hint}"
            )
        return plugin


def uniquely_named(plugins: Iterable[Named], kind: str = "map method") -> list[Named]:
    """The plug-ins as a list, in which no two have the same name.

    Raises:
        ConfigError: two plug-ins have the same name, so results could not tell them apart.
    """
    listed = list(plugins)
    names = [plugin.name for plugin in listed]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{kind} {name!r} is listed twice; tell them apart with 'label:'")
    return listed


def import_object(path: str, kind: str) -> Any:
    """The object at an import path.

    Args:
        path: ``module:name``.
        kind: what the object should be, for error messages.

    Raises:
        ConfigError: the module cannot be imported, or has no such name.
    """
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module can raise any error when it is imported
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
