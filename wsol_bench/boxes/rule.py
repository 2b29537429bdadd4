"""A protocol's way from maps to scores: one box, all boxes of a sweep, or the scores of pixels."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, no_type_check

import numba
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from wsol_bench.boxes.component import largest_components, levels_of
from wsol_bench.boxes.contours import contour_sweep
from wsol_bench.boxes.sweep import Components, Lasting, best_iou_curve, ranks_of, sweep
from wsol_bench.datasets import MaskFiles
from wsol_bench.geometry import Boxes, Placement, box_iou, to_input, to_original
from wsol_bench.masks import load_mask
from wsol_bench.protocols import BoxRule, MapRule, PixelRule, Protocol, ScoringRule

__all__ = [
    "Curve",
    "Scores",
    "Truth",
    "boxes_of_maps",
    "mask_of",
    "score_boxes",
    "score_maps",
    "status_of",
    "upsample",
]

# Maps at the input's size that lie in memory at a time: 8 of 224 x 224 fit a processor's cache.
_CHUNK = 8
_CONNECTIVITY = {4: 1, 8: 2}


class Truth(NamedTuple):
    """The ground truth of an image.

    Attributes:
        boxes: those of its class, half-open xyxy pixels of the image.
        mask: of its class, in a data set of masks.
    """

    boxes: Float64[np.ndarray, "_ 4"]
    mask: MaskFiles | None = None


class Curve(NamedTuple):
    """What a map is worth at every threshold of a protocol.

    Attributes:
        hits: one bit a threshold, for each least IoU of the protocol, in bytes of their own; first
            of the largest component, then (``component: all``) of all components.
        foreground, background: pixels of the object and others between each threshold and the next
            (the last: those at the maximum), as little-endian uint32.
    """

    hits: bytes = b""
    foreground: bytes = b""
    background: bytes = b""


class Scores(NamedTuple):
    """What maps are worth. What is measured of the own class alone is NaN elsewhere.

    Attributes:
        boxes: (n, 4) half-open xyxy pixels of the image; NaN where there is none.
        iou: (n,) best with the ground truth; 0 where there is no box; NaN under a protocol that
            does not choose one box.
        peak: (n, 2) x, y of the maximum (the center of its pixel) in pixels of the image; NaN where
            no value is positive.
        energy: (n,) share of the map's positive values that lies in the ground-truth boxes.
        curves: where the protocol has many thresholds, by index of a map of the own class.
    """

    boxes: Float64[np.ndarray, "n 4"]
    iou: Float64[np.ndarray, " n"]
    peak: Float64[np.ndarray, "n 2"]
    energy: Float64[np.ndarray, " n"]
    curves: dict[int, Curve]

    @classmethod
    def none(cls, n: int) -> "Scores":
        """Those of n maps that are not there."""
        return cls(
            np.full((n, 4), np.nan),
            np.full(n, np.nan),
            np.full((n, 2), np.nan),
            np.full(n, np.nan),
            {},
        )


def score_maps(
    maps: Float32[np.ndarray, "n h w"],
    image: Int64[np.ndarray, " n"],
    own: Bool[np.ndarray, " n"],
    placements: Sequence[Placement],
    truth: Sequence[Truth],
    protocol: Protocol,
) -> Scores:
    """Boxes of maps, and how well they meet the ground truth.

    Args:
        maps: as they are stored.
        image: index of each map's image.
        own: whether a map is that of its image's own class.
        placements: where the network's input lay in each image; all inputs of these maps have one
            size.
        truth: of each image.
        protocol: what turns maps into scores.
    """
    n = len(maps)
    scores = Scores.none(n)
    rule, scoring = protocol.box, protocol.scoring
    one_box = rule is not None and protocol.sweep is None
    boxes = scores.boxes
    for start in range(0, n, _CHUNK):
        some = slice(start, start + _CHUNK)
        mine = own[some]
        if not one_box and not mine.any():
            continue
        size = placements[image[start]].input
        large = upsample(maps[some], size, protocol.map)
        if one_box and rule:
            boxes[some] = _boxes_of(large, maps[some], protocol.map, rule)
        for index, values in zip(start + np.flatnonzero(mine), large[mine], strict=True):
            placement, theirs = placements[image[index]], truth[image[index]]
            scores.peak[index], scores.energy[index] = _pointing(values, placement, theirs.boxes)
            if rule and scoring and not one_box:
                found = _components(maps[index].tobytes(), maps.shape[1:], size, protocol.map, rule)
                framed = [_framed(lasting, placement, scoring) for lasting in found]
                scores.curves[int(index)] = _hits(framed, placement, theirs.boxes, rule, scoring)
            elif protocol.pixels:
                mask = mask_of(theirs.mask, placement)
                scores.curves[int(index)] = _histograms(values, mask, protocol.pixels)
    if not (one_box and scoring):
        return scores
    shown = to_original(boxes, placements, image)
    return scores._replace(
        boxes=shown, iou=_best_iou(boxes, shown, image, placements, truth, scoring)
    )


def score_boxes(
    boxes: Float64[np.ndarray, "n 4"],
    image: Int64[np.ndarray, " n"],
    own: Bool[np.ndarray, " n"],
    placements: Sequence[Placement],
    truth: Sequence[Truth],
    protocol: Protocol,
) -> Scores:
    """The same of boxes that need no map: one is right at every threshold, or at none.

    Args:
        boxes: half-open xyxy pixels of their images; NaN where there is none.
        image, own, placements, truth, protocol: as in ``score_maps``.
    """
    scores = Scores.none(len(boxes))
    rule, scoring = protocol.box, protocol.scoring
    if not (rule and scoring):
        return scores
    scores = scores._replace(boxes=boxes)
    inside = to_input(boxes, placements, image)
    if protocol.sweep is None:
        return scores._replace(iou=_best_iou(inside, boxes, image, placements, truth, scoring))
    last = np.array([len(protocol.sweep.thresholds) - 1], np.int32)
    compared = boxes if scoring.frame == "original" else inside
    for index in np.flatnonzero(own):
        always = Lasting(compared[[index]], 0 * last, last)
        placement, theirs = placements[image[index]], truth[image[index]]
        scores.curves[int(index)] = _hits([always] * 2, placement, theirs.boxes, rule, scoring)
    return scores


def status_of(scores: Scores, protocol: Protocol) -> np.ndarray:
    """What became of each map: ``box``, ``no_box``, or ``swept`` where no one box is chosen."""
    if protocol.box is None or protocol.sweep:
        return np.full(len(scores.boxes), "swept", dtype=object)
    return np.where(np.isnan(scores.boxes[:, 0]), "no_box", "box").astype(object)


def _best_iou(
    boxes: Float64[np.ndarray, "n 4"],
    shown: Float64[np.ndarray, "n 4"],
    image: Int64[np.ndarray, " n"],
    placements: Sequence[Placement],
    truth: Sequence[Truth],
    scoring: ScoringRule,
) -> Float64[np.ndarray, " n"]:
    """The best IoU of boxes, in pixels of the input and of the image; 0 where there is none."""
    ours = shown if scoring.frame == "original" else boxes
    pairs = zip(truth, placements, strict=True)
    framed = [_in_frame(one.boxes, place, scoring) for one, place in pairs]
    counts = np.array([len(one) for one in framed], np.int64)[image]
    best = np.zeros(len(boxes))
    for position in range(int(counts.max(initial=0))):
        # The n-th ground-truth box of every image that has so many.
        some = np.flatnonzero(counts > position)
        theirs = np.array([framed[index][position] for index in image[some]])
        best[some] = np.maximum(best[some], box_iou(ours[some], theirs))
    return best


def _in_frame(boxes: Boxes, placement: Placement, scoring: ScoringRule) -> Boxes:
    """Ground-truth boxes in the pixels that are compared."""
    if scoring.frame == "original" or not len(boxes):
        return boxes
    # As wsolevaluation does it: inclusive corners are scaled, then cut to whole numbers.
    last = np.array([0.0, 0.0, 1.0, 1.0])
    return np.trunc(to_input(boxes - last, [placement], np.zeros(len(boxes), np.int64))) + last


def boxes_of_maps(
    maps: Float32[np.ndarray, "n h w"], size: tuple[int, int], map_rule: MapRule, box_rule: BoxRule
) -> Float64[np.ndarray, "n 4"]:
    """One half-open xyxy box a map, in pixels of the input; a row of NaN where there is no box.

    Args:
        maps: as the method made them, signed or not.
        size: (height, width) of the network's input.
        map_rule: from low resolution to the input's size.
        box_rule: of one threshold.
    """
    boxes = np.empty((len(maps), 4))
    for start in range(0, len(maps), _CHUNK):
        some = maps[start : start + _CHUNK]
        large = upsample(some, size, map_rule)
        boxes[start : start + _CHUNK] = _boxes_of(large, some, map_rule, box_rule)
    return boxes


def _boxes_of(
    large: Float32[np.ndarray, "n height width"],
    maps: Float32[np.ndarray, "n h w"],
    map_rule: MapRule,
    box_rule: BoxRule,
) -> Float64[np.ndarray, "n 4"]:
    if box_rule.extractor == "contours":
        threshold = np.array([box_rule.threshold])
        return np.array(
            [contour_sweep(one, threshold).largest.boxes[0] for one in large], np.float64
        )
    low, high = _extrema(large, maps, map_rule, box_rule)
    levels = levels_of(low, high, threshold=_one(box_rule), of=box_rule.of)
    return largest_components(
        large,
        levels,
        comparison=box_rule.comparison,
        connectivity=_CONNECTIVITY[box_rule.connectivity],
    )


def _one(rule: BoxRule) -> float:
    if not isinstance(rule.threshold, float):
        raise ValueError(f"expected a rule of one threshold, found {rule.threshold!r}")
    return rule.threshold


def _extrema(
    large: Float32[np.ndarray, "n height width"],
    maps: Float32[np.ndarray, "n h w"],
    map_rule: MapRule,
    box_rule: BoxRule,
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """The extrema that levels are measured by; NaN where a value of the map is not finite."""
    measured = large
    if box_rule.measured_on == "low_resolution":
        measured = np.maximum(maps, 0) if map_rule.rectify == "before_upsampling" else maps
    flat = measured.reshape(len(maps), measured[0].size)
    low, high = flat.min(axis=1).astype(np.float64), flat.max(axis=1).astype(np.float64)
    high[~np.isfinite(maps).all(axis=(1, 2))] = np.nan
    return low, high


# Baselines and tools may give the same map for many images.
@lru_cache(maxsize=8)
def _components(
    values: bytes, shape: tuple[int, int], size: tuple[int, int], map_rule: MapRule, rule: BoxRule
) -> Components:
    """The boxes of a map at every threshold of a sweep, in pixels of the input."""
    maps = np.frombuffer(values, np.float32).reshape(1, *shape)
    large = upsample(maps, size, map_rule)
    thresholds = _grid(rule)
    every = rule.component == "all"
    if rule.extractor == "contours":
        return contour_sweep(large[0], thresholds, every=every)
    [low], [high] = _extrema(large, maps, map_rule, rule)
    levels = levels_of(low, high, threshold=thresholds, of=rule.of)
    ranks = ranks_of(large[0], levels, comparison=rule.comparison)
    connectivity = _CONNECTIVITY[rule.connectivity]
    return sweep(ranks, len(levels), connectivity=connectivity, every=every)


def _grid(rule: BoxRule) -> Float64[np.ndarray, " t"]:
    if isinstance(rule.threshold, float):
        raise ValueError(f"expected a sweep, found the threshold {rule.threshold}")
    return rule.threshold.thresholds


def _framed(lasting: Lasting, placement: Placement, scoring: ScoringRule) -> Lasting:
    """Boxes of the input in the pixels that are compared."""
    boxes = lasting.boxes.astype(np.float64)
    if scoring.frame == "original":
        boxes = to_original(boxes, [placement], np.zeros(len(boxes), np.int64))
    return lasting._replace(boxes=boxes)


def _hits(
    found: Sequence[Lasting],
    placement: Placement,
    boxes: Boxes,
    rule: BoxRule,
    scoring: ScoringRule,
) -> Curve:
    """At which thresholds the boxes of a map are right: the largest's, and those of all."""
    truth = _in_frame(boxes, placement, scoring)
    bits = []
    for lasting in found if rule.component == "all" else found[:1]:
        curve = best_iou_curve(lasting, truth, len(_grid(rule)))
        bits += [np.packbits(curve >= least).tobytes() for least in scoring.ious]
    return Curve(hits=b"".join(bits))


