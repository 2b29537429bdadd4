"""Clauses of a contract, and the verdicts on them that ``wsol-bench check`` prints."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, NamedTuple, NoReturn, TypeVar

__all__ = [
    "BrokenClauseError",
    "Clause",
    "InapplicableClauseError",
    "OddClauseError",
    "Verdict",
    "clause",
    "fail",
    "verdicts_of",
]

Case = TypeVar("Case")


class Verdict(NamedTuple):
    """The result of checking one clause of a contract.

    Attributes:
        clause: the clause, as a sentence.
        ok: whether the clause holds; None if it does not apply or was not checked.
        detail: what was expected and what was found, or why the clause was not checked. If the
            clause holds, what is odd all the same; "" if nothing is.
    """

    clause: str
    ok: bool | None
    detail: str = ""

    @property
    def word(self) -> str:
        """The verdict in a word: passed, WARNING (with what is odd), FAILED, or - for neither."""
        if self.ok and self.detail:
            return "WARNING"
        return {True: "passed", False: "FAILED", None: "-"}[self.ok]


class BrokenClauseError(Exception):
    """A clause does not hold; the message says what was expected and what was found."""


class OddClauseError(Exception):
    """A clause holds, but something is odd; the message says what."""


class InapplicableClauseError(Exception):
    """A clause does not apply to the plug-in; the message says why."""


@dataclass(frozen=True, eq=False)
class Clause(Generic[Case]):
    """One clause of a contract.

    Attributes:
        sentence: the clause as a user reads it.
        check: ``(case)``; returns if the clause holds, and raises otherwise.
        needs: clauses that must hold before this one can be checked.
    """

    sentence: str
    check: Callable[[Case], None]
    needs: tuple["Clause[Case]", ...] = ()


def clause(sentence: str, *needs: Clause[Case]) -> Callable[[Callable[[Case], None]], Clause[Case]]:
    """Make a clause of a function that checks it; ``Clause`` documents the parameters."""

    def make(check: Callable[[Case], None]) -> Clause[Case]:
        return Clause(sentence, check, needs)

    return make


def verdicts_of(
    clauses: Sequence[Clause[Case]],
    case: Case,
    *,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Verdict]:
    """Check clauses one after the other; each verdict is yielded as soon as it is known.

    Any exception that the plug-in raises is a failed verdict, never an error of the check.

    Args:
        clauses: the contract. A clause stands behind the clauses that it needs.
        case: the plug-in, and the small world that it is checked on.
        around: makes a context that each clause is checked in.
    """
    passed = set[Clause[Case]]()
    for current in clauses:
        failed = next((needed for needed in current.needs if needed not in passed), None)
        if failed is None:
            verdict = _verdict_of(current, case, around)
        else:
            reason = f"not checked, because this clause failed: {failed.sentence}"
            verdict = Verdict(current.sentence, None, reason)
        if verdict.ok:
            passed.add(current)
        yield verdict


def _verdict_of(
    current: Clause[Case], case: Case, around: Callable[[], AbstractContextManager[None]]
) -> Verdict:
    with around():
        try:
            current.check(case)
        except InapplicableClauseError as reason:
            return Verdict(current.sentence, None, str(reason))
        except OddClauseError as odd:
            return Verdict(current.sentence, True, str(odd))
        except BrokenClauseError as broken:
            return Verdict(current.sentence, False, str(broken))
        except Exception as error:  # a plug-in may raise any error
            return Verdict(current.sentence, False, f"{type(error).__name__}: {error}")
    return Verdict(current.sentence, True)


def fail(expected: object, found: object) -> NoReturn:
    """Raise ``BrokenClauseError``, with what was expected and what was found."""
    raise BrokenClauseError(f"expected {expected}; found {found}")
