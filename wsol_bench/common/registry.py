"""Registries, which find plug-ins by name: built in, from a distribution, or by import path."""

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from wsol_bench.common.catalog import Catalog, require_no_file
from wsol_bench.common.plugin_errors import file_of, place_of, plugin_error
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
        self._origins: dict[str, Callable[..., Any]] = {}
        self._families: dict[str, Callable[[str], T]] = {}

    def register(self, name: str, plugin: T, function: Callable[..., Any]) -> T:
        """Add a plug-in under ``name``.

        A definition from the same module or file replaces the former one: a cell of a notebook may
        run again, and a module may be imported again.

        Args:
            name: the plug-in's name.
            plugin: the plug-in.
            function: the function that the plug-in is made of, which says where it is defined.

        Raises:
            ConfigError: another module has registered the name.
        """
        self._require_own(
            name, self._origins.get(name) if name in self._plugins else None, function
        )
        if module := self.catalog.taken_by(name):
            raise self._clash(name, module, function)
        self._plugins[name] = plugin
        self._origins[name] = function
        self.catalog.registered.add(name)
        return plugin

    def family(self, prefix: str) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
        """Let a function make the plug-ins called ``prefix/rest`` from the rest of their names.

        Only the function knows these names, so no list holds them.
        """

        def register(make: Callable[[str], T]) -> Callable[[str], T]:
            self._require_own(f"{prefix}/...", self._families.get(prefix), make)
            self._families[prefix] = make
            return make

        return register

    def _require_own(
        self, name: str, former: Callable[..., Any] | None, new: Callable[..., Any]
    ) -> None:
        """Raise ConfigError if a name belongs to a function of another module and file."""
        if former is None or former.__module__ == new.__module__:
            return
        if file_of(new) is None or file_of(former) != file_of(new):
            raise self._clash(name, place_of(former), new)

    def _clash(self, name: str, former: str, new: Callable[..., Any]) -> ConfigError:
        return ConfigError(
            f"{self.kind} {name!r} is registered twice: by {former} and by {place_of(new)}; give "
            "one of them another name"
        )

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
            except (Exception, SystemExit) as error:  # a user's module can raise any error
                whose = f"{self.kind} {name!r} cannot be loaded"
                raise ConfigError(plugin_error(whose, error)) from error
            return self._accept(plugin, name)
        if ":" in name:
            return self._accept(import_object(name, self.kind), name)
        prefixes = {*self._families, *self.catalog.families}
        names = [*self, *(f"{prefix}/..." for prefix in prefixes)]
        suggestion = did_you_mean(name, names, listed_by=self.catalog.listed_by)
        raise ConfigError(f"unknown {self.kind} {name!r}; {suggestion}")

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
    require_no_file(path, kind)
    module_name, _, attribute = path.partition(":")
    whose = f"{kind} {path!r}"
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a user's module can raise any error
        cannot = f"{whose}: cannot import {module_name!r}"
        if isinstance(error, ModuleNotFoundError):
            looked = "(looked among installed modules and in the working directory)"
            told = (
                f"{cannot}: {error}" if error.name == module_name else plugin_error(cannot, error)
            )
            raise ConfigError(f"{told} {looked}") from error
        raise ConfigError(plugin_error(cannot, error)) from error
    _require_not_hidden(module_name, whose)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigError(
            f"{whose}: module {module_name!r} has no {attribute!r}; "
            f"{did_you_mean(attribute, _public_names(module))}"
        ) from None


def _public_names(module: ModuleType) -> list[str]:
    """The names that a module defines itself; of one that defines none, those that it imports."""
    names = [name for name in vars(module) if name[:1] != "_"]
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):  # it has no source code
        return names
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {
        alias.asname or alias.name.partition(".")[0] for one in imports for alias in one.names
    }
    return [name for name in names if name not in imported] or names


def _require_not_hidden(module_name: str, whose: str) -> None:
    """Raise ConfigError if a module of the same name in the working folder was not imported."""
    top = module_name.partition(".")[0]
    file = getattr(sys.modules.get(top), "__file__", None)
    if file is None or top == __name__.partition(".")[0]:
        return
    for local in (Path(f"{top}.py"), Path(top, "__init__.py")):
        if local.is_file() and not local.samefile(file):
            raise ConfigError(
                f"{whose}: the name {top!r} imports {file}, not {local} in the working folder, "
                f"which it hides; rename {local} (or its folder), or uninstall the other"
            )
