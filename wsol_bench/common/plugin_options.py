"""The options of a plug-in: the keyword-only parameters of its function."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wsol_bench.common.option_texts import Option, default_words, kind_words, meanings
from wsol_bench.errors import ConfigError, did_you_mean, shown

__all__ = [
    "bind_options",
    "has_option",
    "name_with_options",
    "options_of_function",
    "require_options",
]

# The most problems of an option that an error shows: a list may have one an element.
_MOST = 3


def name_with_options(name: str, options: Mapping[str, Any]) -> str:
    """The name of a plug-in with options: two settings of it are two lines of a table.

    >>> name_with_options("my_cam", {"power": 2})
    'my_cam+power=2'
    """
    return "+".join([name, *(f"{key}={value}" for key, value in options.items())])


def bind_options(
    function: Callable[..., Any], options: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The options of a function, converted by the annotations of its keyword-only parameters.

    Args:
        function: function with options.
        options: values by name, as a configuration holds them.
        where: place of the options in error messages.

    Raises:
        ConfigError: an option is unknown, missing, or has the wrong type.
    """
    import pydantic

    from wsol_bench.common.validation_errors import plain_words, require_no_flag

    parameters = _options(function)
    require_options(options, parameters, where)
    bound = {}
    for name, value in options.items():
        try:
            annotation = parameters[name].annotation
            kind = Any if annotation is inspect.Parameter.empty else annotation
            bound[name] = pydantic.TypeAdapter(kind).validate_python(require_no_flag(value, kind))
        except pydantic.ValidationError as error:
            reasons = dict.fromkeys(map(plain_words, error.errors()[:_MOST]))
            raise ConfigError(
                f"{where}.{name}: {'; '.join(reasons)}, found {shown(value)}"
            ) from error
        except ValueError as error:
            raise ConfigError(f"{where}.{name}: {error}, found {shown(value)}") from error
    for option in options_of_function(function):
        if option.required and option.name not in bound:
            meaning = f": {option.meaning}" if option.meaning else ""
            raise ConfigError(f"{where}: missing option {option.name!r} ({option.kind}){meaning}")
    return bound


def require_options(options: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise ConfigError for the first name that is no known option; ``where`` is its place."""
    known = list(known)
    for name in options:
        if name not in known:
            raise ConfigError(f"{where}: unknown option {name!r}; {did_you_mean(name, known)}")


def has_option(function: Callable[..., Any], name: str) -> bool:
    """Return whether a function has a keyword-only parameter of this name."""
    return name in _options(function)


def options_of_function(function: Callable[..., Any]) -> list[Option]:
    """The options of a function that is imported, in plain words."""
    empty, told = inspect.Parameter.empty, meanings(function.__doc__ or "")
    return [
        Option(
            name,
            "any value"
            if one.annotation is empty
            else kind_words(inspect.formatannotation(one.annotation)),
            one.default is empty,
            "" if one.default is empty else default_words(one.default),
            told.get(name, ""),
        )
        for name, one in _options(function).items()
    ]


def _options(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(function, eval_str=True)
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    return {name: p for name, p in signature.parameters.items() if p.kind is keyword_only}