def mask_of(files: MaskFiles | None, placement: Placement) -> UInt8[np.ndarray, "h w"]:
    """The mask of the part of an image that is the network's input.

    Raises:
        ImageError: a file that cannot be read.
        ValueError: an image without masks.
    """
    if files is None:
        raise ValueError("expected an image with a mask")
    named = [path for path in (*files.foreground, files.ignore) if path]
    return _mask(files, placement, tuple(map(_stamp, named)))


def _stamp(path: Path) -> tuple[int, int]:
    """What changes with a file."""
    try:
        stat = path.stat()
    except OSError:  # reading it says why
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


# Every method asks for the masks of its batch.
@lru_cache(maxsize=256)
def _mask(
    files: MaskFiles, placement: Placement, stamps: tuple[tuple[int, int], ...]
) -> UInt8[np.ndarray, "h w"]:
    top, left = placement.offset
    height, width = placement.input
    return load_mask(files, placement.resized)[top : top + height, left : left + width]


def _histograms(
    values: Float32[np.ndarray, "h w"], mask: UInt8[np.ndarray, "h w"], rule: PixelRule
) -> Curve:
    """How many pixels of the object and of the rest lie between thresholds."""
    low, high = values.min(), values.max()
    scaled = np.zeros_like(values)
    if low < high and np.isfinite(high - low):
        scaled = values - low
        scaled /= scaled.max()
    levels = np.append(rule.thresholds, 1.0)
    bins = ranks_of(scaled, levels, comparison="at_least") - 1
    counts = (
        np.bincount(bins[mask == kind], minlength=len(levels)).astype("<u4").tobytes()
        for kind in (1, 0)
    )
    return Curve(b"", *counts)


