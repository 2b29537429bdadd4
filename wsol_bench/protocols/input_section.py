"""The section ``input`` of a protocol: which pixels of an image the network sees, and how often.

A network sees the input itself. The fields ``scales`` and ``flip`` show it more views, whose maps
are averaged, and ``ten_crop`` shows it ten crops, whose probabilities are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, StrictBool, field_validator, model_serializer, model_validator

from wsol_bench.common.configuration import Configuration
from wsol_bench.common.validation_errors import CompleteError
from wsol_bench.errors import ImageError
from wsol_bench.geometry import GeometryName, Placement, place

__all__ = ["InputSection", "TenCrop", "View"]

# An input has at most this many pixels a side, so that a batch of images fits into memory.
_LARGEST = 4096
# The longest side of an input that keeps the image's shape, as a multiple of its shorter side.
_LONGEST = 16
# The most pixels of a resized image of which the input is a part.
_MOST_PIXELS = 2**26

_Side = Annotated[int, Field(ge=1, le=_LARGEST)]
_Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# The fields that say how often the network sees an image.
_VIEWS = ("scales", "flip", "ten_crop")


class TenCrop(Configuration):
    """The value of ``input.ten_crop``: how an image is resized before it is cropped.

    Attributes:
        resize: ``squash`` resizes to (``resize_to``, ``resize_to``), as Caffe does (the paper of
            CAM); ``shorter_side`` resizes the shorter side, as torchvision's Resize and TenCrop do.
        resize_to: that side in pixels, at least the input's ``size``.
    """

    resize: Literal["squash", "shorter_side"]
    resize_to: _Side


class View(NamedTuple):
    """A view of an image: pixels that the network sees, as they are or mirrored.

    Attributes:
        window: position of its pixels among ``InputSection.windows``.
        scale: its size as a multiple of the input's; 1 for a crop of ``ten_crop``.
        mirrored: whether it is the mirror image, left and right exchanged.
    """

    window: int = 0
    scale: float = 1.0
    mirrored: bool = False


class InputSection(Configuration):
    """The section ``input``: from the image file to the network's input.

    The last three fields are optional, and a protocol without them has the digest that it had
    before they were there.

    Attributes:
        size: side of the input in pixels, at most 4096; its shorter side for ``shorter_side``.
        geometry: how the input lies in the image; see ``wsol_bench.geometry.place``.
        resize_to: shorter side before the crop, in pixels (``center_crop`` only).
        filter: interpolation of the resize.
        antialias: true is Pillow's filter on 8-bit pixels, whose support grows with the reduction;
            false samples the filter at its own support, on floats.
        scales: sizes of the views that maps are made of, as multiples of the input's. The sides of
            a view are ``round(side * scale)`` pixels, at least 1, and its pixels are resized from
            the original image like those of the input. None for the input's size alone.
        flip: whether each of these views is also seen mirrored.
        ten_crop: if set, the predictions (ranks, scores and classification errors) come from the
            mean probability over ten crops of side ``size``: the four corners and the
            center, of the image and of its mirror image. None for predictions from the input.
    """

    size: _Side
    geometry: GeometryName
    resize_to: _Side | None = None
    filter: Literal["bilinear", "bicubic"]
    antialias: StrictBool
    scales: tuple[_Scale, ...] | None = None
    flip: StrictBool | None = None
    ten_crop: TenCrop | None = None

    @field_validator("flip")
    @classmethod
    def _no_flip_is_none(cls, value: bool | None) -> bool | None:
        return value or None  # one protocol has one digest

    @model_validator(mode="after")
    def _crop_fits(self) -> "InputSection":
        if (self.geometry == "center_crop") != (self.resize_to is not None):
            raise CompleteError(
                "expected resize_to with geometry: center_crop, and with no other geometry, found "
                f"geometry: {self.geometry} and resize_to: {self.resize_to or 'none'}"
            )
        if self.resize_to is not None and self.resize_to < self.size:
            raise CompleteError(
                f"resize_to {self.resize_to} is smaller than size {self.size}, the side of the crop"
            )
        if self.ten_crop is not None and self.ten_crop.resize_to < self.size:
            raise CompleteError(
                f"ten_crop.resize_to {self.ten_crop.resize_to} is smaller than size {self.size}, "
                "the side of the crops"
            )
        return self

    @model_validator(mode="after")
    def _scales_fit(self) -> "InputSection":
        if self.scales == ():
            raise CompleteError("scales: expected a list of at least 1, found []")
        scales = self.scales or ()
        if len(set(scales)) < len(scales):
            raise CompleteError(f"scales: expected each scale once, found {list(scales)}")
        if scales and round(self.size * max(scales)) > _LARGEST:
            raise CompleteError(
                f"scales: expected views of at most {_LARGEST} pixels a side, found a scale of "
                f"{max(scales):g} for size {self.size}"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before_without_views(self, serialize: Any) -> dict[str, Any]:
        """Leave out the unused fields, so that stored runs keep their digests."""
        content: dict[str, Any] = serialize(self)
        unused = [name for name in _VIEWS if getattr(self, name) is None]
        return {name: value for name, value in content.items() if name not in unused}

    def place(self, height: int, width: int) -> Placement:
        """The place of the input in an image of (height, width) pixels.

        Raises:
            ImageError: the image is so long and thin that its resized pixels, in any view, would
                fill the memory.
        """
        placement = place(
            height, width, geometry=self.geometry, size=self.size, resize_to=self.resize_to
        )
        largest = placement.scaled(max((1.0, *(self.scales or ()))))
        if self.geometry == "shorter_side":  # all of these pixels are the network's
            _require_fitting(largest, _LONGEST * min(largest.resized))
        else:
            _require_fitting(largest, _MOST_PIXELS // min(largest.resized))
        for crop in self._crops(height, width):
            _require_fitting(
                crop, _MOST_PIXELS // min(crop.resized), mend="choose ten_crop.resize: squash"
            )
        return placement

    def windows(self, height: int, width: int) -> list[Placement]:
        """The places of all pixels that the network sees of an image of (height, width) pixels.

        First comes the input, then the input at each of ``scales`` but 1, in order, and then the
        crops of ``ten_crop``: the corners, the center, and the center of the mirror image if
        that can be another.

        Raises:
            ImageError: as in ``place``.
        """
        placement = self.place(height, width)
        scaled = [placement.scaled(scale) for scale in self._other_scales]
        return [placement, *scaled, *self._crops(height, width)]

    @property
    def views(self) -> tuple[View, ...]:
        """The views whose maps are averaged, each followed by its mirror image under ``flip``."""
        return tuple(self._views())

    def _views(self) -> Iterator[View]:
        others = self._other_scales
        for scale in self.scales or (1.0,):
            window = 0 if scale == 1 else 1 + others.index(scale)
            yield View(window, scale)
            if self.flip:
                yield View(window, scale, mirrored=True)

    @property
    def crops(self) -> tuple[View, ...]:
        """The ten views whose probabilities are averaged under ``ten_crop``; none without it."""
        if self.ten_crop is None:
            return ()
        first = 1 + len(self._other_scales)
        *corners, center = range(first, first + 5)
        of_mirror = center if self.ten_crop.resize == "squash" else center + 1
        return (
            *(View(window) for window in (*corners, center)),
            *(View(window, mirrored=True) for window in (*corners, of_mirror)),
        )

    @property
    def further_sides(self) -> tuple[int, ...]:
        """The (shorter) sides in pixels of the views at other scales than 1."""
        return tuple(max(1, round(self.size * scale)) for scale in self._other_scales)

    @property
    def _other_scales(self) -> Sequence[float]:
        return [scale for scale in self.scales or () if scale != 1]

    def _crops(self, height: int, width: int) -> list[Placement]:
        if self.ten_crop is None:
            return []
        resize, side = self.ten_crop.resize, self.ten_crop.resize_to
        crops = place(height, width, geometry=resize, size=side).five_crops(self.size)
        if resize == "squash":
            return crops
        # Caffe mirrors the crops. Torchvision crops the mirror image, whose central crop lies a
        # pixel beside the mirrored one if the number of pixels around it is odd.
        top, left = crops[-1].offset
        right = crops[-1].resized[1] - self.size - left
        return [*crops, replace(crops[-1], offset=(top, right))]


def _require_fitting(
    placement: Placement, most: int, *, mend: str = "choose the geometry squash"
) -> None:
    """Raise ImageError if a side of the resized image is longer than ``most`` pixels."""
    if max(placement.resized) > most:
        (height, width), (resized_height, resized_width) = placement.original, placement.resized
        raise ImageError(
            f"expected an image of at most {most} pixels a side after resizing, found "
            f"{resized_width} x {resized_height} (width x height) from {width} x {height} "
            f"pixels; cut the image, or {mend}"
        )
