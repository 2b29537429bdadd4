"""Outputs that are no scores before softmax are a finding that says what to do."""

import pytest
import torch
from torch import nn

from wsol_bench.models.outputs import findings_of, noise_images


class Net(nn.Module):
    """A small network with a function behind its scores."""

    def __init__(self, behind) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 5, 3)
        self.behind = behind

    @torch.no_grad()
    def forward(self, images):
        return self.behind(self.layer(images).relu().mean((2, 3)))


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (lambda scores: scores.softmax(1), "sum to one for each image, as behind a softmax"),
        (lambda scores: scores.softmax(1).half(), "sum to one for each image"),
        (lambda scores: 100 * scores.softmax(1), "sum to 100 for each image, as behind a softmax"),
        (torch.sigmoid, "all lie between 0 and 1, as behind a sigmoid"),
        (lambda scores: scores.log_softmax(1), "logarithms of probabilities"),
        (lambda scores: scores * 0, "the same for all classes"),
    ],
)
def test_outputs_that_are_no_scores_are_found(behind, expected) -> None:
    [finding] = findings_of(Net(behind)(noise_images(16)))
    assert expected in finding
    assert "Let the network return its scores" in finding or "weights of its head" in finding


@pytest.mark.parametrize("behind", [lambda scores: scores, lambda scores: -scores, torch.abs])
def test_scores_are_no_finding(behind) -> None:
    assert findings_of(Net(behind)(noise_images(16))) == ()


@pytest.mark.parametrize("outputs", [[[0.5], [0.5]], [[float("nan"), 0.0], [0.0, 0.0]]])
def test_one_output_or_a_nan_says_nothing_about_scores(outputs) -> None:
    assert findings_of(torch.tensor(outputs)) == ()


def test_the_noise_is_the_same_in_every_run() -> None:
    torch.manual_seed(1)
    assert torch.equal(noise_images(8), noise_images(8))
    assert noise_images(8)[1].std() > 10 * noise_images(8)[0].std()
