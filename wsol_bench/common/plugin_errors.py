"""What a failure in code that is not this package's own says: whose it is, where, and what."""

import inspect
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

import wsol_bench
from wsol_bench.errors import PluginError, WsolBenchError

__all__ = ["blamed", "file_of", "place_of", "plugin_error"]

# A message of torch may have many lines.
_LONGEST = 500

_OWN = Path(wsol_bench.__file__).parent
_STDLIB = Path(sysconfig.get_path("stdlib"))
# Code that was typed, not read from a file. (A notebook's cell may also have the name of a file.)
_TYPED = ("<stdin>", "<ipython-input")


@contextmanager
def blamed(whose: str, function: Callable[..., Any] | None = None) -> Iterator[None]:
    """Turn an exception within the context into a PluginError; ``plugin_error`` has the arguments.

    Errors of this package pass as they are: they already say what is wrong.
    """
    try:
        yield
    except WsolBenchError:
        raise
    except (Exception, SystemExit) as error:  # other people's code can raise any error
        raise PluginError(plugin_error(whose, error, function)) from error


def plugin_error(
    whose: str, error: BaseException, function: Callable[..., Any] | None = None
) -> str:
    """The message of an error for an exception that other people's code has raised, in one line.

    Args:
        whose: the plug-in in words, such as "map method 'my_cam'"; the message begins with it.
        error: the exception. Raise the package's error ``from`` it, so that ``--verbose`` can show
            its traceback.
        function: the plug-in's function. The place is looked for in its file if no frame of the
            traceback is of a file outside of installed packages.

    Returns:
        ``whose: my_module.py:12: ZeroDivisionError: division by zero``.
    """
    said = " ".join(str(error).split())
    if len(said) > _LONGEST:
        said = f"{said[:_LONGEST]} ..."
    where = _place(error, function)
    name = type(error).__name__
    return ": ".join(part for part in (whose, where, name, said) if part)


def _place(error: BaseException, function: Callable[..., Any] | None) -> str:
    """The file and line where an exception comes from; "" if it has no traceback.

    The line is the last one outside of this package, the standard library and installed packages:
    the user's own code, even if it is a library that it calls that raises. If there is no such
    line, it is the last one in the file of the plug-in's function. If there is none, as when the
    function does not take its arguments, it is the function's own first line, or else the last one.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own_file = file_of(function)
    users = [frame for frame in frames if _is_users(frame.filename)]
    plugins = [frame for frame in frames if frame.filename == own_file]
    for chosen in (users, plugins):
        if chosen:
            return f"{_short(chosen[-1].filename)}:{chosen[-1].lineno}"
    if own_file is not None and function is not None:
        return place_of(function)
    return f"{_short(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


def file_of(function: Callable[..., Any] | None) -> str | None:
    """The file of a function's code; None if it is not known."""
    code = _code_of(function)
    return None if code is None else code.co_filename


def place_of(function: Callable[..., Any]) -> str:
    """The file and line of a function, or the name of its module if they are not known."""
    code = _code_of(function)
    if code is None:
        return str(getattr(function, "__module__", None) or type(function).__module__)
    return f"{_short(code.co_filename)}:{code.co_firstlineno}"


def _code_of(function: Callable[..., Any] | None) -> CodeType | None:
    while isinstance(function, partial):
        function = function.func
    if inspect.isclass(function):
        function = function.__init__
    code = None if function is None else getattr(inspect.unwrap(function), "__code__", None)
    return code if isinstance(code, CodeType) else None


def _is_users(filename: str) -> bool:
    """Return whether code is neither this package's, nor Python's, nor an installed package's."""
    if filename.startswith("<"):
        return filename.startswith(_TYPED)
    path = Path(filename)
    if not {"site-packages", "dist-packages"}.isdisjoint(path.parts):
        return False
    return not any(path.is_relative_to(folder) for folder in (_OWN, _STDLIB))


def _short(filename: str) -> str:
    """The path of a file, relative to the working folder if it lies there."""
    path = Path(filename)
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return filename
