"""What a protocol is: every choice between an image and a number, as one of three kinds.

A protocol takes one box of each map (``OneBoxProtocol``), its boxes at every threshold
(``BoxSweepProtocol``), or the scores of its pixels (``PixelProtocol``). Each choice that moves
published numbers is a field; none has a default, so a protocol says all of them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float64
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from wsol_bench.common.validation import ONE, SEVERAL, explain
from wsol_bench.errors import ConfigError
from wsol_bench.geometry import GeometryName, Placement, place

__all__ = [
    "AnyProtocol",
    "BoxSection",
    "BoxSweepProtocol",
    "InputSection",
    "MapSection",
    "OneBoxProtocol",
    "OneBoxScoring",
    "OneBoxSection",
    "PixelProtocol",
    "PixelSection",
    "Protocol",
    "Sweep",
    "SweepBoxSection",
    "SweepScoring",
    "parse_protocol",
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# A union's branch is chosen by the kind of the value, so that errors are about that branch alone.
_BY_KIND = Discriminator(lambda value: ONE if isinstance(value, int | float | str) else SEVERAL)
_SHARE_OR_FILE = Discriminator(lambda value: ONE if isinstance(value, int | float) else SEVERAL)
_Iou = Annotated[float, Field(gt=0, le=1)]
_Fraction = Annotated[float, Field(ge=0, le=1)]


class InputSection(_Section):
    """From the image file to the network's input.

    Attributes:
        size: side of the input in pixels; of its shorter side for ``shorter_side``.
        geometry: see ``wsol_bench.geometry.place``.
        resize_to: shorter side before the crop, in pixels (``center_crop`` only).
        filter: of the resize.
        antialias: true is Pillow's filter on 8-bit pixels, whose support grows with the reduction;
            false samples the filter at its own support, on floats.
    """

    size: Annotated[int, Field(ge=1)]
    geometry: GeometryName
    resize_to: Annotated[int, Field(ge=1)] | None = None
    filter: Literal["bilinear", "bicubic"]
    antialias: bool

    @model_validator(mode="after")
    def _crop_fits(self) -> "InputSection":
        if (self.geometry == "center_crop") != (self.resize_to is not None):
            raise ValueError("resize_to belongs to geometry center_crop, and to it alone")
        if self.resize_to is not None and self.resize_to < self.size:
            raise ValueError(f"resize_to {self.resize_to} is smaller than size {self.size}")
        return self

    def place(self, height: int, width: int) -> Placement:
        """Where the input lies in an image of (height, width) pixels."""
        return place(
            height, width, geometry=self.geometry, size=self.size, resize_to=self.resize_to
        )


class MapSection(_Section):
    """From a method's low-resolution map to a map of the input's size.

    Attributes:
        rectify: where negative values become zero, if at all.
        upsample: interpolation to the input's size.
        align_corners: whether corner samples are aligned (not for ``nearest``).
    """

    rectify: Literal["before_upsampling", "after_upsampling", "never"]
    upsample: Literal["bilinear", "bicubic", "nearest"]
    align_corners: bool

    @model_validator(mode="after")
    def _nearest_has_no_corners(self) -> "MapSection":
        if self.upsample == "nearest" and self.align_corners:
            raise ValueError("align_corners does not apply to upsample: nearest")
        return self


class _Grid(_Section):
    """Thresholds 0, step, 2 step, ... below 1."""

    step: Annotated[float, Field(gt=0, le=1)]

    @property
    def thresholds(self) -> Float64[np.ndarray, " t"]:
        """The grid, ascending."""
        return np.arange(0, 1, self.step)


class Sweep(_Grid):
    """Every threshold of a grid instead of one.

    Attributes:
        step: distance of the thresholds 0, step, 2 step, ... below 1.
        select_on: the images that the threshold is chosen on, for the others: their share (whose
            images a digest of their ids picks), or a file of image ids, one a line. Without it the
            threshold is chosen on the images that are scored (the oracle threshold). A folder of a
            run by the same protocol: the threshold is chosen on the images of that run.
    """

    select_on: (
        Annotated[
            Annotated[float, Field(gt=0, lt=1), Tag(ONE)] | Annotated[str, Tag(SEVERAL)],
            _SHARE_OR_FILE,
        ]
        | None
    ) = None

    def holds_out(self, image_ids: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """Which images the threshold is chosen on.

        Raises:
            ConfigError: a file that cannot be read.
        """
        if self.select_on is None or self.run is not None:
            return np.zeros(len(image_ids), np.bool_)
        if isinstance(self.select_on, float):
            # A digest, so that an image is on the same side in every run and subset.
            digests = [hashlib.sha256(name.encode()).digest()[:8] for name in image_ids]
            shares = np.array([int.from_bytes(one, "big") for one in digests]) / 2**64
            return shares < self.select_on
        chosen = self.listed
        return np.array([name in chosen for name in image_ids], np.bool_)

    def splits(self, image_ids: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """``holds_out`` of a whole data set; ConfigError where one side is empty."""
        held_out = self.holds_out(image_ids)
        if self.select_on is None or self.run is not None:
            return held_out
        if not held_out.any() or held_out.all():
            raise ConfigError(
                f"select_on: {self.select_on} picks {held_out.sum()} of {len(image_ids)} images; "
                "some must be left on either side"
            )
        return held_out

    @property
    def run(self) -> Path | None:
        """The folder of a run, where ``select_on`` names one."""
        if not isinstance(self.select_on, str):
            return None
        path = Path(self.select_on).expanduser()
        return path if (path / "manifest.json").is_file() else None

    @property
    def listed(self) -> frozenset[str]:
        """The ids in the file that ``select_on`` names; none where it names none."""
        if not isinstance(self.select_on, str) or self.run is not None:
            return frozenset()
        try:
            text = Path(self.select_on).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"select_on: {self.select_on} cannot be read: {error}") from error
        return frozenset(line.strip() for line in text.splitlines() if line.strip())


class BoxSection(_Section):
    """From an upsampled map to a box, whatever the threshold.

    Attributes:
        threshold: one or a sweep; the two kinds of rules say which.
        of: ``maximum``: the level is threshold * max, and a map without a positive value has no
            box; ``range``: the level is min + threshold * (max - min).
        measured_on: the map whose extrema count: ``upsampled``, or ``low_resolution`` (the map
            normalized before upsampling).
        comparison: ``at_least`` is >=, ``above`` is >.
        connectivity: neighbors of a pixel.
        extractor: ``components``: boxes of connected components, exact; ``contours``: boxes of
            OpenCV's contours on 8-bit levels, as wsolevaluation takes them (``boxes.contours``).
        component: which of them gives the box; ``largest`` has most pixels, the first in raster
            order where several have (for contours: the largest polygon); ``all``: each box counts,
            and the best one decides (of a sweep only).
    """

    threshold: _Fraction | Sweep
    of: Literal["maximum", "range"]
    measured_on: Literal["upsampled", "low_resolution"]
    comparison: Literal["at_least", "above"]
    connectivity: Literal[4, 8]
    extractor: Literal["components", "contours"]
    component: Literal["largest", "all"]

    @model_validator(mode="after")
    def _contours_fit(self) -> "BoxSection":
        contours = ("range", "upsampled", "above", 8)
        rule = (self.of, self.measured_on, self.comparison, self.connectivity)
        if self.extractor == "contours" and rule != contours:
            raise ValueError(
                "extractor: contours goes with of: range, measured_on: upsampled, comparison: "
                "above, connectivity: 8"
            )
        return self


class OneBoxSection(BoxSection):
    """From an upsampled map to its one box.

    Attributes:
        threshold: fraction in [0, 1] of what ``of`` names.
    """

    threshold: _Fraction

    @model_validator(mode="after")
    def _takes_the_largest(self) -> "OneBoxSection":
        if self.component == "all":
            raise ValueError("component: all needs a sweep, such as threshold: {step: 0.001}")
        return self


class SweepBoxSection(BoxSection):
    """From an upsampled map to its boxes at every threshold.

    Attributes:
        threshold: the thresholds, and the images that the best of them is chosen on.
    """

    threshold: Sweep


Frame = Literal["original", "input"]


class OneBoxScoring(_Section):
    """When the one box of a map is right.

    Attributes:
        iou: least IoU with a ground-truth box of the class that is a hit.
        frame: the pixels in which boxes are compared: those of the ``original`` image; or of the
            network's ``input``, to which the inclusive corners of the ground truth are scaled and
            cut to whole numbers.
    """

    iou: _Iou
    frame: Frame


class SweepScoring(_Section):
    """When the box at a threshold is right.

    Attributes:
        iou: least IoU with a ground-truth box of the class that is a hit; one, or several, each of
            which has a best threshold of its own.
        frame: as in ``OneBoxScoring``.
    """

    iou: Annotated[
        Annotated[_Iou, Tag(ONE)] | Annotated[tuple[_Iou, ...], Field(min_length=1), Tag(SEVERAL)],
        _BY_KIND,
    ]
    frame: Frame

    @field_validator("iou")
    @classmethod
    def _each_once(cls, iou: float | tuple[float, ...]) -> float | tuple[float, ...]:
        if isinstance(iou, tuple) and len(set(iou)) < len(iou):
            raise ValueError("expected each once")
        return iou

    @property
    def ious(self) -> tuple[float, ...]:
        """All least IoUs."""
        return self.iou if isinstance(self.iou, tuple) else (self.iou,)


class PixelSection(_Grid):
    """How the pixels of a map are scored against a mask.

    Attributes:
        step: distance of the thresholds on a map scaled by its range: 0, step, ... below 1.
    """


class Protocol(_Section):
    """All choices that turn a classifier's map into a number: what the three kinds share.

    Attributes:
        name, paper: of the protocol; they decide no number.
        input, map: from the image to the map.
    """

    name: str
    paper: str = ""
    input: InputSection
    map: MapSection

    @property
    def hash(self) -> str:
        """Digest of everything that decides a number: all fields except the names."""
        content = self.model_dump(mode="json", exclude={"name", "paper"}, exclude_none=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    # Whether there are errors of classification, which need no ground-truth box.
    has_classification: ClassVar[bool] = False

    @property
    def selection(self) -> "Sweep | None":
        """How the threshold is chosen on other images than those that are scored, if it is."""
        return None


class OneBoxProtocol(Protocol):
    """One box of each map, at one threshold."""

    has_classification: ClassVar[bool] = True

    box: OneBoxSection
    scoring: OneBoxScoring


class BoxSweepProtocol(Protocol):
    """The boxes of each map at every threshold of a sweep."""

    box: SweepBoxSection
    scoring: SweepScoring

    @property
    def selection(self) -> Sweep | None:
        """The sweep, where it names images to choose the threshold on."""
        return self.box.threshold if self.box.threshold.select_on is not None else None


class PixelProtocol(Protocol):
    """The scores of a map's pixels, where the ground truth is a mask."""

    pixels: PixelSection


