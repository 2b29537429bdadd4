"""Scenes of the embedded data set: the things in an image, and which pixels of them are visible."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from numpy.random import Generator
from PIL import Image, ImageFilter

from wsol_bench.datasets.shapes.paint import Layer, Palette, Thing, grid, mix, noise, paint

__all__ = ["CLASSES", "Drawing", "Scene", "compose", "draw_image", "render", "visible_masks"]

OUTLINES = ("star", "ring", "heart", "cross")
TEXTURES = ("striped", "dotted", "checked", "mottled")
CLASSES = tuple(
    (f"n9{4 * i + j:07d}", f"{texture} {outline}")
    for i, outline in enumerate(OUTLINES)
    for j, texture in enumerate(TEXTURES)
)
"""(wnid, words) of each class; its position is the label."""

# Outlines and textures of no class: one of them makes a thing a distractor.
_OTHER_OUTLINES = (
    *("flower", "crescent", "square", "triangle", "disk"),
    *("hexagon", "half disk", "pill", "trefoil", "burst"),
)
_OTHER_TEXTURES = ("plain", "zigzag")

_VISIBLE = 0.5  # least coverage of a pixel that counts as the instance's
_MIN_VISIBLE_FRACTION = 0.6  # least visible share of an instance, after all occlusion
_APART = 0.9  # least visible share while only instances hide one another


class Scene(NamedTuple):
    """An image before it is painted: `layers` from the bottom up."""

    background: Float32[np.ndarray, "3 height width"]
    layers: tuple[Layer, ...]
    grain: Float32[np.ndarray, "height width"]
    """The camera's noise, added last."""


class Drawing(NamedTuple):
    """A painted image and the instances of its class."""

    image: UInt8[np.ndarray, "height width 3"]
    boxes: Int64[np.ndarray, "n 4"]
    """0-based inclusive xyxy corners of each instance's visible pixels."""
    masks: Bool[np.ndarray, "n height width"]
    """The visible pixels of each instance."""


def compose(rng: Generator, label: int, height: int, width: int) -> Scene:
    """Choose and place the things in an image of class `label` (position in `CLASSES`)."""
    size = (height, width)
    palette = Palette(rng.uniform(), rng.uniform(0.35, 0.8), rng.uniform(0.12, 0.4))
    texture, outline = CLASSES[label][1].split()
    side = np.sqrt(height * width)

    n = int(rng.choice([1, 2, 3, 4], p=[0.55, 0.25, 0.12, 0.08]))
    largest = min(0.9 * min(size), 1.1 * side / n**0.75)
    layers: list[Layer] = []
    ground: list[Layer] = []

    def extent(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low * side), np.log(max(high, 1.2 * low * side)))))

    def add(thing: Thing, least: float = _MIN_VISIBLE_FRACTION) -> bool:
        layer, shadow = paint(rng, thing, palette, size)
        if _least_seen([*layers, layer]) < least:
            return False
        layers.append(layer)
        ground.append(shadow)
        return True

    def distract(high: float) -> None:
        if rng.uniform() < 0.5:
            kind = outline if rng.uniform() < 0.4 else str(rng.choice(OUTLINES))
            coat = str(rng.choice(_OTHER_TEXTURES))
        else:
            kind, coat = str(rng.choice(_OTHER_OUTLINES)), str(rng.choice(TEXTURES))
        add(Thing("distractor", kind, coat, extent(0.1, high), rng.uniform(0.85, 1.18)))

    # Clutter varies: some images show little but their class, a few are crowded.
    clutter = rng.uniform() ** 1.5
    for _ in range(rng.binomial(2, clutter)):
        patch = Thing("ground", "blob", str(rng.choice(TEXTURES)), extent(0.2, 0.6 * side))
        ground.append(_soften(paint(rng, patch, palette, size)[0]))
    for _ in range(rng.binomial(2, clutter)):
        distract(0.45 * side)
    for _ in range(n):  # the first always finds its place: nothing lies above it yet
        long = rng.uniform(0.12 * side, largest)
        thing = Thing("instance", outline, texture, long, rng.uniform(0.85, 1.18))
        any(add(thing, _APART) for _ in range(4))
    for _ in range(rng.binomial(3, clutter)):
        distract(0.35 * side)
    for _ in range(rng.binomial(2, clutter)):
        if rng.uniform() < 0.5:
            add(Thing("occluder", "pill", "plain", extent(0.3, largest), 2.2))
        else:
            add(Thing("occluder", "blob", "plain", extent(0.08, 0.3 * side)))

    grain = rng.normal(0, rng.uniform(0.005, 0.03), (height, width)).astype(np.float32)
    return Scene(_background(rng, palette, size), (*ground, *layers), grain)


