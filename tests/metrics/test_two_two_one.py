"""Five guesses an image from loose and tight boxes, as CAM's authors make them."""

import pandas as pd
import pytest

from wsol_bench.metrics.localization import two_two_one


def line(image_id, rank, label, box):
    """A row; its box is told by its left edge."""
    return {"image_id": image_id, "rank": rank, "class": label, "x0": float(box)}


class TestTwoTwoOne:
    LOOSE = pd.DataFrame(
        [
            line("b", 1, "dog", 21), line("b", 2, "cat", 22), line("b", 3, "cow", 23),
            line("a", 3, "cow", 13), line("a", 1, "cat", 11), line("a", 2, "dog", 12),
            line("a", 4, "hen", 14), line("a", 5, "pig", 15), line("a", 17, "fox", 16),
        ]
    )  # fmt: skip
    TIGHT = LOOSE.assign(x0=LOOSE["x0"] + 100)

    def test_two_boxes_of_the_first_two_classes_and_one_of_the_third(self):
        guesses = two_two_one(self.LOOSE, self.TIGHT)
        assert guesses.to_numpy().tolist() == [
            ["a", 1, "cat", 11], ["a", 2, "cat", 111],
            ["a", 3, "dog", 12], ["a", 4, "dog", 112], ["a", 5, "cow", 13],
            ["b", 1, "dog", 21], ["b", 2, "dog", 121],
            ["b", 3, "cat", 22], ["b", 4, "cat", 122], ["b", 5, "cow", 23],
        ]  # fmt: skip

    def test_the_order_of_rows_says_nothing(self):
        shuffled = self.TIGHT.sample(frac=1, random_state=0)
        expected = two_two_one(self.LOOSE, self.TIGHT)
        pd.testing.assert_frame_equal(two_two_one(self.LOOSE, shuffled), expected)

    def test_a_network_of_two_classes_makes_four_guesses(self):
        two = self.LOOSE["rank"] <= 2
        guesses = two_two_one(self.LOOSE[two], self.TIGHT[two])
        assert guesses["rank"].tolist() == [1, 2, 3, 4] * 2

    @pytest.mark.parametrize(
        "tight",
        [
            TIGHT[TIGHT["image_id"] == "a"],
            TIGHT[TIGHT["rank"] != 2],
            TIGHT.replace({"class": {"cat": "cow"}}),
            TIGHT.replace({"image_id": {"a": "c"}}),
            TIGHT[:0],
        ],
    )
    def test_rows_of_something_else_are_an_error(self, tight):
        with pytest.raises(ValueError, match="expected tight rows of the same images and classes"):
            two_two_one(self.LOOSE, tight)
