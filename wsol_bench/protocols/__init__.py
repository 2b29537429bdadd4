"""Protocols: every choice between an image and a number, named and hashed.

A protocol is one YAML file beside this module (or any file given by path). Each knob that moves
published numbers is a field; none has a default, so a protocol says all of them.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Bool, Float64
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from wsol_bench.errors import ConfigError, did_you_mean
from wsol_bench.geometry import GeometryName, Placement, place
from wsol_bench.validation import ONE, SEVERAL, explain, read_yaml

__all__ = [
    "BoxRule",
    "InputRule",
    "MapRule",
    "PixelRule",
    "Protocol",
    "ScoringRule",
    "Sweep",
    "load_protocol",
    "protocol_names",
]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# A union's branch is chosen by the kind of the value, so that errors are about that branch alone.
_BY_KIND = Discriminator(lambda value: ONE if isinstance(value, int | float | str) else SEVERAL)
_SHARE_OR_FILE = Discriminator(lambda value: ONE if isinstance(value, int | float) else SEVERAL)
_Iou = Annotated[float, Field(gt=0, le=1)]
_Fraction = Annotated[float, Field(ge=0, le=1)]


class InputRule(_Rule):
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
    def _crop_fits(self) -> "InputRule":
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


class MapRule(_Rule):
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
    def _nearest_has_no_corners(self) -> "MapRule":
        if self.upsample == "nearest" and self.align_corners:
            raise ValueError("align_corners does not apply to upsample: nearest")
        return self


class _Grid(_Rule):
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
            threshold is chosen on the images that are scored (the oracle threshold).
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
        if self.select_on is None:
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
        if self.select_on is not None and (not held_out.any() or held_out.all()):
            raise ConfigError(
                f"select_on: {self.select_on} picks {held_out.sum()} of {len(image_ids)} images; "
                "some must be left on either side"
            )
        return held_out

    @property
    def listed(self) -> frozenset[str]:
        """The ids in the file that ``select_on`` names; none where it names none."""
        if not isinstance(self.select_on, str):
            return frozenset()
        try:
            text = Path(self.select_on).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"select_on: {self.select_on} cannot be read: {error}") from error
        return frozenset(line.strip() for line in text.splitlines() if line.strip())


class BoxRule(_Rule):
    """From an upsampled map to a box.

    Attributes:
        threshold: fraction in [0, 1] of what ``of`` names, or a sweep over all of them.
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

    threshold: Annotated[Annotated[_Fraction, Tag(ONE)] | Annotated[Sweep, Tag(SEVERAL)], _BY_KIND]
    of: Literal["maximum", "range"]
    measured_on: Literal["upsampled", "low_resolution"]
    comparison: Literal["at_least", "above"]
    connectivity: Literal[4, 8]
    extractor: Literal["components", "contours"]
    component: Literal["largest", "all"]

    @model_validator(mode="after")
    def _fits(self) -> "BoxRule":
        if self.component == "all" and not isinstance(self.threshold, Sweep):
            raise ValueError("component: all needs a sweep, such as threshold: {step: 0.001}")
        contours = ("range", "upsampled", "above", 8)
        rule = (self.of, self.measured_on, self.comparison, self.connectivity)
        if self.extractor == "contours" and rule != contours:
            raise ValueError(
                "extractor: contours goes with of: range, measured_on: upsampled, comparison: "
                "above, connectivity: 8"
            )
        return self


class ScoringRule(_Rule):
    """When a box is right.

    Attributes:
        iou: least IoU with a ground-truth box of the class, that is a hit; of a sweep, several.
        frame: the pixels in which boxes are compared: those of the ``original`` image; or of the
            network's ``input``, to which the inclusive corners of the ground truth are scaled and
            cut to whole numbers.
    """

    iou: Annotated[
        Annotated[_Iou, Tag(ONE)] | Annotated[tuple[_Iou, ...], Field(min_length=1), Tag(SEVERAL)],
        _BY_KIND,
    ]
    frame: Literal["original", "input"]

    @property
    def ious(self) -> tuple[float, ...]:
        """All least IoUs."""
        return self.iou if isinstance(self.iou, tuple) else (self.iou,)


