"""Ground-truth masks: which pixels of which files are object, and how a run stores that as text.

A mask is drawn in image files (one an instance), by numbers in one file (one a class), or in none:
the polygons of a JSON file become run lengths. A stored run reads its masks again, so what it
stores names the files, or holds the run lengths themselves: it needs no JSON file and no cache.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, Shaped
from PIL import Image

from wsol_bench.common import data_files
from wsol_bench.errors import ImageError

__all__ = ["MaskFiles", "MaskSource", "NumberedPixels", "RunLengths", "numbers_of", "source_name"]

# Two slashes mark what is no plain path: pathlib writes them at the beginning of a path at most.
_RUNS = re.compile(r"//([1-9][0-9]{0,7})x([1-9][0-9]{0,7})//(.*)", re.DOTALL)
_NUMBERED = re.compile(r"(.+)//([0-9]{1,8})", re.DOTALL)


class NumberedPixels(NamedTuple):
    """The pixels of an image file that hold one number, as ``numbers_of`` tells them.

    Attributes:
        path: path of the file, such as one of Pascal VOC's SegmentationClass.
        number: the number of a class or an instance.
    """

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path}//{self.number}"


class RunLengths(NamedTuple):
    """The pixels of a mask as run lengths, in the compressed text of COCO's tools.

    Attributes:
        height, width: size of the mask in pixels.
        counts: lengths of the runs, column by column, of background and object in turn: each as
            its difference from the last but one, in digits of five bits.
    """

    height: int
    width: int
    counts: str

    def __str__(self) -> str:
        return f"//{self.height}x{self.width}//{self.counts}"

    @property
    def n_object(self) -> int:
        """The number of pixels that are object; 0 if the text holds no run lengths."""
        runs = _run_lengths(self.counts)
        return 0 if runs is None else int(runs[1::2].sum())

    def pixels(self) -> Bool[np.ndarray, "h w"]:
        """The mask; a pixel is True if it is object.

        Raises:
            ImageError: the text holds no run lengths, or not those of a mask of this size.
        """
        runs = _run_lengths(self.counts)
        limit = Image.MAX_IMAGE_PIXELS
        n_pixels = self.height * self.width
        if limit is not None and n_pixels > limit:
            size = f"{self.width} x {self.height}"
            raise ImageError(f"expected a mask of at most {limit} pixels, found {size}")
        if runs is None or (runs < 0).any() or (runs > n_pixels).any() or runs.sum() != n_pixels:
            raise ImageError(
                f"expected the run lengths of {self.width} x {self.height} pixels, found "
                f"{self.counts[:40]!r}"
            )
        is_object = np.arange(len(runs)) % 2 == 1
        return np.repeat(is_object, runs).reshape(self.width, self.height).T


def _run_lengths(counts: str) -> Int64[np.ndarray, " n"] | None:
    """The lengths of the runs in a compressed text; None if it is no such text.

    A character is 48 and six bits: a sign that more follow, and five bits of the number, the lowest
    ones first. The highest bit of a number's last character is its sign. From the fourth number on
    each is the difference from the last but one.
    """
    bits = np.frombuffer(counts.encode("utf-8", "replace"), np.uint8).astype(np.int64) - 48
    if not len(bits) or bits.min() < 0 or bits.max() > 63 or bits[-1] & 32:
        return None
    last = (bits & 32) == 0
    ends = np.flatnonzero(last)
    begins = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(bits)) - np.repeat(begins, ends - begins + 1)
    if place.max() > 6:  # no run of an image has more than 35 bits
        return None
    numbers = np.add.reduceat((bits & 31) << (5 * place), begins)
    negative = (bits[ends] & 16) > 0
    numbers -= np.where(negative, 1 << (5 * (place[ends] + 1)), 0)
    # The first number stands for itself, and so do the second and the third.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


MaskSource = Path | NumberedPixels | RunLengths


def _source_of(text: str) -> MaskSource:
    """The source that a text of ``MaskFiles.names`` stands for."""
    if match := _RUNS.fullmatch(text):
        return RunLengths(int(match[1]), int(match[2]), match[3])
    if match := _NUMBERED.fullmatch(text):
        return NumberedPixels(Path(match[1]), int(match[2]))
    return Path(text)


def source_name(text: str) -> str:
    """The text of a source without the folder of its file, which is another on every machine."""
    source = _source_of(text)
    if isinstance(source, NumberedPixels):
        return f"{source.path.name}//{source.number}"
    return source.name if isinstance(source, Path) else text


class MaskFiles(NamedTuple):
    """The mask of an image, of any size but the image's proportions.

    Attributes:
        foreground: sources of the object's pixels, such as one file an instance. Of a plain path
            these are the pixels that are not zero. A pixel is object if it is in any source.
        ignore: source of the pixels that are ignored unless they are object; None for none.
    """

    foreground: tuple[MaskSource, ...]
    ignore: MaskSource | None

    @classmethod
    def of_names(cls, foreground: Iterable[str], ignore: str) -> "MaskFiles | None":
        """The mask that a run has stored by ``names``; None if there is no foreground.

        Args:
            foreground: texts of the foreground.
            ignore: text of the ignored pixels; "" for none.
        """
        sources = tuple(map(_source_of, foreground))
        return cls(sources, _source_of(ignore) if ignore else None) if sources else None

    @property
    def names(self) -> tuple[list[str], str]:
        """The mask as a run stores it: texts of the foreground, and of the ignored pixels."""
        return list(map(str, self.foreground)), "" if self.ignore is None else str(self.ignore)

    @property
    def sources(self) -> tuple[MaskSource, ...]:
        """All sources."""
        return self.foreground if self.ignore is None else (*self.foreground, self.ignore)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, each once."""
        of_sources = (
            source.path if isinstance(source, NumberedPixels) else source
            for source in self.sources
            if not isinstance(source, RunLengths)
        )
        return tuple(dict.fromkeys(of_sources))

    def identity(self) -> str:
        """The text that is another one if the mask is: names, sizes of files, and numbers.

        Raises:
            OSError: a file is missing.
        """
        parts = []
        for source in self.sources:
            if isinstance(source, RunLengths):
                parts.append(f"{source}\n")
                continue
            path = source.path if isinstance(source, NumberedPixels) else source
            parts.append(f"{source_name(str(source))} {data_files.status(path).st_size}\n")
        return "".join(parts)


def numbers_of(image: Image.Image) -> Shaped[np.ndarray, "h w"]:
    """The number that each pixel of an opened mask file holds.

    That is its sample or the index of its color in a palette, or R + 256 G + 65536 B in a file of
    colors, as in ImageNet-S and in COCO's panoptic masks.

    Raises:
        ImageError: the samples are no whole numbers, or Pillow would change them.
    """
    # Pillow scales gray samples of less than 8 bits, but not the indices of a palette.
    scaled = image.mode == "L" and ";" in str(getattr(image, "tile", ())[:1])
    if image.mode in ("RGB", "RGBA"):
        colors = np.asarray(image).astype(np.int64)
        return np.asarray(colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2])
    if scaled or not (image.mode in ("1", "L", "P", "I") or image.mode.startswith("I;16")):
        kind = "gray samples of less than 8 bits" if scaled else f"the mode {image.mode}"
        raise ImageError(
            "expected a mask of whole numbers (a palette, 8 or 16 bits of gray, or RGB), found "
            f"{kind}"
        )
    return np.asarray(image).astype(np.int64)
