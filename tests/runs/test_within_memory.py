"""A GPU whose memory does not hold a batch passes it in halves (a fake: tests have no GPU)."""

import logging
from collections.abc import Callable

import pytest
import torch
from colors import color_experiment, color_net
from timeless import assert_same_tables
from torch import Tensor, nn

import wsol_bench
from wsol_bench.errors import ModelError
from wsol_bench.geometry import place
from wsol_bench.images.loading import Group
from wsol_bench.runs.within_memory import within_memory


def group(n: int) -> Group:
    """A group of n images; the pixels of each, and of its further window, hold its index."""
    pixels = torch.arange(n, dtype=torch.float32)[:, None, None, None].expand(n, 3, 2, 2)
    placements = [place(2, 2, geometry="squash", size=2)] * n
    return Group(list(range(n)), placements, pixels, [pixels + 100])


def holding(most: int) -> Callable[[Group], list[int]]:
    """A pass through a network for which a GPU has memory for some images only."""

    def passed(piece: Group) -> list[int]:
        assert len(piece.placements) == len(piece.indices)
        assert piece.pixels[:, 0, 0, 0].tolist() == piece.indices
        assert piece.further[0][:, 0, 0, 0].tolist() == [100 + index for index in piece.indices]
        if len(piece.indices) > most:
            try:
                raise torch.OutOfMemoryError("full")
            except torch.OutOfMemoryError as error:
                raise ModelError("the network fails") from error
        return piece.indices

    return passed


@pytest.mark.parametrize(
    ("n_images", "memory", "at_once", "expected", "told"),
    [
        (10, 10, 16, [10], []),
        (10, 3, 16, [2, 2, 1] * 2, [5, 2]),
        (10, 1, 16, [1] * 10, [5, 2, 1]),
        (10, 8, 4, [4, 4, 2], []),  # as an earlier batch has found
        (7, 4, 16, [3, 3, 1], [3]),
        (1, 1, 1, [1], []),
    ],
)
def test_halves_pass_in_order_until_they_fit(n_images, memory, at_once, expected, told):
    halved: list[int] = []
    pieces, now = within_memory(holding(memory), group(n_images), at_once, halved.append)
    assert [index for piece in pieces for index in piece] == list(range(n_images))
    assert [len(piece) for piece in pieces] == expected
    assert halved == told
    assert now == (told[-1] if told else at_once)


def test_memory_for_no_image_is_an_error():
    with pytest.raises(ModelError, match="the network fails"):
        within_memory(holding(0), group(4), 4, lambda n: None)


def test_a_batch_size_that_was_given_stays():
    with pytest.raises(ModelError, match="the network fails"):
        within_memory(holding(2), group(4), 4, None)


def test_another_failure_is_no_lack_of_memory():
    def fails(piece: Group) -> None:
        raise ModelError("another reason")

    with pytest.raises(ModelError, match="another reason"):
        within_memory(fails, group(4), 4, lambda n: pytest.fail("nothing is halved"))


class Small(nn.Module):
    """The color network on a device whose memory does not hold the batch of four images."""

    def __init__(self) -> None:
        super().__init__()
        self.net = color_net()

    def forward(self, batch: Tensor) -> Tensor:
        if len(batch) == 4:  # other numbers show how the network is built
            raise torch.OutOfMemoryError("4 images are too many")
        return self.net(batch)


def experiment(root, **changes):
    content = color_experiment(root, workers=0, **changes)
    given = {"name": f"{__name__}:Small", "layer": "net.cells", "head": "net.fc"}
    return {**content, "models": [{**content["models"][0], **given}]}


def test_a_run_goes_on_with_halves_and_says_so(root, tmp_path, caplog):
    whole = wsol_bench.run(experiment(root, batch_size=2))
    with caplog.at_level(logging.WARNING):
        halves = wsol_bench.run(experiment(root, batch_size="auto"), out=tmp_path / "run")
    assert "ran out with 4 images in a pass; 2 pass at once from now on" in caplog.text
    [session] = halves.folder.manifest.sessions
    settings = session.settings["color_net"]
    assert (settings.batch_size, settings.at_once) == (4, 2)
    assert_same_tables(halves, whole, ("rows", "images", "maps", "costs"))


def test_a_run_of_a_given_batch_size_fails_and_says_what_to_do(root):
    with pytest.raises(ModelError, match="a batch_size below 4 needs less memory"):
        wsol_bench.run(experiment(root, batch_size=4))