class PixelRule(_Grid):
    """How the pixels of a map are scored against a mask.

    Attributes:
        step: distance of the thresholds on a map scaled by its range: 0, step, ... below 1.
    """


class Protocol(_Rule):
    """All choices that turn a classifier's map into a number.

    Attributes:
        name, paper: of the protocol.
        input, map: from the image to the map.
        box, scoring: from the map to a box and its score, where ground truth is boxes.
        pixels: from the map to the scores of its pixels, where ground truth is masks.
    """

    name: str
    paper: str = ""
    input: InputRule
    map: MapRule
    box: BoxRule | None = None
    scoring: ScoringRule | None = None
    pixels: PixelRule | None = None

    @model_validator(mode="after")
    def _boxes_or_pixels(self) -> "Protocol":
        sections = (self.box is not None, self.scoring is not None, self.pixels is not None)
        if sections not in ((True, True, False), (False, False, True)):
            raise ValueError("a protocol has either 'box' and 'scoring', or 'pixels'")
        if self.scoring and len(set(self.scoring.ious)) < len(self.scoring.ious):
            raise ValueError(f"scoring.iou: expected each once, found {self.scoring.ious}")
        if self.scoring and isinstance(self.scoring.iou, tuple) and not self.sweep:
            raise ValueError("scoring.iou: several belong to a sweep; one threshold has one")
        return self

    @property
    def sweep(self) -> Sweep | None:
        """The sweep over thresholds, where there is one."""
        threshold = self.box.threshold if self.box else None
        return threshold if isinstance(threshold, Sweep) else None

    @property
    def hash(self) -> str:
        """Digest of everything that decides a number: all fields except the names."""
        content = self.model_dump(mode="json", exclude={"name", "paper"}, exclude_none=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def protocol_names() -> list[str]:
    """The built-in protocols."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.yaml"))


def load_protocol(name: str, changes: dict[str, Any] | None = None) -> Protocol:
    """A protocol by built-in name or by path of a YAML file.

    Args:
        name: of a built-in protocol, or a path that ends in .yaml or .yml.
        changes: nested fields to replace. The result's name then tells them, so that a changed
            protocol is never reported under the published name.

    Raises:
        ConfigError: unknown name, unknown key, a value out of range, or a file that bears the name
            of a built-in protocol and differs from it.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        if name not in protocol_names():
            raise ConfigError(f"unknown protocol {name!r}; {did_you_mean(name, protocol_names())}")
        path = Path(__file__).with_name(f"{name}.yaml")
    content = read_yaml(path, "protocol")
    described: list[str] = []
    for section, fields in (changes or {}).items():
        described += _change(content, section, fields)
    if described:
        content["name"] = f"{content.get('name')}+{','.join(described)}"
    try:
        protocol = Protocol.model_validate(content)
    except ValidationError as error:
        raise ConfigError(explain(error, Protocol, f"protocol {name}")) from error
    borrowed = protocol.name != name and protocol.name in protocol_names()
    if borrowed and protocol.hash != load_protocol(protocol.name).hash:
        raise ConfigError(
            f"protocol {name}: {protocol.name!r} is the name of a built-in protocol, from which "
            "this one differs; give it a 'name' of its own"
        )
    return protocol


def _change(content: dict[str, Any], key: str, value: Any, path: str = "") -> Iterator[str]:
    """Set a key, or those within it where both are mappings; what was set, for the name."""
    if isinstance(value, dict) and isinstance(content.get(key), dict):
        content[key] = dict(content[key])
        for name, item in value.items():
            yield from _change(content[key], name, item, f"{path}{key}.")
    elif isinstance(value, dict) and value:
        content[key] = value
        yield from (f"{path}{key}.{name}={item}" for name, item in value.items())
    else:
        content[key] = value
        yield f"{path}{key}={value}"
