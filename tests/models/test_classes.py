"""The classes of a network's outputs come from one of three lists, or an error says why not."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_squeezenet import SIDE, WNIDS, logits
from torch import nn

from wsol_bench.errors import ModelError
from wsol_bench.models.classifiers import load_classifier


def test_a_safetensors_file_brings_its_own_classes(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(net.state_dict(), path, metadata={"wnids": json.dumps(WNIDS)})
    loaded = load_classifier(
        "squeezenet1_1", weights=str(path), dataset_classes=["other"], input_size=SIDE
    )
    assert torch.equal(logits(loaded.module), logits(net))
    assert loaded.classes == WNIDS
    assert loaded.classes_from == f"'wnids' in {path}"


def test_a_checkpoint_brings_its_own_classes(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": net.state_dict(), "wnids": list(WNIDS)}, path)
    loaded = load_classifier("squeezenet1_1", weights=str(path), input_size=SIDE)
    assert loaded.classes == WNIDS


def test_the_classes_file_goes_before_those_of_the_weights(
    net: nn.Module, classes: Path, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": net.state_dict(), "wnids": list(WNIDS[::-1])}, path)
    loaded = load_classifier("squeezenet1_1", weights=str(path), classes=classes, input_size=SIDE)
    assert loaded.classes == WNIDS


def test_the_data_sets_order_is_taken_where_nothing_else_tells_one() -> None:
    loaded = load_classifier(
        "squeezenet1_1",
        weights="random",
        dataset_classes=WNIDS,
        arguments={"num_classes": len(WNIDS)},
        input_size=SIDE,
    )
    assert loaded.classes == WNIDS
    assert loaded.classes_from == "the data set's sorted wnids"


def test_another_number_of_classes_is_an_error_that_says_both() -> None:
    with pytest.raises(
        ModelError,
        match=r"each of the network's 1000 outputs, found 12 classes in .*'classes:'",
    ):
        load_classifier("squeezenet1_1", weights="random", dataset_classes=WNIDS, input_size=SIDE)


def test_a_missing_classes_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"classes file .*nowhere"):
        load_classifier("squeezenet1_1", weights="random", classes=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [("\n\n", "lists no classes"), ("n1\nn2\nn1\n", "lists class 'n1' twice")],
    ids=["empty", "twice"],
)
def test_a_classes_file_that_cannot_be_an_order_is_an_error(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(text)
    with pytest.raises(ModelError, match=message):
        load_classifier("squeezenet1_1", weights="random", classes=path, input_size=SIDE)


def test_classes_of_a_safetensors_file_that_are_no_list_are_an_error(
    net: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    for listed in ("[oops", '"n00000003"', "3"):
        save_file(net.state_dict(), path, metadata={"wnids": listed})
        with pytest.raises(ModelError, match="'wnids'"):
            load_classifier("squeezenet1_1", weights=str(path))