def _background(
    rng: Generator, palette: Palette, size: tuple[int, int]
) -> Float32[np.ndarray, "3 h w"]:
    y, x = grid(*size)
    turn = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0.4, 2.4) / max(size)
    tilt = y * float(slope * np.sin(turn)) + x * float(slope * np.cos(turn))
    relief = noise(rng, *size, rng.uniform(1.0, 1.7)) * rng.uniform(0.1, 0.35)
    ground = mix(palette.near(rng), palette.near(rng), np.clip(0.5 + relief + 0.4 * tilt, 0, 1))
    cloud = noise(rng, *size, rng.uniform(1.3, 2.0))
    tint = palette.near(rng)[:, None, None]
    ground += np.clip(0.3 + 0.35 * cloud, 0, 1) * (tint - ground)
    return ground


def _soften(layer: Layer) -> Layer:
    """A patch that lies on the ground like a stain: see-through, with a wide edge."""
    mask = Image.fromarray((layer.alpha * 255).astype(np.uint8))
    soft = mask.filter(ImageFilter.GaussianBlur(max(layer.alpha.shape) * 0.03))
    return layer._replace(alpha=np.asarray(soft, np.float32) * (0.7 / 255))


def _least_seen(layers: Sequence[Layer]) -> float:
    """The visible fraction of the instance that is hidden most, 0..1 (1 without instances)."""
    height = max(layer.window[0].stop for layer in layers)
    width = max(layer.window[1].stop for layer in layers)
    seen = 1.0
    for layer, mask in _seen(layers, height, width):
        seen = min(seen, float(mask.sum() / (layer.alpha >= _VISIBLE).sum()))
    return seen


def _seen(
    layers: Sequence[Layer], height: int, width: int
) -> Iterator[tuple[Layer, Bool[np.ndarray, "h w"]]]:
    """Each instance and its visible pixels, inside its own window, from the top down."""
    over = np.zeros((height, width), np.float32)
    for layer in reversed(layers):
        if layer.role == "ground":
            continue
        patch = over[layer.window]
        if layer.role == "instance":
            yield layer, layer.alpha * (1 - patch) >= _VISIBLE
        patch += layer.alpha * (1 - patch)


def render(scene: Scene) -> UInt8[np.ndarray, "height width 3"]:
    """Paint a scene, each layer over those before it."""
    canvas = scene.background.copy()
    for layer in scene.layers:
        patch = canvas[:, *layer.window]
        patch += layer.alpha * (layer.color - patch)
    canvas += scene.grain
    canvas = np.clip(canvas, 0, 1, out=canvas) * 255 + 0.5
    return np.ascontiguousarray(canvas.astype(np.uint8).transpose(1, 2, 0))


def visible_masks(scene: Scene) -> Bool[np.ndarray, "n height width"]:
    """The pixels of each instance of which at least half shows, bottom instance first."""
    height, width = scene.grain.shape
    seen = list(_seen(scene.layers, height, width))[::-1]
    masks = np.zeros((len(seen), height, width), bool)
    for mask, (layer, visible) in zip(masks, seen, strict=True):
        mask[layer.window] = visible
    return masks


def draw_image(rng: Generator, label: int, height: int, width: int) -> Drawing:
    """Draw an image of class `label` (position in `CLASSES`), `height` x `width` pixels."""
    scene = compose(rng, label, height, width)
    masks = visible_masks(scene)
    boxes = [[*_ends(mask.any(0)), *_ends(mask.any(1))] for mask in masks]
    return Drawing(render(scene), np.array(boxes, np.int64)[:, [0, 2, 1, 3]], masks)


def _ends(line: Bool[np.ndarray, " n"]) -> tuple[int, int]:
    """The first and the last true position."""
    return int(line.argmax()), int(len(line) - 1 - line[::-1].argmax())
