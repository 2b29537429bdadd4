"""Map files for tests: a map that is easily recognized, and functions to read and write it."""

import numpy as np

from wsol_bench.methods.imported.maps_from import maps_from

RAMP = np.arange(12, dtype=np.float32).reshape(3, 4)


def read(folder, image_id):
    """The map of an image in a folder; None if the folder has no map of the image."""
    return maps_from.opener(None, path=folder).map_of(image_id)


def is_ramp(values):
    return values is not None and values.dtype == np.float32 and np.array_equal(values, RAMP)


def save(folder, name, array):
    """Write the map of an image into the folder ``maps``."""
    path = folder / f"maps/{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
