"""The costs that a run notes for each method, worked out by hand."""

import time
from typing import Any, NamedTuple

import pandas as pd
import pytest
from few_channels import CHANNELS, SECONDS_A_PASS, SECONDS_OF_SLEEPY

import wsol_bench

N_IMAGES = 6


BATCH = 2  # so three batches: two in the first part, one in the second


PARTS = [4, 2]


SLOTS = 6  # the five best classes and the label


SAMPLES = 3


STEPS = 4


class Each(NamedTuple):
    """The passes charged to a method for an image, and the runs of the network for a batch."""

    forward: int
    backward: int
    head: int
    runs: int


# Everybody is charged the pass that all share, one image, and its gradients only where the plan
# asks for them: of all six slots, also if the map of the label alone is made.
EXPECTED = {
    "cam": Each(1, 0, 0, 1),
    "grad_cam": Each(1, SLOTS, 0, 1),
    "layer_cam": Each(1, SLOTS, 0, 1),
    "class_swapped(grad_cam)": Each(1, SLOTS, 0, 1),
    # The pass of the other network in the place of that of this one.
    "randomized_weights(grad_cam)": Each(1, SLOTS, 0, 1),
    # An image a channel, for all slots at once.
    "score_cam": Each(1 + CHANNELS, 0, 0, 2),
    # A pass that notes what stands around the layer, then an activation a channel.
    "ablation_cam": Each(2, 0, CHANNELS, 3),
    # The same pass, the layer's own activations, and one way back a slot, of which there is one;
    # ShapleyCAM takes it twice.
    "finer_cam": Each(2, 1, 1, 3),
    "shapley_cam": Each(2, 2, 1, 3),
    # To the pixels, for the label alone.
    "guided_backprop": Each(2, 1, 0, 2),
    "guided_backprop of all": Each(2, SLOTS, 0, 2),
    # Guided backpropagation was asked before: it is charged all the same.
    "guided_grad_cam": Each(2, SLOTS + 1, 0, 2),
    f"smooth_grad+samples={SAMPLES}": Each(1 + SAMPLES, SAMPLES, 0, 1 + SAMPLES),
    f"integrated_gradients+steps={STEPS}": Each(1 + STEPS, STEPS, 0, 1 + STEPS),
    # Not applicable: one image passes, which tells that, and is not counted.
    "le_grad": Each(1, 0, 0, 2),
    "sleepy": Each(1, 0, 0, 1),
    # A network-free method asks no network.
    "center_gaussian": Each(0, 0, 0, 0),
}


@pytest.fixture(scope="module")
def measured() -> tuple[Any, float]:
    """A run of all of these, and the seconds that it took."""
    methods = [
        "cam",
        "grad_cam",
        {"name": "layer_cam", "classes": "label"},
        {"name": "grad_cam", "sanity": "class_swapped"},
        {"name": "grad_cam", "sanity": "randomized_weights"},
        "score_cam",
        "ablation_cam",
        {"name": "finer_cam", "classes": "label"},
        {"name": "shapley_cam", "classes": "label"},
        "guided_backprop",
        {"name": "guided_backprop", "label": "guided_backprop of all", "classes": "all"},
        "guided_grad_cam",
        {"name": "smooth_grad", "samples": SAMPLES},
        {"name": "integrated_gradients", "steps": STEPS},
        "le_grad",
        "few_channels:sleepy",
        "center_gaussian",
    ]
    experiment = {
        "name": "costs",
        "dataset": {"name": "shapes", "n_images": N_IMAGES},
        "models": [
            {"name": "few_channels:few_channels", "label": "net", "layer": "features", "head": "fc"}
        ],
        "methods": methods,
        "protocol": "gradcam-2017",
        "faithfulness": 2,  # its passes are no method's
        "batch_size": BATCH,
        "part_size": PARTS[0],
        "workers": 0,
        "device": "cpu",
    }
    begin = time.perf_counter()
    results = wsol_bench.run(experiment)
    return results, time.perf_counter() - begin


def of_run(costs: pd.DataFrame) -> pd.DataFrame:
    """The sums of the costs over all parts, by method."""
    return costs.groupby("method")[["n_images", "forward", "backward", "head", "seconds"]].sum()


class TestCostsOfARun:
    def test_every_method_has_a_line_in_each_part(self, measured: tuple[Any, float]) -> None:
        costs = measured[0].costs
        assert set(costs["model"]) == {"net"}
        assert list(costs["method"]) == list(EXPECTED) * len(PARTS)
        layers = costs.groupby("method")["layer"].unique()
        assert list(layers["cam"]) == list(layers["score_cam"]) == ["features"]
        assert list(layers["guided_backprop"]) == list(layers["center_gaussian"]) == [""]

    @pytest.mark.parametrize("method", EXPECTED)
    def test_passes_are_those_counted_by_hand(
        self, measured: tuple[Any, float], method: str
    ) -> None:
        costs, each = measured[0].costs, EXPECTED[method]
        lines = costs.loc[costs["method"] == method, ["n_images", "forward", "backward", "head"]]
        assert lines.to_numpy().tolist() == [
            [n, n * each.forward, n * each.backward, n * each.head] for n in PARTS
        ]

    def test_seconds_are_at_least_those_asleep_and_at_most_those_of_the_run(
        self, measured: tuple[Any, float]
    ) -> None:
        results, wall = measured
        seconds = of_run(results.costs)["seconds"]
        batches = N_IMAGES // BATCH
        for method, each in EXPECTED.items():
            asleep = SECONDS_OF_SLEEPY if method == "sleepy" else 0.0
            least = batches * (each.runs * SECONDS_A_PASS + asleep)
            assert least <= seconds[method] <= wall, method
        assert seconds["center_gaussian"] == 0
        assert (
            results.costs.loc[results.costs["method"] != "center_gaussian", "seconds"] > 0
        ).all()

    def test_a_reason_stands_where_a_method_is_not_applicable(
        self, measured: tuple[Any, float]
    ) -> None:
        costs = measured[0].costs
        reasons = costs[costs["reason"] != ""]
        assert list(reasons["method"]) == ["le_grad"] * len(PARTS)
        assert reasons["reason"].str.startswith("le_grad is not applicable to FewChannels: ").all()

    def test_the_summary_has_the_means_of_an_image(self, measured: tuple[Any, float]) -> None:
        results, _ = measured
        summary, seconds = results.summary.set_index("method"), of_run(results.costs)["seconds"]
        assert set(summary.index) == set(EXPECTED)
        for method, each in EXPECTED.items():
            line = summary.loc[method]
            found = line[["forward_passes", "backward_passes", "head_passes"]]
            assert found.tolist() == [each.forward, each.backward, each.head], method
            assert line["seconds"] == pytest.approx(seconds[method] / N_IMAGES), method
            assert ("no attention at all" in line["reason"]) == (method == "le_grad")
            assert line["reason"] == "" or method == "le_grad"
