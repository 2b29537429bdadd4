"""The sections of a protocol: each holds the choices of one step from an image to a number.

Each choice that moves published numbers is a field; none has a default, so a protocol says all of
them.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float64
from pydantic import Discriminator, Field, StrictBool, Tag, field_validator, model_validator

from wsol_bench.common.configuration import Configuration
from wsol_bench.common.text_files import read_lines
from wsol_bench.common.validation_errors import ONE, SEVERAL
from wsol_bench.common.vocabulary import Comparison, Connectivity, Reference, WhichComponents
from wsol_bench.errors import ConfigError

__all__ = [
    "BoxSection",
    "Frame",
    "MapSection",
    "OneBoxScoring",
    "OneBoxSection",
    "PixelSection",
    "Sweep",
    "SweepBoxSection",
    "SweepScoring",
]


# A union's branch is chosen by the kind of the value, so that errors concern that branch alone.
_BY_KIND = Discriminator(lambda value: ONE if isinstance(value, int | float | str) else SEVERAL)
_SHARE_OR_FILE = Discriminator(lambda value: ONE if isinstance(value, int | float) else SEVERAL)
_Iou = Annotated[float, Field(gt=0, le=1)]
_Fraction = Annotated[float, Field(ge=0, le=1)]


class MapSection(Configuration):
    """The section ``map``: from a method's low-resolution map to a map of the input's size.

    Attributes:
        rectify: the step at which negative values become zero, if at all.
        upsample: interpolation to the input's size.
        align_corners: whether the interpolation aligns corner samples (not for ``nearest``).
    """

    rectify: Literal["before_upsampling", "after_upsampling", "never"]
    upsample: Literal["bilinear", "bicubic", "nearest"]
    align_corners: StrictBool

    @model_validator(mode="after")
    def _nearest_has_no_corners(self) -> "MapSection":
        if self.upsample == "nearest" and self.align_corners:
            raise ValueError("align_corners does not apply to upsample: nearest")
        return self


class _Grid(Configuration):
    """The thresholds 0, step, 2 step, ... below 1; at most 100,000 of them, kept for each image."""

    step: Annotated[float, Field(ge=1e-5, le=1)]

    @property
    def thresholds(self) -> Float64[np.ndarray, " t"]:
        """The thresholds, ascending."""
        return np.arange(0, 1, self.step)


class Sweep(_Grid):
    """The value of ``box.threshold`` that sweeps over a grid of thresholds.

    Attributes:
        step: distance of the thresholds 0, step, 2 step, ... below 1.
        select_on: images that the threshold is chosen on. A number is their share of the data set,
            picked by a digest of their ids; a path is a file of image ids, one a line, or the
            folder of a run by the same protocol, on whose images the threshold is chosen. If None,
            the threshold is chosen on the images that are scored (the oracle threshold).
    """

    select_on: (
        Annotated[
            Annotated[float, Field(gt=0, lt=1), Tag(ONE)] | Annotated[str, Tag(SEVERAL)],
            _SHARE_OR_FILE,
        ]
        | None
    ) = None

    def holds_out(self, image_ids: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """Return whether the threshold is chosen on each image, which is then not scored.

        Raises:
            ConfigError: the file of ids cannot be read.
        """
        if self.select_on is None or self.run is not None:
            return np.zeros(len(image_ids), np.bool_)
        if isinstance(self.select_on, float):
            # A digest, so that an image is on the same side in every run and subset.
            digests = [hashlib.sha256(name.encode()).digest()[:8] for name in image_ids]
            shares = np.array([int.from_bytes(digest, "big") for digest in digests]) / 2**64
            return shares < self.select_on
        listed = self.listed
        return np.array([name in listed for name in image_ids], np.bool_)

    def splits(self, image_ids: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """The result of ``holds_out`` for a whole data set.

        Raises:
            ConfigError: no image is held out, or none is left to score.
        """
        held_out = self.holds_out(image_ids)
        if self.select_on is None or self.run is not None:
            return held_out
        if not held_out.any() or held_out.all():
            raise ConfigError(
                f"select_on: {self.select_on} picks {held_out.sum()} of {len(image_ids)} images; "
                "it must pick at least one image and leave at least one"
            )
        return held_out

    @property
    def run(self) -> Path | None:
        """The folder of the run that ``select_on`` names; None if it names no run."""
        if not isinstance(self.select_on, str):
            return None
        try:
            path = Path(self.select_on).expanduser()
            return path if (path / "manifest.json").is_file() else None
        except (OSError, ValueError, RuntimeError):  # no path at all; reading it says why
            return None

    @property
    def listed(self) -> frozenset[str]:
        """The image ids in the file that ``select_on`` names; empty if it names no file."""
        if not isinstance(self.select_on, str) or self.run is not None:
            return frozenset()
        try:
            lines = list(read_lines(Path(self.select_on).expanduser(), ConfigError))
        except ConfigError as error:
            raise ConfigError(f"select_on: {error}") from error
        except (ValueError, RuntimeError) as error:  # of a path
            raise ConfigError(f"select_on: {self.select_on}: cannot be read: {error}") from error
        return frozenset(line.strip() for line in lines if line.strip())


class BoxSection(Configuration):
    """The section ``box``: from an upsampled map to a box.

    Attributes:
        threshold: one threshold or a sweep, by the kind of protocol.
        of: ``maximum``: the level is threshold * max, and a map without a positive value has no
            box; ``range``: the level is min + threshold * (max - min).
        measured_on: the map whose extrema count: ``upsampled``, or ``low_resolution`` (the map
            normalized before upsampling).
        comparison: ``at_least`` is >=, ``above`` is >.
        connectivity: number of neighbors of a pixel.
        extractor: ``components``: boxes of connected components, exact; ``contours``: boxes of
            OpenCV's contours on 8-bit levels, as wsolevaluation takes them (``boxes.contours``).
        component: which component gives the box. ``largest``: the component with most pixels, in a
            tie the first in raster order (for contours: the contour with the largest polygon);
            ``all``: each box counts, and the best box decides (for a sweep only).
    """

    threshold: _Fraction | Sweep
    of: Reference
    measured_on: Literal["upsampled", "low_resolution"]
    comparison: Comparison
    connectivity: Connectivity
    extractor: Literal["components", "contours"]
    component: WhichComponents

    @model_validator(mode="after")
    def _contours_fit(self) -> "BoxSection":
        contours = ("range", "upsampled", "above", 8)
        choices = (self.of, self.measured_on, self.comparison, self.connectivity)
        if self.extractor == "contours" and choices != contours:
            raise ValueError(
                "extractor: contours goes with of: range, measured_on: upsampled, comparison: "
                "above, connectivity: 8"
            )
        return self


class OneBoxSection(BoxSection):
    """The section ``box`` of a protocol of one threshold.

    Attributes:
        threshold: fraction in [0, 1] of the value that ``of`` names.
    """

    threshold: _Fraction

    @model_validator(mode="after")
    def _takes_the_largest(self) -> "OneBoxSection":
        if self.component == "all":
            raise ValueError("component: all needs a sweep, such as threshold: {step: 0.001}")
        return self


class SweepBoxSection(BoxSection):
    """The section ``box`` of a sweep over thresholds.

    Attributes:
        threshold: the grid of thresholds, and the images that the best one is chosen on.
    """

    threshold: Sweep


Frame = Literal["original", "input"]


class OneBoxScoring(Configuration):
    """The section ``scoring`` of a protocol of one threshold: when a box is a hit.

    Attributes:
        iou: least IoU with a ground-truth box of the class that is a hit, in (0, 1].
        frame: pixels in which boxes are compared: pixels of the ``original`` image, or of the
            network's ``input``, to which the inclusive corners of the ground truth are scaled and
            cut to whole numbers.
    """

    iou: _Iou
    frame: Frame


class SweepScoring(Configuration):
    """The section ``scoring`` of a sweep over thresholds: when a box is a hit.

    Attributes:
        iou: least IoU with a ground-truth box of the class that is a hit, in (0, 1]: one IoU,
            or several, each with its own best threshold.
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
            raise ValueError("expected each IoU once")
        return iou

    @property
    def ious(self) -> tuple[float, ...]:
        """The least IoUs as a tuple."""
        return self.iou if isinstance(self.iou, tuple) else (self.iou,)


class PixelSection(_Grid):
    """The section ``pixels``: how the pixels of a map are scored against a mask.

    Attributes:
        step: distance of the thresholds on a map scaled by its range: 0, step, ... below 1.
    """
