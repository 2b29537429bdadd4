"""The experiment six_kinds: its networks of other outputs have the probabilities of shapes_net."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from wsol_bench import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.syspath_prepend(str(ROOT))
        config = yaml.safe_load((ROOT / "experiments/six_kinds.yaml").read_text())
        others = [model for model in config["models"] if ":" in model["name"]]
        config |= {"models": ["shapes_net", *others], "methods": ["grad_cam"]}
        config["dataset"] = {"name": "shapes", "n_images": 40}
        return run(config, device="cpu").rows


def of(rows, model):
    return rows[rows["model"] == model].sort_values(["image_id", "rank"], ignore_index=True)


def test_the_sigmoid_of_log_odds_is_the_softmax(rows):
    softmax, sigmoid = of(rows, "shapes_net"), of(rows, "multi_label")
    assert (softmax["class"] == sigmoid["class"]).all()
    np.testing.assert_allclose(sigmoid["score"], softmax["score"], atol=1e-5)


def test_a_single_logit_is_the_softmax_of_two_classes(rows):
    single, whole = of(rows, "single_logit"), of(rows, "shapes_net")
    assert set(single["class"]) == {"n90000000", "n90000001"}
    both = whole[whole["class"].isin({"n90000000", "n90000001"})]
    keys = ["image_id", "class"]
    merged = single.merge(both, on=keys, suffixes=("", "_whole"))
    complete = merged.groupby("image_id").filter(lambda group: len(group) == 2)
    assert complete["image_id"].nunique() >= 2
    shares = complete.groupby("image_id")["score_whole"].transform(lambda s: s / s.sum())
    np.testing.assert_allclose(complete["score"], shares, atol=1e-5)
