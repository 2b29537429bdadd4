"""Paint for the embedded data set: outlines, colors, textures, and layers made of them."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float32
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["Layer", "Palette", "Thing", "grid", "mix", "noise", "paint"]

_SUPERSAMPLING = 4

Role = Literal["ground", "instance", "distractor", "occluder"]
Points = Float[np.ndarray, "n 2"]
Color = Float32[np.ndarray, "3"]


class Layer(NamedTuple):
    """A patch of paint, its corner at (`top`, `left`) of the image.

    Layers of role "ground" (shadows, patches of texture) lie under everything and hide nothing.
    """

    role: Role
    top: int
    left: int
    alpha: Float32[np.ndarray, "h w"]
    """Coverage, 0..1."""
    color: Float32[np.ndarray, "3 h w"]
    """sRGB, 0..1."""

    @property
    def window(self) -> tuple[slice, slice]:
        """The layer's rows and columns of the image."""
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


# --- outlines: points around the origin, of any size ----------------------------------------------


def _polar(radius: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]) -> Points:
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    return _around(radius(angle), angle)


def _around(radius: Float[np.ndarray, " n"], angle: Float[np.ndarray, " n"]) -> Points:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _spikes(n: int, inner: float) -> Points:
    angle = np.arange(2 * n) * np.pi / n
    radius = np.where(np.arange(2 * n) % 2 == 0, 1.0, inner)
    return _around(radius, angle)


def _regular(n: int) -> Points:
    return _spikes(n, np.cos(np.pi / n))


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y - 2], axis=1)


def _crescent(bite: float) -> Points:
    # The tips lie at angles +-tip of the outer circle; the inner arc passes through them.
    tip = 0.9
    outer = np.linspace(tip, 2 * np.pi - tip, 80)
    center, x, y = bite, np.cos(tip), np.sin(tip)
    radius = np.hypot(x - center, y)
    start = np.arctan2(y, x - center)
    inner = np.linspace(2 * np.pi - start, start, 60)
    arc = np.stack([center + radius * np.cos(inner), radius * np.sin(inner)], axis=1)
    return np.concatenate([np.stack([np.cos(outer), np.sin(outer)], axis=1), arc])


