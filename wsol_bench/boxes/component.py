"""One threshold, one box: the largest connected component of a cut map."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Shaped
from skimage.measure import label

__all__ = ["largest_component", "largest_component_box"]


def largest_component(
    mask: Bool[np.ndarray, "h w"], *, connectivity: int = 2
) -> Float64[np.ndarray, " 4"] | None:
    """Half-open xyxy box of the component with most pixels; the first in raster order of several.

    Args:
        mask: pixels that belong to a component.
        connectivity: 1 for 4 neighbors, 2 for 8 (scikit-image's count of orthogonal hops).

    Returns:
        Box in pixels of the mask, or None where the mask is empty.
    """
    labels, n_components = label(mask, connectivity=connectivity, return_num=True)
    if n_components == 0:
        return None
    if n_components == 1:
        component = mask
    else:
        # Labels ascend in raster order of a component's first pixel, and argmax takes the first.
        sizes = np.bincount(labels.ravel())
        component = labels == 1 + int(np.argmax(sizes[1:]))
    rows = np.flatnonzero(component.any(axis=1))
    columns = np.flatnonzero(component.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def largest_component_box(
    map: Shaped[np.ndarray, "..."],
    *,
    threshold: float = 0.15,
    of: Literal["maximum", "range"] = "maximum",
    extrema: tuple[float, float] | None = None,
    comparison: Literal["at_least", "above"] = "at_least",
    connectivity: int = 2,
) -> Float64[np.ndarray, " 4"] | None:
    """Box of the largest component of the pixels that reach a fraction of the map's maximum.

    The defaults are Grad-CAM's (Selvaraju et al., ICCV 2017, section 4.1):
    ``map >= 0.15 * max(map)``, 8-connected, most pixels.

    Args:
        map: localization map (h, w), any real dtype.
        threshold: fraction in [0, 1].
        of: ``maximum``: the level is ``threshold * max``, and a map without a positive value has no
            box; ``range``: the level is ``min + threshold * (max - min)``.
        extrema: (min, max) to measure the level by, where not the map's own.
        comparison: ``at_least`` is >=, ``above`` is >.
        connectivity: 1 for 4 neighbors, 2 for 8.

    Returns:
        Half-open xyxy box in pixels of the map, or None: an empty map, a value that is not finite,
        or no pixel that reaches the level. A positive constant map is the whole map.

    Raises:
        ValueError: not one map of shape (h, w).
    """
    values = np.asarray(map)
    if values.ndim != 2:
        raise ValueError(f"expected a map of shape (h, w), found shape {values.shape}")
    if values.size == 0 or not np.isfinite(values).all():
        return None
    low, high = (values.min(), values.max()) if extrema is None else extrema
    if of == "maximum" and high <= 0:
        return None
    # A float64 scalar makes the comparison float64, so the level is not rounded to the map's dtype.
    base, span = (0.0, float(high)) if of == "maximum" else (float(low), float(high) - float(low))
    level = np.float64(base + threshold * span)
    mask = values >= level if comparison == "at_least" else values > level
    return largest_component(mask, connectivity=connectivity)
