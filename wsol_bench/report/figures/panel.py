"""One panel of a figure: an image with the heat of a map, outlines and boxes."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, UInt8
from PIL import Image

from wsol_bench.geometry import Placement
from wsol_bench.images.masks import OBJECT
from wsol_bench.report.figures.style import dashed
from wsol_bench.scoring.region import Region

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "HALO",
    "LOOKS",
    "Panel",
    "Verdict",
    "draw_panel",
    "heat_bar",
    "heat_factor",
    "inside",
    "outline",
]

# A box without ground truth has no verdict, and is just a "box".
Verdict = Literal["hit", "miss", "not judged", "box"]


class Look(NamedTuple):
    """The look of a mark.

    Attributes:
        color: its color.
        width: the width of its line in points.
        dash: the lengths of dashes and gaps in points; none for a solid line.
    """

    color: str
    width: float
    dash: tuple[float, ...] = ()


HALO = "#101010"
LOOKS = {
    "truth": Look("#ffffff", 1.0),
    "hit": Look("#2ee66b", 1.3),
    "miss": Look("#ff4d4d", 1.3, (3.2, 1.6)),
    "not judged": Look("#4db8ff", 1.3, (1.2, 1.2)),
    "box": Look("#4db8ff", 1.3),
    "region": Look("#ffffff", 0.6),
    "other regions": Look("#ffffff", 0.4, (1.2, 1.6)),
}

# A map of which 99% of the pixels are below this share of its maximum is grainy.
_GRAINY = 0.5
_PERCENTILE = 99.0
# Outlines with more corners than this are drawn as pixels, also in a PDF. The outlines of more
# regions than this are thinner, since they would hide the heat.
_MOST_CORNERS, _MANY = 4000, 30
# Pixels of a picture in an inch of the paper.
_PIXELS = 200
_BLANK = 0.82


@dataclass(frozen=True, eq=False)
class Panel:
    """One image with what is drawn over it; coordinates are pixels of the image.

    Attributes:
        size: (height, width) of the image.
        picture: the image, which may be smaller; None if it cannot be read.
        placement: the place of the network's input; None for none.
        values: a map at the size of the input, which is drawn as heat; None for none.
        region: the map cut at a threshold, which is outlined; None for none.
        truth: the ground-truth boxes, half-open xyxy.
        mask: the ground-truth mask of the input; None for none.
        box: the predicted box; None for none.
        verdict: what the protocol says of it.
        note: a few words in the middle of the panel, such as why there is nothing to see.
    """

    size: tuple[int, int]
    picture: Image.Image | None = None
    placement: Placement | None = None
    values: Float32[np.ndarray, "height width"] | None = None
    region: Region | None = None
    truth: Float64[np.ndarray, "_ 4"] | tuple[()] = ()
    mask: UInt8[np.ndarray, "height width"] | None = None
    box: Float64[np.ndarray, " 4"] | None = None
    verdict: Verdict = "not judged"
    note: str = ""

    @property
    def factor(self) -> float:
        """The number by which the heat is multiplied; see ``heat_factor``."""
        return 1.0 if self.values is None else heat_factor(self.values)

    def without_heat(self) -> "Panel":
        """The image and its ground truth alone."""
        return replace(self, values=None, region=None, box=None, note="")


def heat_factor(values: Float[np.ndarray, "height width"]) -> float:
    """The number by which the colors of a map are multiplied, so that its heat is seen.

    It is 1 for most maps. A few extreme pixels of a grainy map, as of pixel gradients, would leave
    all others dark: if 99% of the pixels are below half of the maximum, colors end at the 99th
    percentile (of the positive pixels, if there are too few of them).
    """
    positive = np.where(np.isfinite(values), values, 0).clip(0)
    most = float(positive.max(initial=0))
    if most <= 0:
        return 1.0
    high = float(np.percentile(positive, _PERCENTILE))
    if high <= 0:
        high = float(np.percentile(positive[positive > 0], _PERCENTILE))
    return 1.0 if high >= _GRAINY * most else most / high


def heat_bar(n: int) -> UInt8[np.ndarray, "1 n 3"]:
    """The colors of heat from 0 to the maximum, over medium gray."""
    values = np.linspace(0, 1, n, dtype=np.float32)[None]
    return _as_bytes(_heated(np.full((1, n, 3), 0.5), values))


def draw_panel(axes: "Axes", panel: Panel, width: float) -> None:
    """Draw a panel into axes that it fills.

    Args:
        axes: axes of the image's aspect.
        panel: what to draw.
        width: the width of the axes in inches.
    """
    height, across = panel.size
    if panel.picture is not None:
        picture = panel.picture.copy()
        longest = round(_PIXELS * width * max(1, height / across))
        picture.thumbnail((longest, longest))
        panel = replace(panel, picture=picture)
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    axes.set(xlim=(0, across), ylim=(height, 0))
    pixels = _as_bytes(_pixels(panel))
    axes.imshow(pixels, extent=(0, across, height, 0), aspect="auto", interpolation="antialiased")
    axes.set(xlim=(0, across), ylim=(height, 0))
    point = across / (72 * width)  # pixels of the image in a point of the paper
    if panel.region is not None and panel.placement is not None:
        rest = panel.region.kept & ~panel.region.component
        _draw_outline(axes, rest, panel.placement, LOOKS["other regions"])
        _draw_outline(axes, panel.region.component, panel.placement, LOOKS["region"])
    if panel.mask is not None and panel.placement is not None:
        _draw_outline(axes, panel.mask == OBJECT, panel.placement, LOOKS["truth"])
    for box in panel.truth:
        _draw_box(axes, box, LOOKS["truth"], panel.size, point)
    if panel.box is not None:
        _draw_box(axes, panel.box, LOOKS[panel.verdict], panel.size, point)
    style: dict[str, Any] = {"fontsize": 5.5, "color": "white", "bbox": _TAG}
    if panel.note:
        axes.text(across / 2, height / 2, panel.note, ha="center", va="center", **style)
    if panel.factor > 1:
        place = (across - 3 * point, height - 3 * point)
        axes.text(*place, f"heat ×{panel.factor:.2g}", ha="right", va="bottom", **style)


_TAG = {"facecolor": HALO, "alpha": 0.7, "edgecolor": "none", "boxstyle": "square,pad=0.25"}


def inside(
    box: Float64[np.ndarray, " 4"], size: tuple[int, int], margin: float
) -> Float64[np.ndarray, " 4"]:
    """The corners of a box, moved inwards where they are nearer to the image's edge than a margin.

    Args:
        box: half-open xyxy.
        size: (height, width) of the image.
        margin: in pixels of the image.
    """
    height, width = size
    least, most = (
        np.array([margin] * 4),
        np.array([width - margin, height - margin] * 2, np.float64),
    )
    return np.minimum(np.maximum(box, np.minimum(least, most)), np.maximum(least, most))


def _pixels(panel: Panel) -> Float[np.ndarray, "h w 3"]:
    """The picture of a panel in [0, 1]: gray below heat, pale where the network did not look."""
    if panel.picture is None:
        shrink = min(1.0, 300 / max(panel.size))
        shape = [max(1, round(side * shrink)) for side in panel.size]
        picture = np.full((*shape, 3), _BLANK)
    else:
        picture = np.asarray(panel.picture.convert("RGB"), np.float64) / 255
    if panel.placement is None or (panel.values is None and panel.region is None):
        return picture
    values = np.zeros((1, 1), np.float32) if panel.values is None else panel.values
    gray = picture @ np.array([0.299, 0.587, 0.114])
    gray = np.repeat((0.1 + 0.8 * gray)[..., None], 3, axis=2)
    drawn = 0.5 + 0.5 * gray
    height, width = gray.shape[:2]
    x0, y0, x1, y1 = _window(panel.placement, (height, width))
    positive = np.where(np.isfinite(values), values, 0).clip(0)
    positive = positive * heat_factor(values) / max(float(positive.max()), 1e-30)
    size = (max(1, x1 - x0), max(1, y1 - y0))
    large = Image.fromarray(positive.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    drawn[y0:y1, x0:x1] = _heated(gray[y0:y1, x0:x1], np.asarray(large)[: y1 - y0, : x1 - x0])
    return drawn


def _window(placement: Placement, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The network's input in a picture of the image, as whole xyxy pixels."""
    height, width = placement.input
    [box] = placement.to_original(np.array([[0, 0, width, height]], np.float64))
    scale = np.array([size[1] / placement.original[1], size[0] / placement.original[0]] * 2)
    x0, y0, x1, y1 = np.rint(box * scale).astype(int).tolist()
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _heated(
    gray: Float[np.ndarray, "h w 3"], values: Float32[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 3"]:
    """A gray picture below heat, which is the more opaque the more of it there is."""
    from matplotlib import colormaps

    clipped = np.clip(values, 0, 1)
    alpha = 0.8 * np.minimum(1, 1.3 * clipped**0.9)[..., None]
    colors = colormaps["plasma"](clipped)[..., :3]
    mixed: Float[np.ndarray, "h w 3"] = gray * (1 - alpha) + colors * alpha
    return mixed


def _as_bytes(pixels: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.rint(255 * pixels).clip(0, 255).astype(np.uint8)


def _draw_box(
    axes: "Axes",
    box: Float64[np.ndarray, " 4"],
    look: Look,
    size: tuple[int, int],
    point: float,
) -> None:
    """Draw a box over a dark halo; all four sides are inside the image."""
    from matplotlib.patches import Rectangle

    halo = look.width + 0.9
    x0, y0, x1, y1 = inside(box, size, halo / 2 * point)
    for width, color, dash in ((halo, HALO, ()), (look.width, look.color, look.dash)):
        axes.add_artist(
            Rectangle(
                (x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, linewidth=width,
                linestyle=dashed(dash), alpha=0.75 if color == HALO else 1,
                joinstyle="miter", capstyle="butt",
            )
        )  # fmt: skip


def _draw_outline(
    axes: "Axes", mask: Bool[np.ndarray, "height width"], placement: Placement, look: Look
) -> None:
    """Draw the edges of the pixels of a mask of the network's input."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    rings = outline(mask)
    if not rings:
        return
    paths = []
    for ring in rings:
        corners = placement.to_original(np.tile(ring, 2))[:, :2]
        paths.append(Path(np.append(corners, corners[:1], axis=0), closed=True))
    path = Path.make_compound_path(*paths)
    strokes = [(look.width + 0.8, HALO, ()), (look.width, look.color, look.dash)]
    if len(rings) > _MANY:
        strokes = [(look.width / 2, look.color, ())]
    for width, color, dash in strokes:
        axes.add_artist(
            PathPatch(
                path, fill=False, edgecolor=color, linewidth=width,
                alpha=0.5 if color == HALO else 0.95, linestyle=dashed(dash),
                capstyle="butt", joinstyle="miter", rasterized=sum(map(len, rings)) > _MOST_CORNERS,
            )
        )  # fmt: skip


def outline(mask: Bool[np.ndarray, "height width"]) -> list[Float64[np.ndarray, "_ 2"]]:
    """The outlines of a mask as closed rings of corners (x, y), along the edges of its pixels."""
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    padded = np.pad(mask, 1)
    # A ring has the mask on its right: along the upper edge of a pixel it leads to the right.
    for turned in (False, True):
        values = padded.T if turned else padded
        inner = values[1:-1, 1:-1]
        for edges, forward in (
            (np.pad(inner, ((0, 1), (0, 0))) & ~values[:-1, 1:-1], not turned),
            (np.pad(inner, ((1, 0), (0, 0))) & ~values[1:, 1:-1], turned),
        ):
            changes = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
            lines, first = np.nonzero(changes == 1)
            end = np.nonzero(changes == -1)[1]
            for line, one, other in zip(lines.tolist(), first.tolist(), end.tolist(), strict=True):
                start, stop = (one, other) if forward else (other, one)
                a, b = ((line, start), (line, stop)) if turned else ((start, line), (stop, line))
                following.setdefault(a, []).append(b)
    rings = []
    while following:
        first_corner = corner = next(iter(following))
        ring = []
        while True:
            ring.append(corner)
            ends = following[corner]
            next_corner = ends.pop()
            if not ends:
                del following[corner]
            corner = next_corner
            if corner == first_corner:
                break
        rings.append(np.array(ring, np.float64))
    return rings
