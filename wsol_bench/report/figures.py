"""Pictures of stored runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float
from PIL import Image

from wsol_bench.errors import ImageError, RunError
from wsol_bench.images.decode import load_image
from wsol_bench.protocols.model import OneBoxProtocol, Protocol
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.schema import ImageStatus, boxes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["contact_sheet"]

_TRUTH, _HIT, _MISS = "#ffffff", "#2ee66b", "#ff4d4d"
_THUMBNAIL = 320


def contact_sheet(run: RunFolder, path: Path, *, method: str, n_images: int = 24) -> None:
    """A sheet of images with the heatmap of the image's own class, ground truth and predicted box.

    Images are taken evenly over the run's order, the first model's.

    Args:
        run: where rows and maps are read.
        path: of the picture (.png or .pdf).
        method: whose maps are shown.
        n_images: at most.

    Raises:
        RunError: the run holds no map of the method.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    words: dict[str, str] = dict(run.read("classes")[["wnid", "words"]].itertuples(index=False))
    protocol = run.identity.protocol
    chosen = _own_class(run, method, n_images)
    columns = 6
    lines = -(-len(chosen) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(2.3 * columns, 2.55 * lines), squeeze=False, layout="constrained"
    )
    for axes in grid.flat:
        axes.axis("off")
    for axes, line in zip(grid.flat, chosen.to_dict(orient="records"), strict=False):
        _draw(axes, pd.Series(line), protocol, words)
    model = chosen["model"].iloc[0]
    figure.suptitle(
        f"{model}, {method}, {protocol.name}: white ground truth, green hit, red miss",
        fontsize=10,
        parse_math=False,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _own_class(run: RunFolder, method: str, n_images: int) -> pd.DataFrame:
    """Rows of the image's own class with their map and image, of the first model that has maps.

    The images are taken evenly. Only the parts that hold the chosen images are read as a whole.
    """
    for numbers in run.parts_by_model().values():
        facts = [
            run.read_part("images", number, ["image_id", "path", "status"]).assign(part=number)
            for number in numbers
        ]
        images = pd.concat([pd.DataFrame(columns=["path", "status", "part"]), *facts])
        images = images[(images["status"] == ImageStatus.EVALUATED) & (images["path"] != "")]
        spread = np.linspace(0, len(images) - 1, n_images).round().astype(int)
        images = images.iloc[np.unique(spread) if len(images) else []]
        tables = [
            _own_class_of_part(run, method, int(str(number)), wanted["image_id"])
            for number, wanted in images.groupby("part")
        ]
        if any(map(len, tables)):
            return pd.concat(tables, ignore_index=True)
    raise RunError(f"{run.path} holds no map of method {method!r}")


def _own_class_of_part(
    run: RunFolder, method: str, number: int, image_ids: "pd.Series[str]"
) -> pd.DataFrame:
    images, rows, maps = (run.read_part(name, number) for name in ("images", "rows", "maps"))
    images = images[images["image_id"].isin(image_ids)].drop(columns=["status"])
    keys = ["model", "method", "layer", "image_id", "rank"]
    table = (
        rows[rows["method"] == method]
        .merge(maps, on=keys)
        .merge(images, on=["model", "image_id"], suffixes=("_map", ""))
    )
    return table[table["class"] == table["label"]]


def _draw(axes: "Axes", line: pd.Series, protocol: Protocol, words: dict[str, str]) -> None:
    try:
        image = load_image(Path(line["path"]))
    except ImageError:
        axes.text(0.5, 0.5, "image not found", ha="center")
        return
    placement = protocol.input.place(image.height, image.width)
    shrink = min(1.0, _THUMBNAIL / max(image.size))
    small = image.resize(
        (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    )
    extent = (0, image.width, image.height, 0)
    axes.imshow(small, extent=extent)
    shape = (int(line["height_map"]), int(line["width_map"]))
    values = np.frombuffer(line["map"], dtype=np.float16).reshape(shape).astype(np.float32)
    whole = np.array([[0, 0, placement.input[1], placement.input[0]]], dtype=np.float64)
    x0, y0, x1, y1 = placement.to_original(whole)[0]
    heat = _heat(values, (image.height, image.width), shrink)
    axes.imshow(heat, cmap="inferno", alpha=0.6 * heat, extent=(x0, x1, y1, y0), vmin=0, vmax=1)
    hit = isinstance(protocol, OneBoxProtocol) and line["iou"] >= protocol.scoring.iou
    for box in np.asarray(line["boxes"], dtype=float).reshape(-1, 4):
        _rectangle(axes, box, _TRUTH, 1.6)
    [predicted] = boxes_of(line.to_frame().T)
    if np.isfinite(predicted).all():
        _rectangle(axes, predicted, _HIT if hit else _MISS, 2.0)
    axes.set_xlim(0, image.width)
    axes.set_ylim(image.height, 0)
    name = words.get(line["label"], line["label"]).split(",")[0]
    fits = f", IoU {line['iou']:.3f}" if "iou" in line else ""
    title = f"{name}\nrank {line['rank']}{fits}"
    axes.set_title(title, fontsize=8, parse_math=False)  # a "$" in a name is a dollar


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
