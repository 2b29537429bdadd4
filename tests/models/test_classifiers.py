"""A classifier brings the preprocessing, the classes and the target layer of its weights."""

import pytest
from small_squeezenet import SIDE, WNIDS

from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.normalization import IMAGENET_MEAN
from wsol_bench.models.target_layers import Target


def test_the_normalization_is_that_of_the_published_weights() -> None:
    pytest.importorskip("timm")
    arguments = {"num_classes": len(WNIDS)}
    options = {"weights": "random", "dataset_classes": WNIDS, "arguments": arguments}
    plain = load_classifier("timm/resnet18", **options)
    other = load_classifier("timm/vit_tiny_patch16_224", **options)
    assert plain.mean == IMAGENET_MEAN
    assert other.mean == other.std == (0.5, 0.5, 0.5)
    assert other.native_size == 224
    assert load_classifier("timm/resnet18", **options, mean=(0.0, 0.0, 0.0)).mean == (0.0, 0.0, 0.0)


def test_the_shipped_classifier_brings_weights_and_classes() -> None:
    loaded = load_classifier("shapes_net", input_size=SIDE)
    assert loaded.targets == (Target("features", head="fc"),)
    assert loaded.classes[:2] == ("n90000000", "n90000001")