def _cross(arm: float) -> Points:
    quarter = np.array([[1, -arm], [1, arm], [arm, arm]])
    turn = np.array([[0, 1], [-1, 0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


def _pill(length: float) -> Points:
    points = _polar(np.ones_like)
    points[:, 0] += np.where(points[:, 0] >= 0, length, -length)
    return points


def _blob(rng: Generator) -> Points:
    size, phase = rng.uniform(0, 0.5, 4) / np.arange(1, 5), rng.uniform(0, 2 * np.pi, 4)
    return _polar(
        lambda t: 1 + (size[:, None] * np.cos(np.outer(np.arange(1, 5), t) + phase[:, None])).sum(0)
    )


def _outline(rng: Generator, name: str) -> tuple[Points, Points | None]:
    """The points of an outline and those of the hole in it, if any."""
    free = rng.uniform()  # sets the one proportion that varies in an outline
    circle = _polar(np.ones_like)
    match name:
        case "star":
            return _spikes(5, 0.42 + 0.12 * free), None
        case "flower":
            return _polar(lambda t: 1 + (0.18 + 0.14 * free) * np.cos(5 * t)), None
        case "ring":
            return circle, (0.42 + 0.16 * free) * circle
        case "crescent":
            return _crescent(0.35 + 0.2 * free), None
        case "cross":
            return _cross(0.3 + 0.15 * free), None
        case "square":
            return _regular(4), None
        case "heart":
            return _heart(), None
        case "triangle":
            return _regular(3), None
        case "disk":
            return circle, None
        case "hexagon":
            return _regular(6), None
        case "half disk":
            return circle[:60], None
        case "pill":
            return _pill(0.4 + 0.8 * free), None
        case "trefoil":
            return _polar(lambda t: 1 + (0.25 + 0.15 * free) * np.cos(3 * t)), None
        case "burst":
            return _spikes(8, 0.55 + 0.15 * free), None
        case _:
            return _blob(rng), None


def _coverage(
    points: Points, hole: Float[np.ndarray, "m 2"] | None, height: int, width: int
) -> Image.Image:
    """Fill a polygon, (x, y) points in pixels, with anti-aliased edges."""
    scale = _SUPERSAMPLING
    mask = Image.new("L", (width * scale, height * scale))
    pen = ImageDraw.Draw(mask)
    pen.polygon([(x, y) for x, y in points * scale], fill=255)
    if hole is not None:
        pen.polygon([(x, y) for x, y in hole * scale], fill=0)
    return mask.reduce(scale)


# --- color and texture ----------------------------------------------------------------------------


def _oklch(lightness: float, chroma: float, hue: float) -> Color:
    """sRGB, 0..1, of a color given in OKLCH (hue in turns), so that contrast is as it looks."""
    a, b = chroma * np.cos(2 * np.pi * hue), chroma * np.sin(2 * np.pi * hue)
    lms = np.array(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(to_rgb @ lms**3, 0, 1)
    srgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    color: Color = srgb.astype(np.float32)
    return color


def mix(
    first: Color, second: Color, amount: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "3 h w"]:
    """Mix two colors: the first at amount 0, the second at amount 1."""
    mixed: Float32[np.ndarray, "3 h w"] = (
        first[:, None, None] + (second - first)[:, None, None] * amount
    )
    return mixed


def _pattern(
    rng: Generator,
    texture: str,
    x: Float32[np.ndarray, "h w"],
    y: Float32[np.ndarray, "h w"],
    period: float,
) -> Float32[np.ndarray, "h w"]:
    """A two-tone texture, 0..1, its edges one pixel soft; x and y in pixels."""
    k = 2 * np.pi / period
    p, q = rng.uniform(0, 2 * np.pi, 2)
    match texture:
        case "striped":
            wave = np.sin(k * x + p) - rng.uniform(-0.35, 0.35)
        case "dotted":
            wave = np.cos(k * x + p) + np.cos(k * y + q) - rng.uniform(0.7, 1.1)
        case "checked":
            wave = 2 * np.cos(k * x / 1.4 + p) * np.cos(k * y / 1.4 + q)
        case "mottled":
            cells = [max(4, round(2 * side / period)) for side in x.shape]
            noise = Image.fromarray(rng.normal(size=cells).astype(np.float32))
            wave = np.asarray(noise.resize(x.shape[::-1], Image.Resampling.BICUBIC))
        case "zigzag":
            wave = np.sin(k * x + 1.5 * np.arcsin(np.sin(k * y + q)) + p)
        case _:
            return np.zeros_like(x)
    pattern: Float32[np.ndarray, "h w"] = np.clip(0.5 + wave / k, 0, 1).astype(np.float32)
    return pattern


def noise(rng: Generator, height: int, width: int, slope: float) -> Float32[np.ndarray, "h w"]:
    """Noise with amplitude 1 / frequency**slope, zero mean, unit deviation."""
    # Half the resolution: the finest octave comes from the grain.
    h, w = -(-height // 2), -(-width // 2)
    white = np.fft.rfft2(rng.normal(size=(h, w)))
    frequency = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None] * 1.0)
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(white / frequency**slope, (h, w))
    small = Image.fromarray((field / field.std()).astype(np.float32))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


class Palette(NamedTuple):
    """The colors of one image: a hue, a lightness, and how far things stand out."""

    hue: float
    lightness: float
    contrast: float

    def near(self, rng: Generator) -> Color:
        """A color of the background."""
        lightness = self.lightness + rng.uniform(-0.14, 0.14)
        return _oklch(lightness, rng.uniform(0.02, 0.1), self.hue + rng.uniform(-0.12, 0.12))

    def pair(self, rng: Generator) -> tuple[Color, Color]:
        """Two tones of one thing, apart by the image's contrast; the darker comes first or last."""
        hue = self.hue + rng.choice([0.08, 0.33, 0.5, 0.67, 0.92]) + rng.uniform(-0.06, 0.06)
        half = self.contrast * rng.uniform(0.35, 0.65)
        middle = rng.uniform(0.3 + half, 0.92 - half)
        tones = (
            _oklch(middle - half, rng.uniform(0.06, 0.17), hue),
            _oklch(middle + half, rng.uniform(0.04, 0.14), hue + rng.uniform(-0.1, 0.1)),
        )
        return tones if rng.uniform() < 0.5 else tones[::-1]

    def gray(self, rng: Generator) -> Color:
        """A neutral color, for what hides things."""
        return _oklch(rng.uniform(0.25, 0.9), 0.015, self.hue)


# --- layers ---------------------------------------------------------------------------------------


class Thing(NamedTuple):
    """A thing to paint: an outline in a texture; `extent` is its box's longer side in pixels."""

    role: Role
    outline: str
    texture: str
    extent: float
    stretch: float = 1.0


def paint(
    rng: Generator, thing: Thing, palette: Palette, size: tuple[int, int]
) -> tuple[Layer, Layer]:
    """A thing at a random place inside the image, and its shadow."""
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points, hole = _outline(rng, thing.outline)
    warp = np.diag([thing.stretch, 1 / thing.stretch]) @ rotation
    points = points @ warp
    low, high = points.min(0), points.max(0)
    zoom = thing.extent / float((high - low).max())
    margin = 2 + thing.extent * 0.06
    width, height = (int(x) for x in np.ceil((high - low) * zoom + 2 * margin))
    shift = np.array([width, height]) / 2 - (low + high) / 2 * zoom
    mask = _coverage(
        points * zoom + shift,
        None if hole is None else hole @ warp * zoom + shift,
        height,
        width,
    )
    alpha = np.asarray(mask, np.float32) / 255

    y, x = grid(height, width)
    slant = rng.uniform(0, 2 * np.pi)
    cos, sin = float(np.cos(slant)), float(np.sin(slant))
    u, v = x * cos + y * sin, y * cos - x * sin
    finest = 0.026 * max(size)  # finer, it would not outlive a classifier's resize
    period = float(max(thing.extent / rng.uniform(3.0, 7.0), finest))
    if thing.role == "occluder":
        tones = palette.gray(rng), palette.gray(rng)
    else:
        tones = palette.pair(rng)
    color = mix(*tones, _pattern(rng, thing.texture, u, v, period))

    # Light falls from the upper left: a slope over the whole thing and a bevel at its edge.
    soft = np.asarray(mask.filter(ImageFilter.BoxBlur(margin / 2)), np.float32) / 255
    reach = max(1, round(margin / 2))
    bevel = soft - np.roll(soft, (reach, reach), (0, 1))
    color = color * (1 - 0.4 / (width + height) * (x + y)) + 0.3 * bevel

    top, left = _place(rng, size[0], height, margin), _place(rng, size[1], width, margin)
    layer = Layer(thing.role, top, left, alpha, color)
    dark = np.full_like(color, 0.03)
    shadow = Layer("ground", top + reach, left + reach, 0.45 * soft, dark)
    return _crop(layer, size), _crop(shadow, size)


def grid(height: int, width: int) -> tuple[Float32[np.ndarray, "_ _"], Float32[np.ndarray, "_ _"]]:
    """Rows and columns, in pixels from the middle, as (h, 1) and (1, w)."""
    y = np.arange(height, dtype=np.float32) - height / 2
    x = np.arange(width, dtype=np.float32) - width / 2
    return y[:, None], x[None]


def _place(rng: Generator, side: int, length: int, margin: float) -> int:
    """A random start of a patch of `length` that keeps the part inside its margins in the image."""
    inner = int(margin) - 1
    return int(rng.integers(-inner, max(side - length + inner, -inner) + 1))


def _crop(layer: Layer, size: tuple[int, int]) -> Layer:
    """The part of a layer inside the image."""
    top, left = max(layer.top, 0), max(layer.left, 0)
    rows = slice(top - layer.top, size[0] - layer.top)
    columns = slice(left - layer.left, size[1] - layer.left)
    alpha = layer.alpha[rows, columns]
    return Layer(layer.role, top, left, alpha, layer.color[:, rows, columns])
