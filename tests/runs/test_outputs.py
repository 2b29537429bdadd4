"""Runs of networks of a single logit, of several labels, and of scores within something else."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import wsol_bench
from wsol_bench import localization_maps
from wsol_bench.errors import ConfigError, ModelError, RunError

# (number of the image, class, position of the square, how red and blue it is).
SQUARES = (("red", 32, 255, 0), ("blue", 96, 0, 200), ("red", 64, 120, 60), ("blue", 0, 90, 140))


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A table of four images of 224 x 224 pixels, with a square each; classes blue and red."""
    folder = tmp_path_factory.mktemp("squares")
    lines = ["image,label,x0,y0,x1,y1"]
    for number, (label, start, red, blue) in enumerate(SQUARES):
        pixels = np.zeros((224, 224, 3), np.uint8)
        pixels[start : start + 96, 64:160] = (red, 0, blue)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{label},64,{start},160,{start + 96}")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    root = {"path": str(folder / "boxes.csv"), "images": str(folder)}
    return {"name": "table", "convention": "half_open", **root}


class Red(nn.Module):
    """Scores from the means of red and blue; ``kind`` says what is returned of them."""

    def __init__(self, weight: list[list[float]], kind: str = "logits") -> None:
        super().__init__()
        self.cells = nn.AvgPool2d(32)
        self.fc = nn.Linear(3, len(weight))
        self.kind = kind
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor(weight))
            self.fc.bias.fill_(0.1)
            if len(weight) == 2:
                self.fc.bias[0] = -0.1

    def forward(self, images: Tensor) -> Any:
        logits = self.fc(self.cells(images).mean((2, 3)))
        return {"logits": logits, "dict": {"scores": [logits]}, "flat": logits[:, 0]}[self.kind]


LOGIT = [7.0, 1.0, -9.0]  # of red
SINGLE = [LOGIT]
BOTH = [[-value for value in LOGIT], LOGIT]
METHODS = [
    "cam", "grad_cam", "grad_cam_pp", "layer_cam", "ablation_cam", "score_cam", "occlusion",
    {"name": "rise", "masks": 20},
]  # fmt: skip


def ran(squares: dict[str, Any], network: nn.Module, **options: Any) -> Any:
    model = {
        "name": network, "label": "net", "layer": "cells", "head": "fc", "mean": [0, 0, 0],
        "std": [1, 1, 1], **options,
    }  # fmt: skip
    return wsol_bench.run(
        {
            "name": "outputs", "dataset": squares, "models": [model], "methods": METHODS,
            "protocol": "gradcam-2017", "faithfulness": 2, "workers": 0, "device": "cpu",
        }
    )  # fmt: skip


