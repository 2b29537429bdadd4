"""The images that the numbers of all methods share."""

import pandas as pd
import pytest

from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.image_scores import ImageScores


class TestEvaluatedImages:
    table = pd.DataFrame(
        {"image_id": ["i", "j"], "label": ["b", "a"], "n_label_boxes": 1, "blacklisted": False}
    ).assign(status="evaluated", held_out=False)

    def test_a_metric_cannot_change_the_images_of_the_next_method(self):
        images = EvaluatedImages.of(self.table)
        scores = ImageScores.of(images, pd.DataFrame({"image_id": ["i"]}))
        for name in ("image_ids", "has_box", "counted", "held_out"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(scores, name)[0] = False
        assert self.table["held_out"].tolist() == [False, False]

    def test_an_image_without_a_class_is_of_none(self):
        images = EvaluatedImages.of(self.table.assign(label=[None, "a"]))
        assert images.label_codes(pd.Index(["c", "a"])).tolist() == [-2, 1]
        assert images.label_codes(pd.Index(["c"])).tolist() == [-2, -2]