class _SeveralIous(Protocol):
    """One threshold with the least IoUs of a sweep: none, but what else is wrong is said first."""

    box: OneBoxSection
    scoring: SweepScoring


def _kind_of(content: Any) -> str:
    """Which of the three kinds a mapping (or a protocol) is, by the sections that it has."""
    if isinstance(content, Protocol):
        return type(content).__name__
    sections = {name for name in ("box", "scoring", "pixels") if content.get(name) is not None}
    if "pixels" in sections:
        return PixelProtocol.__name__
    box = content.get("box")
    swept = isinstance(box, Mapping) and isinstance(box.get("threshold"), Mapping | Sweep)
    return (BoxSweepProtocol if swept else OneBoxProtocol).__name__


# A protocol as a field of a model, of whichever kind its sections say.
AnyProtocol = Annotated[
    Annotated[OneBoxProtocol, Tag(OneBoxProtocol.__name__)]
    | Annotated[BoxSweepProtocol, Tag(BoxSweepProtocol.__name__)]
    | Annotated[PixelProtocol, Tag(PixelProtocol.__name__)],
    Discriminator(_kind_of),
]


def parse_protocol(
    content: Mapping[str, Any], where: str
) -> OneBoxProtocol | BoxSweepProtocol | PixelProtocol:
    """The protocol that a mapping describes, of the kind that its sections say.

    Raises:
        ConfigError: each problem on a line, with ``where``, key, expected and found.
    """
    sections = [name for name in ("box", "scoring", "pixels") if content.get(name) is not None]
    if sections not in (["box", "scoring"], ["pixels"]):
        raise ConfigError(
            f"{where}: a protocol has either 'box' and 'scoring', or 'pixels', found "
            f"{' and '.join(map(repr, sections)) or 'none of them'}"
        )
    kinds = {one.__name__: one for one in (OneBoxProtocol, BoxSweepProtocol, PixelProtocol)}
    kind = kinds[_kind_of(content)]
    known = {
        key: value
        for key, value in content.items()
        if value is not None or key in kind.model_fields
    }
    scoring = content.get("scoring")
    iou = scoring.get("iou") if isinstance(scoring, Mapping) else None
    several = kind is OneBoxProtocol and isinstance(iou, list | tuple)
    try:
        if several:
            _SeveralIous.model_validate(known)
        else:
            return kind.model_validate(known)
    except ValidationError as error:
        raise ConfigError(explain(error, kind, where)) from error
    raise ConfigError(
        f"{where}: 'scoring.iou' several belong to a sweep; one threshold has one, found {iou!r}"
    )