def tables(results: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    return results.images, results.rows


def logits_of(squares: dict[str, Any]) -> np.ndarray:
    """y of each image, by hand: the mean of a square's color over the image."""
    share = (96 / 224) ** 2
    colors = np.array([(red, 0, blue) for _, _, red, blue in SQUARES]) / 255
    return colors @ np.array(LOGIT) * share + 0.1


@pytest.mark.parametrize("kind", ["logits", "flat"])
def test_a_single_logit_is_scored_as_two_classes(squares: dict[str, Any], kind: str) -> None:
    images, rows = tables(ran(squares, Red(SINGLE, kind)))
    expected_images, expected = tables(ran(squares, Red(BOTH), probabilities="sigmoid"))
    pd.testing.assert_frame_equal(images, expected_images)
    pd.testing.assert_frame_equal(rows, expected, rtol=1e-4, atol=1e-6)
    assert set(rows["class"]) == {"blue", "red"}
    y = logits_of(squares)
    of_red = 1 / (1 + np.exp(-y))
    is_red = images["label"].to_numpy() == "red"
    np.testing.assert_allclose(
        images["label_score"], np.where(is_red, of_red, 1 - of_red), rtol=1e-5
    )
    # A softmax of [-y, y] is another probability.
    softmax, _ = tables(ran(squares, Red(BOTH)))
    of_red = 1 / (1 + np.exp(-2 * y))
    np.testing.assert_allclose(
        softmax["label_score"], np.where(is_red, of_red, 1 - of_red), rtol=1e-5
    )


def test_how_it_is_read_is_a_finding(squares: dict[str, Any]) -> None:
    identity = ran(squares, Red(SINGLE)).folder.identity
    [said] = identity.models["net"].findings
    assert "the scores are -y of 'blue' and y of 'red'" in said


def test_labels_that_do_not_exclude_each_other_have_sigmoids(squares: dict[str, Any]) -> None:
    weights = [[1.0, 0.0, 20.0], [20.0, 0.0, 1.0]]
    _, rows = tables(ran(squares, Red(weights), probabilities="sigmoid"))
    share = (96 / 224) ** 2
    for number, (_, _, red, blue) in enumerate(SQUARES):
        of_image = rows[(rows["image_id"] == f"{number}.png") & (rows["method"] == "cam")]
        for label, weight, bias in zip(("blue", "red"), weights, (-0.1, 0.1), strict=True):
            y = (weight[0] * red + weight[2] * blue) / 255 * share + bias
            [score] = of_image.loc[of_image["class"] == label, "score"]
            assert score == pytest.approx(1 / (1 + np.exp(-y)), rel=1e-5)
    # Black input gives the bias: what is left of a probability is its sigmoid.
    assert (rows["masked_score"].dropna() >= 1 / (1 + np.exp(0.1)) - 1e-6).all()


def scores(output: Any) -> Tensor:
    """The logits of ``Red`` of kind ``dict``."""
    logits: Tensor = output["scores"][0]
    return logits


@pytest.mark.parametrize("output", ["scores.0", scores, f"{__name__}:scores"])
def test_scores_within_something_else_are_scored_alike(
    squares: dict[str, Any], output: Any
) -> None:
    wrapped = ran(squares, Red(BOTH, "dict"), output=output)
    for found, expected in zip(tables(wrapped), tables(ran(squares, Red(BOTH))), strict=True):
        pd.testing.assert_frame_equal(found, expected)
    digest = wrapped.folder.identity.models["net"].output
    assert (digest is None) == (output == "scores.0")


def test_the_output_and_the_probabilities_belong_to_the_identity(
    squares: dict[str, Any], tmp_path: Path
) -> None:
    experiment = {
        "name": "outputs", "dataset": squares, "methods": ["center_gaussian", "occlusion"],
        "protocol": "gradcam-2017", "workers": 0, "device": "cpu",
    }  # fmt: skip
    net = {"name": Red(BOTH, "dict"), "layer": "cells", "output": "scores.0"}
    wsol_bench.run({**experiment, "models": [net]}, out=tmp_path / "run", limit=1)
    for change in ({"output": scores}, {"probabilities": "sigmoid"}):
        with pytest.raises(RunError, match=next(iter(change))):
            wsol_bench.run(
                {**experiment, "models": [{**net, **change}]}, out=tmp_path / "run", limit=1
            )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"probabilities": "softplus"}, ConfigError, "softmax.*sigmoid"),
        ({"output": 1.5}, ConfigError, r"'models.0.output': expected an index .* quotes"),
        ({"output": -1}, ConfigError, "'models.0.output': expected an index"),
        ({"output": ""}, ConfigError, "'models.0.output': expected an index"),
        ({}, ModelError, r"dict with 'scores\.0' of shape \(2, 2\).*'output: scores\.0'"),
    ],
)
def test_what_is_no_output_is_an_error(
    squares: dict[str, Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        ran(squares, Red(BOTH, "dict"), **options)


def test_the_maps_of_a_run_are_those_of_localization_maps(squares: dict[str, Any]) -> None:
    results = ran(squares, Red(SINGLE))
    with Image.open(Path(squares["images"]) / "0.png") as image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    maps = localization_maps(
        Red(SINGLE).eval(), pixels, "cam", layer="cells", head="fc", targets=[0, 1]
    )["cam"]
    assert maps.any()
    torch.testing.assert_close(maps[:, 0], -maps[:, 1])
    assert results
