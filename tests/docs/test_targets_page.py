"""The code of docs/targets.md runs, and its maps are those of plain autograd."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

PAGE = Path(__file__).parents[2] / "docs" / "targets.md"


@pytest.fixture(scope="module")
def spaces() -> list[dict[str, Any]]:
    """The names that each block of code of the page leaves."""
    space: dict[str, Any] = {}
    left = []
    with torch.random.fork_rng(devices=[]):
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
            exec(compile(block, PAGE.name, "exec"), space)
            left.append(dict(space))
    return left


def space_of(spaces: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The names after the block that defines one of them."""
    return next(space for space in spaces if name in space)


def by_hand(layer: nn.Module, score: Any, images: Tensor) -> Tensor:
    """Grad-CAM by plain autograd of a score that is a function of the images."""
    taken = []
    with torch.enable_grad():
        handle = layer.register_forward_hook(lambda module, inputs, output: taken.append(output))
        try:
            scores = score(images)
        finally:
            handle.remove()
        (gradient,) = torch.autograd.grad(scores.sum(), taken)
    alpha = gradient.mean((2, 3), keepdim=True)
    return (alpha * taken[0]).sum(1).relu().detach()


def assert_same(space: dict[str, Any], layer: nn.Module, *scores: Any) -> None:
    expected = [by_hand(layer, score, space["images"]) for score in scores]
    assert all(one.any() for one in expected)
    maps = space["maps"]["grad_cam"]
    torch.testing.assert_close(maps, torch.stack(expected, dim=1), rtol=1e-4, atol=1e-8)


def test_a_captions_token(spaces: list[dict[str, Any]]) -> None:
    space = space_of(spaces, "captioner")
    net = space["captioner"]
    assert_same(space, net.features, lambda images: net(images)[:, 2, 9])
    assert set(space["maps"]) == {"grad_cam", "score_cam"}


def test_an_answer(spaces: list[dict[str, Any]]) -> None:
    space = space_of(spaces, "asked")
    net = space["asked"]
    assert_same(space, net.network.features, lambda images: net(images)[:, 4])


def test_a_class_over_a_mask(spaces: list[dict[str, Any]]) -> None:
    space = space_of(spaces, "segmenter")
    net = space["segmenter"]
    assert_same(
        space, net.features, lambda images: net(images)["out"][:, 2, 8:20, 4:16].sum((1, 2))
    )


def test_similarity(spaces: list[dict[str, Any]]) -> None:
    space = next(space for space in spaces if "similar_to_second" in space)
    net, references = space["embed"], space["references"]

    def cosine(reference: Tensor) -> Any:
        def of(images: Tensor) -> Tensor:
            embeddings = net(images)
            return embeddings @ reference / embeddings.norm(dim=1) / reference.norm()

        return of

    assert_same(space, net[0], cosine(references[0]), cosine(references[1]))


def test_a_photograph(spaces: list[dict[str, Any]], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (240, 260, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    [explained] = spaces[-1]["similarity"](tmp_path / "a.png")
    assert explained.classes == ("similar_to_first", "similar_to_second", "output 3")
    assert np.isnan(explained.probabilities).all()
    assert -1 <= explained.scores[0] <= 1
    assert explained.maps["grad_cam"].shape[0] == 3
    assert explained.figure()
