"""What is given as an object is told from what does something else, and is itself elsewhere."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.runs.given_digests import object_digest

FACTOR = 2.0
SMALL = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Times:
    """A function that is an object."""

    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def __call__(self, output: Any) -> Any:
        return self.factor * output

    def method(self, output: Any) -> Any:
        return self.factor * output


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * images


def times(factor: Any) -> Any:
    return lambda output: factor * output


def product(output: Any, factor: Any = 1) -> Any:
    return factor * output


def of_global(output: Any) -> Any:
    return [FACTOR * one for one in output]


@pytest.mark.parametrize(
    "make",
    [
        times, Times, lambda k: Times(k).method, lambda k: partial(product, factor=k),
        lambda k: times(Times(k)), lambda k: times(torch.tensor([float(k)])),
        lambda k: times(nn.Conv2d(3, 3, k)), lambda k: times({"a": [k]}),
        lambda k: nn.Conv2d(3, 3, 1, stride=k), lambda k: Scaled(k),
        lambda k: times(np.full(3, k)),
    ],
)  # fmt: skip
def test_objects_of_the_same_code_differ_by_what_they_hold(make: Any) -> None:
    torch.manual_seed(0)
    digests = [object_digest(make(1))]
    torch.manual_seed(0)
    assert object_digest(make(1)) == digests[0]
    assert object_digest(make(2)) != digests[0]


def test_functions_differ_by_their_code_and_globals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert object_digest(lambda y: y[0]) != object_digest(lambda y: y[1])
    assert object_digest(lambda y: y.a) != object_digest(lambda y: y.b)
    before = object_digest(of_global)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert object_digest(of_global) != before


def test_another_process_has_the_same_digests() -> None:
    code = (
        "import test_given_digests as t; from wsol_bench.runs.given_digests import object_digest;"
        "print(object_digest(t.times({'a', 'b', 3})), object_digest(t.of_global))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parent, env={"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1


class Negated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = SMALL

    def forward(self, images: Tensor) -> Tensor:
        return -torch.cat([self.body(images)] * 2, dim=1)


class Plain(Negated):
    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.body(images)] * 2, dim=1)


def test_a_finished_run_is_not_that_of_another_object(tmp_path: Path) -> None:
    def run(network: nn.Module, output: Any) -> Any:
        model = {"name": network, "output": output, "layer": "body.1", "label": "net"}
        experiment = {
            "name": "given", "dataset": "shapes", "models": [model], "methods": ["grad_cam"],
            "protocol": "gradcam-2017", "limit": 2, "workers": 0, "device": "cpu",
        }  # fmt: skip
        return wsol_bench.run(experiment, out=tmp_path)

    first = run(Plain(), times(1))
    assert run(Plain(), times(1)).rows.equals(first.rows)
    with pytest.raises(RunError, match="output"):
        run(Plain(), times(-1))
    with pytest.raises(RunError, match="source"):
        run(Negated(), times(1))
