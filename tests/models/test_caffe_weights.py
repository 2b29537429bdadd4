"""Weights files of Caffe are read as protobuf writes them, and damaged ones are refused.

The files in reference/caffemodel.json (hexadecimal) were written outside of this project by the
classes that protoc makes of Caffe's caffe.proto (github.com/BVLC/caffe): one with the layers of
before 2014 ("layers", shapes of four sizes), one with those since then ("layer").
"""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from caffemodels import blob, field, layer, old_layer
from torch import Tensor

from wsol_bench.errors import ModelError
from wsol_bench.models.checkpoints import read_weights
from wsol_bench.models.names import weights_file

FILES = {
    name: bytes.fromhex(content)
    for name, content in json.loads(
        (Path(__file__).parents[1] / "reference" / "caffemodel.json").read_text(encoding="utf-8")
    ).items()
}
FOUR = np.arange(4, dtype=np.float32)


def read(content: bytes, folder: Path) -> dict[str, Tensor]:
    path = folder / "net.caffemodel"
    path.write_bytes(content)
    return read_weights(path).state


def described(state: dict[str, Tensor]) -> dict[str, list[object]]:
    assert all(tensor.dtype == torch.float32 for tensor in state.values())
    return {key: tensor.tolist() for key, tensor in state.items()}


COMMON = {
    "block.1x2.weight": [[[[1.0, -2.0]]], [[[0.5, 4.0]]]],
    "block.1x2.bias": [0.25, -1.0],
    "fc.weight": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    "fc.bias": [7.0, 8.0, 9.0],
}


def test_a_file_with_layers_of_before_2014_is_read(tmp_path: Path) -> None:
    assert described(read(FILES["old"], tmp_path)) == COMMON


def test_a_file_with_layers_since_2014_is_read(tmp_path: Path) -> None:
    """Its weights of fc are float64, and its normalization has a third blob."""
    of_norm = {"norm.weight": [1.0, 2.0], "norm.bias": [3.0, 4.0], "norm.2": [0.5]}
    assert described(read(FILES["new"], tmp_path)) == COMMON | of_norm


def test_values_and_sizes_may_stand_one_by_one(tmp_path: Path) -> None:
    """The wire format allows a packed field to come in pieces; a reader must take both."""
    values = b"".join(b"\x2d" + part.tobytes() for part in FOUR)  # field 5, fixed 32 bits
    shape = field(7, field(1, 2) + field(1, 2))
    content = field(1, b"fc") + field(7, values + shape)
    assert described(read(field(100, content), tmp_path)) == {"fc.weight": [[0, 1], [2, 3]]}


def test_an_old_convolution_of_one_channel_keeps_its_four_sizes(tmp_path: Path) -> None:
    """An inner product has the same sizes: the type tells them apart."""
    convolution = old_layer(b"conv", 4, FOUR, (1, 1, 2, 2))
    inner_product = old_layer(b"fc", 14, FOUR, (1, 1, 2, 2))
    state = read(convolution + inner_product, tmp_path)
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == {
        "conv.weight": (1, 1, 2, 2),
        "fc.weight": (2, 2),
    }


def test_a_file_of_this_ending_is_a_weights_file() -> None:
    assert weights_file("nowhere/net.caffemodel") == Path("nowhere/net.caffemodel")


# ---- damaged files


WHOLE = layer("fc", "InnerProduct", FOUR.reshape(2, 2))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no layers with weights"),
        (FILES["old"][:-1], r"field 2 has \d+ bytes where \d+ are left"),
        (b"<!DOCTYPE html><html></html>", "field 7 has the wire type 4"),
        (b"\x80" * 20, "an integer has no end"),
        (b"\x80", "an integer has no end"),
        (b"\x02\x00", "a field has the number 0"),
        (field(100, 7), "an integer is where bytes were expected"),
        (field(100, field(7, blob(FOUR))), "a layer with weights has no name"),
        (field(100, field(1, b"\xff") + field(7, blob(FOUR))), "the name of a layer is no text"),
        (field(100, field(1, b"a") + field(7, field(1, b"x"))), "an integer was expected"),
        (layer("a/b", "", FOUR) + layer("a.b", "", FOUR), "'a.b.weight' is there twice"),
        (
            field(100, field(1, b"a") + field(7, field(7, field(1, 5)) + field(5, bytes(16)))),
            r"16 bytes of values where the shape is \[5\]",
        ),
        (
            field(100, field(1, b"a") + field(7, field(7, field(1, 2**62)) + field(5, bytes(16)))),
            "16 bytes of values where the shape is",
        ),
        (
            field(100, field(1, b"a") + field(7, field(7, field(1, b"\x01" * 99)) + field(5, b""))),
            "a blob has more than 32 sizes",
        ),
        (
            field(100, field(1, b"a") + field(7, field(7, field(1, 1) * 33) + field(5, b"\0" * 4))),
            "a blob has more than 32 sizes",
        ),
        (field(100, field(1, b"a") + field(7, b"") * 65), "a layer has more than 64 blobs"),
        (
            field(100, field(1, b"a") + field(7, field(7, field(1, 2**62) + field(1, 0)))),
            "0 bytes of values where the shape is",
        ),
        (field(1, b"net") + field(100, field(1, b"data")), "holds no layers with weights"),
    ],
)
def test_damaged_files_and_others_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ModelError, match=rf"weights file .*net.caffemodel.*{reason}"):
        read(content, tmp_path)


def test_any_bytes_give_weights_or_an_error_of_ours(tmp_path: Path) -> None:
    """Beginnings of the files, and files with changed bytes."""
    dice = random.Random(0)
    contents = [file[:end] for file in FILES.values() for end in range(0, len(file), 3)]
    for file in FILES.values():
        for _ in range(100):
            changed = bytearray(file)
            for _ in range(dice.randint(1, 3)):
                changed[dice.randrange(len(changed))] = dice.randrange(256)
            contents.append(bytes(changed))
    refused = 0
    for content in contents:
        try:
            assert read(content, tmp_path)
        except ModelError:
            refused += 1
    assert 0 < refused < len(contents)
