"""The numbers that a paper publishes, as an experiment holds them under ``published``."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from wsol_bench.common.configuration import Configuration

__all__ = ["Cause", "Published", "PublishedNumber", "PublishedRow", "Status"]

# Whether a number was read in the paper, is quoted by another text, or is written from memory.
Status = Literal["read", "quoted", "memory"]
_Text = Annotated[str, Field(min_length=1)]


class PublishedNumber(Configuration):
    """One published number.

    Attributes:
        model, method: the network and the method, by their names in the experiment's results.
        number: the name of the number in the summary, such as ``top1_loc_error``.
        value: the number as a fraction.
        source: where it stands, such as ``arXiv:1610.02391, Table 1``.
        status: whether it was ``read`` there, is ``quoted`` by another source, or is written down
            from ``memory``.
    """

    model: str
    method: str
    number: str
    value: FiniteFloat
    source: _Text
    status: Status

    @property
    def cited(self) -> str:
        """The source, and how sure it is."""
        return self.source if self.status == "read" else f"{self.source} ({self.status})"

    def concerns(self, model: str, method: str, number: str) -> bool:
        """Return whether it is about a number of a line of the results."""
        return (self.model, self.method, self.number) == (model, method, number)


class PublishedRow(Configuration):
    """A row of a published table.

    Attributes:
        model, method: the network and the method, by their names in the experiment's results.
        numbers: the numbers of the row by their names in the summary, as the paper prints them.
        source, status: those of the row, if they are not those of the table.
        needs: a sentence that says why the experiment does not give the row, and what would; empty
            if the experiment gives it.
    """

    model: _Text
    method: _Text
    numbers: Annotated[dict[str, FiniteFloat], Field(min_length=1)]
    source: _Text | None = None
    status: Status | None = None
    needs: str = ""


class Cause(Configuration):
    """A known reason why a number that is measured here can differ from the paper's.

    Attributes:
        name: its name. For ``weights``, ``blacklist`` and ``thresholds`` a reproduction says beside
            it what the run has.
        says: a sentence that can be checked: what the paper did, or what is done here instead.
    """

    name: _Text
    says: _Text


class Published(Configuration):
    """The numbers of a paper's table, and what is known of how they came about.

    Attributes:
        source: where they stand, such as ``arXiv:1610.02391, Table 1``.
        status: how sure they are; see ``PublishedNumber``.
        unit: the unit in which the numbers are written: ``percent`` or ``fraction``.
        rows: the rows.
        title: the title of the paper and the table.
        n_images: the number of images that the paper evaluated.
        data: sentences that say where the data set is to be had, and its layout.
        states: sentences that say what the paper states of its protocol.
        leaves_open: sentences that say what it does not state.
        causes: known reasons why numbers measured here can differ.
        weights: a sentence that says where the weights of the experiment's models are to be had; or
            one for each model that needs it, by its name in the results.
    """

    source: _Text
    status: Status = "read"
    unit: Literal["percent", "fraction"]
    rows: Annotated[list[PublishedRow], Field(min_length=1)]
    title: str = ""
    n_images: Annotated[int, Field(ge=1)] | None = None
    data: str = ""
    states: list[_Text] = Field(default_factory=list)
    leaves_open: list[_Text] = Field(default_factory=list)
    causes: list[Cause] = Field(default_factory=list)
    weights: str | dict[str, _Text] = ""

    @property
    def numbers(self) -> Iterator[PublishedNumber]:
        """All numbers, row by row."""
        for row in self.rows:
            for number, printed in row.numbers.items():
                yield PublishedNumber(
                    model=row.model,
                    method=row.method,
                    number=number,
                    value=self._fraction(printed),
                    source=row.source or self.source,
                    status=row.status or self.status,
                )

    def weights_of(self, model: str) -> str:
        """The sentence that says where the weights of a model are to be had; "" for none."""
        return self.weights if isinstance(self.weights, str) else self.weights.get(model, "")

    def has_rows_of(self, model: str) -> bool:
        """Return whether the table has a row of a model, also one that the experiment lacks."""
        return any(row.model == model for row in self.rows)

    def methods_of(self, model: str) -> list[str]:
        """The methods of the rows of a model that the experiment gives."""
        rows = (row for row in self.rows if row.model == model and not row.needs)
        return list(dict.fromkeys(row.method for row in rows))

    def _fraction(self, printed: float) -> float:
        if self.unit == "fraction":
            return printed
        return float(Decimal(repr(printed)) / 100)  # 56.51 is 0.5651, to the last bit
