"""Images of several classes, as one sample for each class."""

import numpy as np
import pandas as pd

__all__ = ["per_class"]


def per_class(images: pd.DataFrame, objects: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images and objects that ``assemble`` takes, with one sample for each class of an image.

    That is the unit of CorLoc and of the pointing game. The id of a sample is ``<image>/<class>``.

    Args:
        images: one row an image: image_id, and any other columns, which are kept.
        objects: one row an object: image (position in ``images``), wnid, and any other columns,
            which are kept. An object without a box (NaN corners) gives a sample as well: the caller
            drops it afterwards.

    Returns:
        The samples, in the order of the images and then of their classes: the columns of
        ``images``, whose image_id is the sample's, and label. An image without an object has none.
        And the objects, in their order, whose image is the position of their sample.
    """
    pairs = objects[["image", "wnid"]].drop_duplicates()
    pairs = pairs.sort_values(["image", "wnid"], ignore_index=True)
    samples = images.iloc[pairs["image"]].reset_index(drop=True)
    samples = samples.assign(
        image_id=samples["image_id"].to_numpy(object) + "/" + pairs["wnid"].to_numpy(object),
        label=pairs["wnid"].to_numpy(object),
    )
    samples = samples.astype({"image_id": "str", "label": "str"})
    place = pd.MultiIndex.from_frame(pairs).get_indexer(
        pd.MultiIndex.from_frame(objects[["image", "wnid"]])
    )
    return samples, objects.assign(image=place.astype(np.int64))
