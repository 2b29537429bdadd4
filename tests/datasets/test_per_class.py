"""Images of several classes become one sample a class."""

import pandas as pd

from wsol_bench.datasets.per_class import per_class

IMAGES = pd.DataFrame({"image_id": ["b", "a", "none"], "width": [5, 6, 7]})
OBJECTS = pd.DataFrame(
    {"image": [1, 0, 1, 1, 0], "wnid": ["dog", "cat", "cat", "dog", "ape"], "x0": range(5)}
)


def test_a_sample_for_each_class_of_an_image_in_the_order_of_the_images():
    samples, objects = per_class(IMAGES, OBJECTS)
    assert samples["image_id"].tolist() == ["b/ape", "b/cat", "a/cat", "a/dog"]
    assert samples["label"].tolist() == ["ape", "cat", "cat", "dog"]
    assert samples["width"].tolist() == [5, 5, 6, 6]
    assert objects["image"].tolist() == [3, 1, 2, 3, 0]
    assert objects["x0"].tolist() == [0, 1, 2, 3, 4]


def test_no_object_gives_no_sample():
    samples, objects = per_class(IMAGES, OBJECTS[:0])
    assert samples.empty and objects.empty and "label" in samples
