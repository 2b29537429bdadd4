"""The three kinds of protocols: every choice between an image and a number.

A protocol takes one box of each map (``OneBoxProtocol``), its boxes at every threshold
(``BoxSweepProtocol``), or the scores of its pixels (``PixelProtocol``). The sections of a protocol
say of which kind it is.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Discriminator, Tag, ValidationError

from wsol_bench.common.configuration import Configuration
from wsol_bench.common.plain_values import plain
from wsol_bench.common.validation_errors import explain
from wsol_bench.errors import ConfigError
from wsol_bench.protocols.input_section import InputSection
from wsol_bench.protocols.sections import (
    MapSection,
    OneBoxScoring,
    OneBoxSection,
    PixelSection,
    Sweep,
    SweepBoxSection,
    SweepScoring,
)

__all__ = [
    "AnyProtocol",
    "BoxSweepProtocol",
    "OneBoxProtocol",
    "PixelProtocol",
    "Protocol",
    "parse_protocol",
]


class Protocol(Configuration):
    """The sections that the three kinds of protocols share.

    Attributes:
        name: name that results are reported under; it decides no number.
        paper: paper that defines the protocol; it decides no number.
        input: from the image file to the network's input.
        map: from a method's map to a map of the input's size.
        has_classification: whether the protocol is about classification, too, so that a data set
            without ground-truth boxes can be evaluated.
    """

    name: str
    paper: str = ""
    input: InputSection
    map: MapSection

    @property
    def hash(self) -> str:
        """The digest of everything that decides a number: all fields but name and paper."""
        content = self.model_dump(mode="json", exclude={"name", "paper"}, exclude_none=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    has_classification: ClassVar[bool] = False

    @property
    def selection(self) -> Sweep | None:
        """The sweep whose threshold is chosen on images that are not scored; None without one."""
        return None


class OneBoxProtocol(Protocol):
    """A protocol that takes one box of each map, at one threshold."""

    has_classification: ClassVar[bool] = True

    box: OneBoxSection
    scoring: OneBoxScoring


class BoxSweepProtocol(Protocol):
    """A protocol that takes the boxes of each map at every threshold of a sweep."""

    box: SweepBoxSection
    scoring: SweepScoring

    @property
    def selection(self) -> Sweep | None:
        """The sweep if it names images to choose the threshold on, else None."""
        return self.box.threshold if self.box.threshold.select_on is not None else None


class PixelProtocol(Protocol):
    """A protocol that scores the pixels of each map against a mask."""

    pixels: PixelSection


class _SeveralIous(Protocol):
    """A protocol of one threshold with several IoUs: not valid, but its other errors come first."""

    box: OneBoxSection
    scoring: SweepScoring


# The kinds of protocol, and the sections of a protocol's YAML that tell its kind.
_KINDS = (OneBoxProtocol, BoxSweepProtocol, PixelProtocol)
_SECTIONS = ("box", "scoring", "pixels")


def _kind_of(content: Any) -> str:
    """The class name of the kind of protocol that a mapping (or a protocol) is, by its sections."""
    if isinstance(content, Protocol):
        return type(content).__name__
    if content.get("pixels") is not None:
        return PixelProtocol.__name__
    box = content.get("box")
    swept = isinstance(box, Mapping) and isinstance(box.get("threshold"), Mapping | Sweep)
    return (BoxSweepProtocol if swept else OneBoxProtocol).__name__


# The type of a model's field that holds a protocol of any kind.
AnyProtocol = Annotated[
    Annotated[OneBoxProtocol, Tag(OneBoxProtocol.__name__)]
    | Annotated[BoxSweepProtocol, Tag(BoxSweepProtocol.__name__)]
    | Annotated[PixelProtocol, Tag(PixelProtocol.__name__)],
    Discriminator(_kind_of),
]


def parse_protocol(
    content: Mapping[Any, Any], where: str
) -> OneBoxProtocol | BoxSweepProtocol | PixelProtocol:
    """The protocol that a mapping describes, of the kind that its sections say.

    Args:
        content: mapping with the keys of a protocol's YAML.
        where: name of the mapping in error messages.

    Raises:
        ConfigError: the mapping is no protocol; one line a problem, with ``where``, the key, what
            was expected and what was found.
    """
    try:
        content = plain(content)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    sections = [name for name in _SECTIONS if content.get(name) is not None]
    if sections not in (["box", "scoring"], ["pixels"]):
        raise ConfigError(
            f"{where}: a protocol has either 'box' and 'scoring', or 'pixels', found "
            f"{' and '.join(map(repr, sections)) or 'none of them'}"
        )
    kind = next(kind for kind in _KINDS if kind.__name__ == _kind_of(content))
    fields = {
        key: value
        for key, value in content.items()
        if value is not None or key in kind.model_fields
    }
    scoring = content.get("scoring")
    iou = scoring.get("iou") if isinstance(scoring, Mapping) else None
    several = kind is OneBoxProtocol and isinstance(iou, list | tuple)
    try:
        if several:
            _SeveralIous.model_validate(fields)
        else:
            return kind.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(explain(error, kind, where)) from error
    raise ConfigError(
        f"{where}: 'scoring.iou' expected one number at one threshold, found {iou!r}; several "
        "need a sweep, such as box: {threshold: {step: 0.001}}"
    )
