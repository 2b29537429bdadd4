"""The classes of a network's outputs come from one of three lists, or an error says why not."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small_squeezenet import SIDE, WNIDS, logits
from torch import nn

from wsol_bench.errors import ModelError
from wsol_bench.models.classes import read_class_order
from wsol_bench.models.classifiers import Classifier, load_classifier


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
    assert loaded.classes_from == "the data set's classes, sorted as text"


def test_another_number_of_classes_is_an_error_that_says_both() -> None:
    with pytest.raises(
        ModelError,
        match=r"the network's 1000 outputs, found 12 classes: .*num_classes: 12.*'classes:'",
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


# ---- classes that are numbered

NUMBERED = tuple(map(str, range(12)))


def load_numbered(names: Sequence[str], **options: Any) -> Classifier:
    return load_classifier(
        "squeezenet1_1",
        **{"weights": "random", "arguments": {"num_classes": len(names)}, **options},
        dataset_classes=sorted(names),
        input_size=SIDE,
    )


def test_a_guessed_order_would_make_a_perfect_network_wrong_for_10_of_12_classes() -> None:
    as_text = sorted(NUMBERED)
    assert sum(output != label for output, label in zip(NUMBERED, as_text, strict=True)) == 10
    with pytest.raises(ModelError, match=r"^[^\n]*$") as caught:
        load_numbered(NUMBERED)
    message = str(caught.value)
    assert (
        "as text (torchvision's ImageFolder) the data set's 12 classes are 0, 1, 10, 11, 2, ...,"
        in message
    )
    assert "by number 0, 1, 2, 3, 4, ...;" in message
    for remedy in ("'classes:'", "'wnids'"):
        assert remedy in message


@pytest.mark.parametrize("order", [NUMBERED, tuple(sorted(NUMBERED))], ids=["number", "text"])
def test_a_classes_file_decides_the_order_of_numbered_classes(
    order: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("".join(f"{name}\n" for name in order))
    loaded = load_numbered(NUMBERED, classes=path)
    assert loaded.classes == order
    assert loaded.classes_from == str(path)


@pytest.mark.parametrize("order", [NUMBERED, tuple(sorted(NUMBERED))], ids=["number", "text"])
def test_a_checkpoint_decides_the_order_of_numbered_classes(
    order: tuple[str, ...], net: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": net.state_dict(), "wnids": list(order)}, path)
    loaded = load_numbered(NUMBERED, weights=str(path))
    assert loaded.classes == order
    assert loaded.classes_from == f"'wnids' in {path}"


# ---- the text of a classes file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\xef\xbb\xbfcat\ndog\n", ("cat", "dog")),
        (b"\xef\xbb\xbfcat\r\n\r\ndog", ("cat", "dog")),
        (b"cat a small animal\ndog\n", ("cat", "dog")),
        (b"polar bear\npolar fox\n", ("polar bear", "polar fox")),
        (b"polar bear\tUrsus maritimus\ndog\n", ("polar bear", "dog")),
        ("été chaud\nécureuil\n".encode(), ("été", "écureuil")),
    ],
)
def test_a_classes_file_lists_the_classes_it_shows(
    text: bytes, expected: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(text)
    assert read_class_order(path, {"polar bear", "polar fox", "cat"}).wnids == expected


def test_a_classes_file_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("cat\nécureuil\n".encode("latin-1"))
    with pytest.raises(
        ModelError, match=r"^classes file .*expected UTF-8, found the byte 0xe9 in line 2; save"
    ):
        read_class_order(path)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_files_of_a_model_that_are_none_are_refused_unopened(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "file.pth"
    make(path)
    for options in ({"classes": path}, {"weights": str(path)}):
        with pytest.raises(
            ModelError, match=r"file .*expected a regular file, found a (pipe|folder)"
        ):
            load_classifier("squeezenet1_1", **{"weights": "random", **options})