def _pointing(
    values: Float32[np.ndarray, "height width"], placement: Placement, truth: Boxes
) -> tuple[Float64[np.ndarray, " 2"], float]:
    """Where the maximum lies, and the share of the positive values in the ground-truth boxes."""
    none = np.zeros(len(truth), np.int64)
    x, y, inside, whole = _peak_and_energy(values, to_input(truth, [placement], none))
    if not (whole > 0 and np.isfinite(whole)):
        return np.full(2, np.nan), float("nan")
    point = np.array([[x, y, x, y]]) + 0.5
    return to_original(point, [placement], np.zeros(1, np.int64))[0, :2], inside / whole


def upsample(
    maps: Float32[np.ndarray, "n h w"], size: tuple[int, int], rule: MapRule
) -> Float32[np.ndarray, "n height width"]:
    """Maps at the input's (height, width), rectified where the protocol says.

    torch's interpolation, to the rounding of float32: it is separable and linear, so its weights
    along an axis are what it makes of the unit vectors.
    """
    if rule.rectify == "before_upsampling":
        maps = np.maximum(maps, 0)
    vertical, horizontal = (
        _weights(before, after, rule.upsample, rule.align_corners)
        for before, after in zip(maps.shape[1:], size, strict=True)
    )
    large = np.empty((len(maps), *size), np.float32)
    _interpolate(np.ascontiguousarray(maps), vertical, horizontal, large)
    return np.maximum(large, 0) if rule.rectify == "after_upsampling" else large


