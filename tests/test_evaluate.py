import numpy as np
import pytest
import torch

from wsol_bench.datasets import ROOT_SYNSET, Sample
from wsol_bench.evaluate import boxes_of_label, storable


class TestStoredMaps:
    def test_are_scaled_by_their_maximum_so_a_map_and_its_relu_round_alike(self):
        maps = torch.randn(200, 7, 7, generator=torch.Generator().manual_seed(0))
        signed, scale = storable(maps)
        rectified, same_scale = storable(maps.relu())
        assert np.array_equal(scale, same_scale)
        assert np.array_equal(np.maximum(signed, 0), rectified)

    def test_a_factor_changes_the_scale_and_nothing_else_to_rounding(self):
        maps = torch.rand(50, 7, 7, generator=torch.Generator().manual_seed(0))
        first, scale = storable(maps)
        second, other = storable(maps * 1e-9)
        assert np.allclose(other, scale * 1e-9, rtol=1e-6)
        assert np.abs(first - second).max() <= 2**-11  # half a unit of float16 below 1

    def test_without_a_positive_value_are_scaled_by_the_largest_magnitude(self):
        half, scale = storable(torch.tensor([[[-4.0, -1.0]], [[0.0, 0.0]]]))
        assert half.tolist() == [[[-1, -0.25]], [[0, 0]]]
        assert scale.tolist() == [4, 1]

    def test_values_that_are_not_finite_stay_so_and_great_ones_do_not_become_so(self):
        maps = torch.tensor([[[1.0, float("nan")]], [[float("inf"), 1.0]], [[1e-7, -1.0]]])
        half, _ = storable(maps)
        assert np.isnan(half[0, 0, 1])
        assert not np.isfinite(half[1]).all()
        assert half[2].tolist() == [[1, -65504]]


class TestBoxesOfLabel:
    def sample(self, label):
        boxes = np.array([[0.0, 0, 1, 1], [2, 2, 3, 3]])
        return Sample("i", None, 9, 9, label, boxes, ("a", "b"), False)

    @pytest.mark.parametrize(("label", "count"), [("a", 1), ("c", 0), (ROOT_SYNSET, 2)])
    def test_only_boxes_of_the_images_class_count_and_all_for_the_root(self, label, count):
        assert len(boxes_of_label(self.sample(label))) == count


@pytest.fixture(scope="module")
def slots():
    """The slots of a batch of three images, for logits written by hand."""
    from wsol_bench.evaluate import _Slots

    logits = torch.tensor(
        [[9.0, 8, 7, 6, 5, 4, 3], [1.0, 1, 1, 1, 1, 1, 1], [0.0, 0, 0, 0, 0, 1, 9]]
    )
    labels = torch.tensor([0, 6, 5])
    best = logits.sort(dim=1, descending=True, stable=True).indices[:, :5]
    classes = torch.cat([best, labels[:, None]], dim=1)
    return _Slots.of(logits, classes, labels, [f"n{i}" for i in range(7)])


class TestClassSlots:
    def test_an_own_class_among_the_best_is_one_row_and_another_one_more(self, slots):
        assert np.bincount(slots.image).tolist() == [5, 6, 5]

    def test_the_own_class_bears_its_true_rank(self, slots):
        assert slots.label_rank.tolist() == [1, 7, 2]
        last = np.flatnonzero(slots.image == 1)[-1]
        assert (slots.wnid[last], slots.rank[last]) == ("n6", 7)

    def test_equal_scores_rank_by_output(self, slots):
        assert slots.wnid[slots.image == 1].tolist() == ["n0", "n1", "n2", "n3", "n4", "n6"]

    def test_scores_are_probabilities(self, slots):
        assert np.allclose(slots.score[slots.image == 1], 1 / 7)
