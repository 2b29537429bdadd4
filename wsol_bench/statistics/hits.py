"""Hits of many images on curves over thresholds, packed to one bit each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8

__all__ = ["Hits"]

# Hits that are unpacked at a time: they stay in the processor's cache.
_BLOCK = 2**18


@dataclass(frozen=True, eq=False)
class Hits:
    """Hits of images on curves over thresholds, one bit each.

    They stand for the matrix that ``unpacked`` returns: all numbers are the same, bit for bit. They
    are never unpacked all at once: 50,000 images on six curves over 1,000 thresholds take 38 MB,
    and the matrix takes 300 MB.

    >>> from wsol_bench.statistics.columns import column_means
    >>> hits = np.array([[[True, False, False]], [[True, True, False]]])
    >>> column_means(Hits(np.packbits(hits, axis=2), 3))
    array([1. , 0.5, 0. ])

    Attributes:
        packed: eight thresholds a byte, the first in the highest bit, as
            ``np.packbits(hits, axis=2)`` packs them; shape (images, curves, bytes). The bits behind
            the last threshold are 0.
        n_thresholds: number of thresholds of every curve.

    Raises:
        ValueError: the number of bytes does not fit the number of thresholds, or a bit behind the
            last threshold is set.
    """

    packed: UInt8[np.ndarray, "n curves bytes"]
    n_thresholds: int

    def __post_init__(self) -> None:
        width = -(-self.n_thresholds // 8)
        if self.packed.ndim != 3 or self.packed.shape[2] != width:
            raise ValueError(
                f"expected hits of shape (images, curves, {width}) for {self.n_thresholds} "
                f"thresholds, found shape {self.packed.shape}"
            )
        n_padding = 8 * width - self.n_thresholds
        if n_padding and np.any(self.packed[:, :, -1] & (1 << n_padding) - 1):
            raise ValueError(f"expected no hit behind threshold {self.n_thresholds - 1}, found one")

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the matrix: images, and the thresholds of all curves side by side."""
        return len(self), self.packed.shape[1] * self.n_thresholds

    def curves(self, chosen: slice | Sequence[int]) -> "Hits":
        """The hits on the chosen curves, in the order in which they are named."""
        return Hits(self.packed[:, chosen], self.n_thresholds)

    def __getitem__(self, rows: slice | Int64[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "Hits":
        """The hits of the chosen images."""
        return Hits(self.packed[rows], self.n_thresholds)

    def where(self, kept: Bool[np.ndarray, " n"]) -> "Hits":
        """The hits of the kept images; the other images miss at every threshold."""
        return Hits(np.where(kept[:, None, None], self.packed, np.uint8(0)), self.n_thresholds)

    def at(self, columns: Int64[np.ndarray, " c"]) -> Bool[np.ndarray, "n c"]:
        """The chosen columns of the matrix, unpacked."""
        curve, threshold = np.divmod(columns, self.n_thresholds)
        bits = self.packed[:, curve, threshold // 8] >> (7 - threshold % 8).astype(np.uint8)
        return (bits & 1).astype(np.bool_)

    def unpacked(self) -> Bool[np.ndarray, "n m"]:
        """The matrix: one row an image, one column a threshold, the curves side by side."""
        bits = np.unpackbits(self.packed, axis=2, count=self.n_thresholds)
        return bits.reshape(self.shape).view(np.bool_)

    def blocks(self) -> Iterator[Bool[np.ndarray, "_ m"]]:
        """The matrix, a block of rows at a time."""
        n, m = self.shape
        n_rows = max(1, _BLOCK // max(m, 1))
        return (self[start : start + n_rows].unpacked() for start in range(0, n, n_rows))

    def bytes(self) -> UInt8[np.ndarray, "n _"]:
        """The rows as they are packed; they sort in the order of the matrix's rows."""
        return self.packed.reshape(len(self), self.packed[0].size)
