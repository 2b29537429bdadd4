"""What is measured of maps in a method's line of the summary, whatever the protocol."""

import pytest
from method_results import ILSVRC
from summary_tables import PIXELS, SELECTED, V1, images, line_of, numbers, rows

from wsol_bench.metrics.base import metrics
from wsol_bench.runs.metrics import build_metrics

NAN = float("nan")


class TestOfMaps:
    """What is measured of maps, whatever the rule for boxes."""

    IMAGES = ({"image_id": "i"}, {"image_id": "j", "blacklisted": True}, {"image_id": "k"})
    POINTING = ("pointing_game", "pointing_game_15px", "energy_pointing_game")

    def measured(self, *values):
        """Rows of rank 1 with the pointing games and an energy each."""
        table = rows(*((name, 1, "a", 0.9) for name in "ijk"[: len(values)]))
        columns = ["pointing_game", "pointing_game_15px", "energy"]
        return table.assign(**dict(zip(columns, map(list, zip(*values, strict=True)), strict=True)))

    @pytest.mark.parametrize("protocol", [ILSVRC, V1])
    def test_pointing_and_energy(self, protocol):
        """In the box, 12 pixels beside it, and nowhere."""
        table = self.measured((1, 1, 0.8), (0, 1, 0.1), (0, 0, 0.0))
        line = line_of(table, images(*map(dict, self.IMAGES)), protocol=protocol)
        assert line["pointing_game"] == pytest.approx(1 / 3)
        assert line["pointing_game_15px"] == pytest.approx(2 / 3)
        assert line["energy_pointing_game"] == pytest.approx(0.9 / 3)

    def test_pointing_is_asked_of_the_label_in_images_with_a_box(self):
        others = rows(("i", 1, "b", 0.9), ("i", 7, "a", 0.9), ("boxless", 1, "a", 0.0))
        table = others.assign(pointing_game=[NAN, 1, NAN], energy=[NAN, 0.5, NAN])
        line = line_of(table, images({"image_id": "i"}, {"image_id": "boxless", "boxes": []}))
        assert numbers(line, "pointing_game", "energy_pointing_game") == [1, 0.5]

    def test_a_missing_map_points_nowhere(self):
        table = self.measured((1, 1, 0.8), (0, 0, 0.0))
        table["status"] = ["box", "missing"]
        line = line_of(table, images(*map(dict, self.IMAGES[:2])))
        assert numbers(line, "pointing_game", "energy_pointing_game") == [0.5, 0.4]

    def test_the_class_mean_is_the_accuracy_of_torchray(self):
        """Hits and misses by class, hits / (hits + misses) of each class, and their mean."""
        name = "pointing_game_15px_class_mean"
        named = [metrics.get("pointing_game_15px"), metrics.get(name)]
        labels = {"i": "a", "j": "a", "k": "a", "l": "b", "m": "c"}
        table = rows(*((image, 1, label, 0.9) for image, label in labels.items()))
        table = table.assign(pointing_game_15px=[1.0, 0.0, 1.0, 0.0, NAN])
        facts = [{"image_id": image, "label": label} for image, label in labels.items()]
        facts[-1]["boxes"] = []  # its class has no image that counts
        line = line_of(table, images(*facts), metrics=named)
        assert line["pointing_game_15px"] == 0.5
        assert line[name] == pytest.approx((2 / 3 + 0) / 2)

    def test_boxes_without_maps_have_no_pointing(self):
        line = line_of(self.measured((NAN, NAN, NAN)), images({"image_id": "i"}))
        assert not set(self.POINTING) & set(line)

    def test_faithfulness_is_of_the_first_predictions(self):
        """The third map ranks no pixels; the row of rank 2 is nobody's first."""
        table = rows(
            ("i", 1, "b", 0.9), ("i", 2, "a", 0.9), ("j", 1, "a", 0.9), ("k", 1, "a", 0.9)
        ).assign(
            score=[0.8, 0.1, 0.4, 0.5],
            insertion=[0.6, NAN, 0.2, NAN],
            deletion=[0.1, NAN, 0.3, NAN],
            masked_score=[0.4, NAN, 0.5, NAN],
        )
        line = line_of(table, images(*map(dict, self.IMAGES)))
        assert numbers(line, "insertion", "deletion") == pytest.approx([0.4, 0.2])
        assert line["average_drop"] == pytest.approx((0.5 + 0) / 2)
        assert line["increase_in_confidence"] == pytest.approx(1 / 2)

    @pytest.mark.parametrize("protocol", [ILSVRC, V1, PIXELS])
    def test_faithfulness_that_was_not_measured_has_no_columns(self, protocol):
        line = line_of(rows(("i", 1, "a", 0.9)), images({"image_id": "i"}), protocol=protocol)
        names = {"insertion", "deletion", "average_drop", "increase_in_confidence"}
        assert not names & set(line)
        without = {one.name for one in build_metrics(None, protocol, faithfulness=False)}
        with_faithfulness = {one.name for one in build_metrics(None, protocol, faithfulness=True)}
        assert with_faithfulness - without == names

    def test_an_image_held_out_of_a_sweep_is_in_none(self):
        """The one left points right; with the other no number would be the same."""
        table = self.measured((1, 1, 0.8), (0, 0, 0.0)).assign(
            score=[0.8, 0.4], insertion=[0.6, 0.0], deletion=[0.1, 0.9], masked_score=[0.9, 0.0]
        )
        both = images({"image_id": "i"}, {"image_id": "j", "held_out": True})
        line = line_of(table, both, protocol=SELECTED)
        assert numbers(line, *self.POINTING) == [1, 1, 0.8]
        faithfulness = ("insertion", "deletion", "average_drop", "increase_in_confidence")
        assert numbers(line, *faithfulness) == [0.6, 0.1, 0, 1]
        assert line["n_images"] == 2
