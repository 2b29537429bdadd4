"""The options of a plug-in in plain words, told from the syntax of types, defaults and docstrings.

Nothing is imported for it: constants and aliases of types are looked up in the source files.
"""

import ast
import inspect
import math
import operator
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Option", "Scope", "default_words", "kind_words", "meanings", "options_of"]

_PACKAGE = Path(__file__).parents[1]

_KINDS = {
    "int": "whole number",
    "float": "number",
    "str": "text",
    "bool": "true or false",
    "Path": "path",
    "PositiveInt": "whole number above 0",
    "NonNegativeInt": "whole number of at least 0",
    "PositiveFloat": "number above 0",
    "NonNegativeFloat": "number of at least 0",
}
_BOUNDS = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Option(NamedTuple):
    """An option of a plug-in.

    Attributes:
        name: the key in an experiment.
        kind: its type in words, such as "whole number above 0" or "mean, black or blur".
        required: True if it has no default.
        default: the default as an experiment would have it; "" for none.
        meaning: what the docstring says about it; "" if it says nothing.
    """

    name: str
    kind: str
    required: bool
    default: str
    meaning: str

    @property
    def line(self) -> str:
        """Name, type and default in one line."""
        last = "required" if self.required else f"default {self.default}"
        return f"{self.name}: {self.kind}; {last if self.required or self.default else 'optional'}"


class Scope(NamedTuple):
    """A module of this package, in which names of constants and types are looked up.

    Attributes:
        tree: the syntax tree of the module.
    """

    tree: ast.Module

    def find(self, name: str) -> "tuple[ast.expr, Scope] | None":
        """The expression that a name stands for, and the scope of its own names."""
        for node in self.tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                    return value, self
                case ast.ImportFrom(module=str(module), names=names):
                    for alias in names:
                        if name == (alias.asname or alias.name) and (there := _scope_of(module)):
                            return there.find(alias.name)
        return None


_NOWHERE = Scope(ast.Module([], []))


def options_of(function: ast.FunctionDef, scope: Scope) -> list[Option]:
    """The options of a function in a source file: its keyword-only parameters."""
    told = meanings(ast.get_docstring(function) or "")
    arguments = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return [
        Option(
            one.arg,
            "any value" if one.annotation is None else kind_words(one.annotation, scope),
            default is None,
            "" if default is None else default_words(_value(default, scope)),
            told.get(one.arg, ""),
        )
        for one, default in arguments
    ]


def kind_words(kind: ast.expr | str, scope: Scope = _NOWHERE) -> str:
    """A type in words; Python's notation of a type that has none.

    >>> kind_words("Literal['mean', 'max'] | tuple[float, float] | None")
    'mean, max or a list of 2 numbers'
    """
    try:
        tree = ast.parse(kind, mode="eval").body if isinstance(kind, str) else kind
    except SyntaxError:  # the text of a type that another package made
        return str(kind)
    alternatives = list(dict.fromkeys(_alternatives(tree, scope)))
    *others, last = alternatives or ["nothing"]
    return f"{', '.join(others)} or {last}" if others else last


def default_words(value: object) -> str:
    """A default as an experiment would have it, numbers with four digits; "" for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) or "''"


def meanings(docstring: str) -> dict[str, str]:
    """The texts of the section ``Args:`` of a docstring by parameter, each in one line."""
    section = re.search(r"^Args:\n((?: .*(?:\n|\Z))+)", inspect.cleandoc(docstring), re.MULTILINE)
    found = re.finditer(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[1] if section else "", re.M)
    return {one[1]: " ".join(one[2].replace("``", "").split()) for one in found}


def _scope_of(module: str) -> Scope | None:
    """The scope of a module of this package; None of any other."""
    package, *parts = module.split(".")
    source = _PACKAGE.joinpath(*parts).with_suffix(".py")
    if package != _PACKAGE.name or not parts or not source.is_file():
        return None
    return Scope(ast.parse(source.read_text(encoding="utf-8")))


def _alternatives(kind: ast.expr, scope: Scope) -> Iterator[str]:
    """Yield what a type allows, in words; None is left out, since the default tells it."""
    match kind:
        case ast.Constant(value=None):
            pass
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from _alternatives(left, scope)
            yield from _alternatives(right, scope)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            found = None if name in _KINDS else scope.find(name)
            if found is None:
                yield _KINDS.get(name, name)
            else:
                yield from _alternatives(*found)
        case ast.Subscript(value=ast.Name(id=of) | ast.Attribute(attr=of), slice=inside):
            yield from _of(of, inside.elts if isinstance(inside, ast.Tuple) else [inside], scope)
        case _:
            yield ast.unparse(kind)


def _of(of: str, inside: list[ast.expr], scope: Scope) -> Iterator[str]:
    """Yield what a type with parameters allows, in words."""
    if of == "Literal":
        for one in inside:
            if isinstance(one, ast.Constant):
                yield default_words(one.value)
            else:  # another type of this kind
                yield from _alternatives(one, scope)
    elif of in ("Optional", "Union"):
        for one in inside:
            yield from _alternatives(one, scope)
    elif of == "Annotated":
        bounds = [
            f"{_BOUNDS[each.arg]} {ast.unparse(each.value)}"
            for one in inside[1:]
            for each in ast.walk(one)
            if isinstance(each, ast.keyword) and each.arg in _BOUNDS
        ]
        yield " ".join(
            [kind_words(inside[0], scope), " and ".join(bounds).replace(" and of ", " and ")]
        ).strip()
    elif of == "tuple" and len({ast.unparse(one) for one in inside}) == 1:
        plural = "" if len(inside) == 1 else "s"
        yield f"a list of {len(inside)} {kind_words(inside[0], scope)}{plural}"
    elif of in ("list", "tuple", "Sequence"):
        yield f"a list of {kind_words(inside[0], scope)}s"
    else:
        yield f"{of}[{', '.join(map(ast.unparse, inside))}]"


def _value(node: ast.expr, scope: Scope) -> Any:
    """The value of a default; its source text if it is not a constant or made of constants."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Name(id=name) if found := scope.find(name):
            return _value(*found)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            both = (_value(left, scope), _value(right, scope))
            if all(isinstance(one, int | float) for one in both):
                return _OPERATORS[type(op)](*both)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="math"), attr="sqrt"), args=[root]):
            if isinstance(square := _value(root, scope), int | float):
                return math.sqrt(square)
    return ast.unparse(node)
