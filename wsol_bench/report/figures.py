"""Pictures of stored runs: a sheet of images with heatmaps and boxes."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float
from PIL import Image

from wsol_bench.common.harmless import printable
from wsol_bench.errors import ImageError, RunError
from wsol_bench.geometry import Placement
from wsol_bench.images.decode import load_image
from wsol_bench.runs.schema import MAP_KEYS, ImageStatus, boxes_of
from wsol_bench.runs.stored_run import StoredRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["contact_sheet"]

_TRUTH, _HIT, _MISS = "#ffffff", "#2ee66b", "#ff4d4d"
_THUMBNAIL = 320


def contact_sheet(run: StoredRun, path: Path, *, method: str, n_images: int = 24) -> None:
    """Draw a sheet of images, each with the heatmap of its label, its ground truth and its box.

    The images are those of the first model that has maps, taken evenly over the run's order.

    Args:
        run: run whose rows and maps are read.
        path: file of the picture (.png or .pdf).
        method: method whose maps are shown.
        n_images: largest number of images.

    Raises:
        RunError: the run holds no map of the method.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    words: dict[str, str] = dict(run.read("classes")[["wnid", "words"]].itertuples(index=False))
    protocol = run.identity.protocol
    least_iou = run.scoring.least_iou
    chosen = _label_rows(run, method, n_images)
    columns = 6
    lines = -(-len(chosen) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(2.3 * columns, 2.55 * lines), squeeze=False, layout="constrained"
    )
    for axes in grid.flat:
        axes.axis("off")
    for axes, line in zip(grid.flat, chosen.to_dict(orient="records"), strict=False):
        image = _load(Path(line["path"]))
        if image is None:
            axes.text(0.5, 0.5, "image not found", ha="center")
            continue
        placement = protocol.input.place(image.height, image.width)
        _draw_image(axes, image, pd.Series(line), placement)
        _draw_boxes(axes, image, pd.Series(line), least_iou)
        name = printable(words.get(line["label"], line["label"]).split(",")[0])
        iou_text = f", IoU {line['iou']:.3f}" if "iou" in line else ""
        title = f"{name}\nrank {line['rank']}{iou_text}"
        axes.set_title(title, fontsize=8, parse_math=False)  # a "$" in a name is a dollar
    names = printable(f"{chosen['model'].iloc[0]}, {method}, {protocol.name}")
    figure.suptitle(
        f"{names}: white ground truth, green hit, red miss",
        fontsize=10,
        parse_math=False,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _label_rows(run: StoredRun, method: str, n_images: int) -> pd.DataFrame:
    """The rows of images' labels with their map and image, for the first model that has maps.

    The images are taken evenly. Only the parts that hold the chosen images are read as a whole.
    """
    for numbers in run.parts_by_model().values():
        image_tables = [
            run.read_part("images", number, ["image_id", "path", "status"]).assign(part=number)
            for number in numbers
        ]
        images = pd.concat([pd.DataFrame(columns=["path", "status", "part"]), *image_tables])
        images = images[(images["status"] == ImageStatus.EVALUATED) & (images["path"] != "")]
        spread = np.linspace(0, len(images) - 1, n_images).round().astype(int)
        images = images.iloc[np.unique(spread) if len(images) else []]
        tables = [
            _label_rows_of_part(run, method, int(str(number)), wanted["image_id"])
            for number, wanted in images.groupby("part")
        ]
        if any(map(len, tables)):
            return pd.concat(tables, ignore_index=True)
    raise RunError(f"{run.path} holds no map of method {method!r}")


def _label_rows_of_part(
    run: StoredRun, method: str, number: int, image_ids: "pd.Series[str]"
) -> pd.DataFrame:
    images, rows, maps = (run.read_part(name, number) for name in ("images", "rows", "maps"))
    images = images[images["image_id"].isin(image_ids)].drop(columns=["status"])
    table = (
        rows[rows["method"] == method]
        .merge(maps, on=MAP_KEYS)
        .merge(images, on=["model", "image_id"], suffixes=("_map", ""))
    )
    return table[table["class"] == table["label"]]


def _load(path: Path) -> Image.Image | None:
    """The image; None if it cannot be read."""
    try:
        return load_image(path)
    except ImageError:
        return None


def _draw_image(axes: "Axes", image: Image.Image, line: pd.Series, placement: Placement) -> None:
    """Draw an image, small, and over it the heatmap where the network's input lies."""
    shrink = min(1.0, _THUMBNAIL / max(image.size))
    small = image.resize(
        (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    )
    axes.imshow(small, extent=(0, image.width, image.height, 0))
    shape = (int(line["height_map"]), int(line["width_map"]))
    values = np.frombuffer(line["map"], dtype=np.float16).reshape(shape).astype(np.float32)
    whole = np.array([[0, 0, placement.input[1], placement.input[0]]], dtype=np.float64)
    x0, y0, x1, y1 = placement.to_original(whole)[0]
    heat = _heat(values, (image.height, image.width), shrink)
    axes.imshow(heat, cmap="inferno", alpha=0.6 * heat, extent=(x0, x1, y1, y0), vmin=0, vmax=1)


def _draw_boxes(axes: "Axes", image: Image.Image, line: pd.Series, least_iou: float | None) -> None:
    """Draw the ground-truth boxes and the predicted box, in the color of a hit or a miss."""
    hit = least_iou is not None and line["iou"] >= least_iou
    for box in np.asarray(line["boxes"], dtype=float).reshape(-1, 4):
        _rectangle(axes, box, _TRUTH, 1.6)
    [predicted] = boxes_of(line.to_frame().T)
    if np.isfinite(predicted).all():
        _rectangle(axes, predicted, _HIT if hit else _MISS, 2.0)
    axes.set_xlim(0, image.width)
    axes.set_ylim(image.height, 0)


def _heat(
    values: Float[np.ndarray, "h w"], size: tuple[int, int], shrink: float
) -> Float[np.ndarray, "height width"]:
    """The map's positive part in [0, 1], smooth at the size of the thumbnail."""
    positive = np.clip(values, 0, None)
    shown = (max(1, round(size[1] * shrink)), max(1, round(size[0] * shrink)))
    large = np.asarray(Image.fromarray(positive).resize(shown, Image.Resampling.BILINEAR))
    return np.clip(large / max(float(large.max()), 1e-12), 0, 1)


def _rectangle(axes: "Axes", box: Float[np.ndarray, " 4"], color: str, width: float) -> None:
    from matplotlib.patches import Rectangle

    x0, y0, x1, y1 = box
    for line_width, edge in ((width + 1.6, "black"), (width, color)):
        axes.add_patch(
            Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=edge, linewidth=line_width)
        )