@lru_cache(maxsize=64)
def _weights(
    before: int, after: int, mode: str, align_corners: bool
) -> Float32[np.ndarray, "after before"]:
    """Weights of each sample in each interpolated one, along an axis."""
    columns = torch.eye(before)[None, None]
    aligned = None if mode == "nearest" else align_corners
    weights = F.interpolate(columns, size=(after, before), mode=mode, align_corners=aligned)[0, 0]
    return weights.numpy()


@no_type_check
@numba.njit(nogil=True, cache=True)
def _interpolate(maps, vertical, horizontal, large):
    n, before, narrow = maps.shape
    height, width = large.shape[1:]
    wide = np.empty((before, width), np.float32)
    for index in range(n):
        wide[:] = 0
        for x in range(width):
            for i in range(narrow):
                weight = horizontal[x, i]
                if weight != 0:
                    for y in range(before):
                        wide[y, x] += weight * maps[index, y, i]
        for y in range(height):
            for x in range(width):
                large[index, y, x] = 0
            for i in range(before):
                weight = vertical[y, i]
                if weight != 0:
                    for x in range(width):
                        large[index, y, x] += weight * wide[i, x]


@no_type_check
@numba.njit(nogil=True, cache=True)
def _peak_and_energy(values, boxes):
    """First maximum in raster order (x, y), and the sums of positive values: in boxes, in all.

    A pixel is in a box where its center is.
    """
    height, width = values.shape
    whole = 0.0
    inside = 0.0
    top_x, top_y = 0, 0
    covered = np.empty(width, np.bool_)
    for y in range(height):
        row = 0.0
        for x in range(width):
            value = values[y, x]
            if value > values[top_y, top_x]:
                top_x, top_y = x, y
            # Not a number stays one in the sum.
            row += 0.0 if value <= 0 else value
        whole += row
        covered[:] = False
        for index in range(len(boxes)):
            x0, y0, x1, y1 = boxes[index]
            if y0 <= y + 0.5 < y1:
                first, last = max(0, int(np.ceil(x0 - 0.5))), min(width, int(np.ceil(x1 - 0.5)))
                for x in range(first, last):
                    if not covered[x]:
                        covered[x] = True
                        inside += max(values[y, x], np.float32(0))
    return top_x, top_y, inside, whole
