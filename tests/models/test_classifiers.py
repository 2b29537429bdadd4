"""A classifier is what its file says, or an error says why not; nothing in a file is executed."""

import json
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from wsol_bench.errors import ModelError
from wsol_bench.models.build import model_names
from wsol_bench.models.classifiers import IMAGENET_MEAN, load_classifier
from wsol_bench.models.target_layers import Target

WNIDS = tuple(f"n{index:08d}" for index in range(3, 15))
SIDE = 64


def squeezenet(seed: int = 1) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.squeezenet1_1(num_classes=len(WNIDS)).eval()


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return squeezenet()


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / "classes.txt"
    path.write_text("".join(f"{wnid} some words, more words\n" for wnid in WNIDS) + "\n")
    return path


def logits(module: nn.Module) -> Tensor:
    with torch.no_grad():
        return module(torch.linspace(-1, 1, 3 * SIDE * SIDE).reshape(1, 3, SIDE, SIDE))


# ---- the forms of a weights file


def with_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{key}": value for key, value in state.items()}


FORMS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "a bare state_dict": lambda state: state,
    "under state_dict": lambda state: {"state_dict": state, "epoch": 90, "best": 0.7},
    "under model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "of DataParallel": with_prefix,
    "of DataParallel, under state_dict": lambda state: {"state_dict": with_prefix(state)},
}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pth.tar"])
@pytest.mark.parametrize("form", FORMS)
def test_every_usual_form_of_a_pth_file_gives_the_saved_network(
    form: str, suffix: str, net: nn.Module, classes: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(FORMS[form](net.state_dict()), path)
    loaded = load_classifier("squeezenet1_1", weights=str(path), classes=classes, input_size=SIDE)
    assert torch.equal(logits(loaded.module), logits(net))
    assert loaded.classes == WNIDS
    assert loaded.classes_from == str(classes)
    assert not any(module.training for module in loaded.module.modules())


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


def test_auxiliary_classifiers_of_a_checkpoint_are_left_out(classes: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = models.googlenet(num_classes=len(WNIDS), aux_logits=True, init_weights=False).eval()
    path = tmp_path / "googlenet.pth"
    torch.save(net.state_dict(), path)
    said = {"weights": str(path), "classes": classes, "input_size": SIDE}
    loaded = load_classifier("googlenet", **said, arguments={"transform_input": False})
    assert torch.equal(logits(loaded.module), logits(net))
    # Torchvision's own files need true, and no file says whose it is.
    with pytest.raises(ModelError, match="transform_input: true"):
        load_classifier("googlenet", **said)


def test_counters_that_older_files_lack_are_not_missed(classes: Path, tmp_path: Path) -> None:
    net = models.resnet18(num_classes=len(WNIDS)).eval()
    path = tmp_path / "old.pth"
    state = {key: value for key, value in net.state_dict().items() if "num_batches" not in key}
    torch.save(state, path)
    loaded = load_classifier("resnet18", weights=str(path), classes=classes, input_size=SIDE)
    assert torch.equal(logits(loaded.module), logits(net))


@pytest.mark.parametrize("name", ["colors:color_net", "timm/resnet18"])
def test_weights_that_nobody_reads_are_an_error(name: str) -> None:
    with pytest.raises(ModelError, match=r"has no weights 'no_such_file'.*DEFAULT, random, a file"):
        load_classifier(name, weights="no_such_file")


def test_the_normalization_is_that_of_the_published_weights() -> None:
    pytest.importorskip("timm")
    arguments = {"num_classes": len(WNIDS)}
    said = {"weights": "random", "dataset_classes": WNIDS, "arguments": arguments}
    plain = load_classifier("timm/resnet18", **said)
    other = load_classifier("timm/vit_tiny_patch16_224", **said)
    assert plain.mean == IMAGENET_MEAN
    assert other.mean == other.std == (0.5, 0.5, 0.5)
    assert other.native_size == 224
    assert load_classifier("timm/resnet18", **said, mean=(0.0, 0.0, 0.0)).mean == (0.0, 0.0, 0.0)


# ---- files that will not do


class Malicious:
    """Unpickled, it makes a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("by", [torch.save, pickle.dumps], ids=["torch.save", "pickle"])
def test_code_in_a_weights_file_is_refused_and_not_run(
    by: Callable[..., object], net: nn.Module, tmp_path: Path
) -> None:
    path, victim = tmp_path / "weights.pth", tmp_path / "pwned"
    content = {"state_dict": net.state_dict(), "extra": Malicious(victim)}
    if by is torch.save:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ModelError, match=r"weights_only=True.*Save a state_dict"):
        load_classifier("squeezenet1_1", weights=str(path), dataset_classes=WNIDS)
    assert not victim.exists()
    torch.load(path, weights_only=False) if by is torch.save else pickle.loads(path.read_bytes())
    assert victim.exists(), "the premise: a careless load runs it"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_an_error_that_names_it(
    kept: float, suffix: str, net: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    save = torch.save if suffix == ".pth" else save_file
    save(net.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ModelError, match=f"weights file .*weights{suffix}"):
        load_classifier("squeezenet1_1", weights=str(path), dataset_classes=WNIDS)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_of_noise_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    rng = random.Random(0)
    for _ in range(200):
        path.write_bytes(b"\x80\x02" + rng.randbytes(rng.randrange(30)))
        with pytest.raises(ModelError, match="cannot be loaded as tensors alone"):
            load_classifier("squeezenet1_1", weights=str(path), dataset_classes=WNIDS)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "folder/weights.pth.tar"])
def test_a_missing_file_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{name} does not exist"):
        load_classifier("squeezenet1_1", weights=str(tmp_path / name), dataset_classes=WNIDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "expected a mapping, found list"),
        (torch.ones(2), "expected a mapping, found Tensor"),
        ({"epoch": 3}, "expected a state_dict or a mapping that holds one .* found keys epoch"),
        ({}, "expected a state_dict"),
        ({0: torch.ones(2)}, "expected a state_dict"),
        ({"state_dict": {"a": torch.ones(2)}, "wnids": 3}, "'wnids'"),
        ({"state_dict": {"a": torch.ones(2)}, "wnids": "n00000003"}, "'wnids'"),
    ],
)
def test_a_file_without_a_state_dict_is_an_error(
    content: object, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(ModelError, match=message):
        load_classifier("squeezenet1_1", weights=str(path), dataset_classes=WNIDS)


def test_classes_of_a_safetensors_file_that_are_no_list_are_an_error(
    net: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    for listed in ("[oops", '"n00000003"', "3"):
        save_file(net.state_dict(), path, metadata={"wnids": listed})
        with pytest.raises(ModelError, match="'wnids'"):
            load_classifier("squeezenet1_1", weights=str(path))


def test_weights_that_do_not_fit_are_an_error_that_says_what_differs(
    net: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    state = dict(net.state_dict())
    state["novel"] = state.pop("features.0.weight")
    torch.save(state, path)
    with pytest.raises(ModelError) as error:
        load_classifier("squeezenet1_1", weights=str(path), dataset_classes=WNIDS)
    assert str(error.value) == (
        f"weights do not fit squeezenet1_1: {path}: 1 missing (first: features.0.weight); "
        "1 unexpected (first: novel); 2 of another shape (first: classifier.1.weight: expected "
        "(1000, 512, 1, 1), found (12, 512, 1, 1)). A head of another size is built with "
        "'arguments: {num_classes: N}' or a class list"
    )


# ---- classes


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
    with pytest.raises(ModelError, match=r"has 1000 outputs, but .* name 12 classes.*'classes:'"):
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


def test_the_shipped_classifier_brings_weights_and_classes() -> None:
    loaded = load_classifier("shapes_net", input_size=SIDE)
    assert loaded.targets == (Target("features", head="fc"),)
    assert loaded.classes[:2] == ("n90000000", "n90000001")


# ---- random weights


def random_squeezenet() -> nn.Module:
    return load_classifier(
        "squeezenet1_1",
        weights="random",
        dataset_classes=WNIDS,
        arguments={"num_classes": len(WNIDS)},
        input_size=SIDE,
    ).module


def test_random_weights_are_the_same_twice() -> None:
    torch.manual_seed(1)
    first = random_squeezenet()
    torch.manual_seed(2)
    assert torch.equal(logits(first), logits(random_squeezenet()))


def test_random_weights_take_nothing_from_the_callers_random_numbers() -> None:
    torch.manual_seed(1234)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    random_squeezenet()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])


# ---- names


def test_an_unknown_network_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ModelError, match="unknown model 'resnet81'; did you mean 'resnet18'"):
        load_classifier("resnet81", weights="random")


def test_the_list_of_networks_holds_classifiers_only() -> None:
    assert {"shapes_net", "resnet50", "vgg16"} <= set(model_names())
    assert not {"fcn_resnet50", "raft_small", "r3d_18"} & set(model_names())


def test_unknown_weights_are_an_error_that_names_the_nearest() -> None:
    with pytest.raises(
        ModelError, match=r"no weights 'IMAGENET1K_V3'.*did you mean 'IMAGENET1K_V1'"
    ):
        load_classifier("resnet18", weights="IMAGENET1K_V3")
    with pytest.raises(
        ModelError, match="shapes_net has no weights 'IMAGENET1K_V1' and no such file"
    ):
        load_classifier("shapes_net", weights="IMAGENET1K_V1")


def test_an_unknown_timm_network_is_an_error_that_names_the_nearest() -> None:
    pytest.importorskip("timm")
    with pytest.raises(ModelError, match="timm has no model 'resnet81'; did you mean 'resnet18'"):
        load_classifier("timm/resnet81", weights="random")


def test_a_timm_network_is_built_by_its_name() -> None:
    pytest.importorskip("timm")
    loaded = load_classifier(
        "timm/resnet18",
        weights="random",
        dataset_classes=WNIDS,
        arguments={"num_classes": len(WNIDS)},
        input_size=SIDE,
        label="mine",
    )
    assert type(loaded.module).__module__.startswith("timm.")
    assert loaded.targets == (Target("layer4", head="fc"),)
    assert loaded.name == "mine"


# ---- builders by import path

BUILDERS = """
import torchvision
from torch import nn

def sized(num_classes, width=64):
    assert width == 48
    return torchvision.models.squeezenet1_1(num_classes=num_classes)

def fixed():
    return torchvision.models.squeezenet1_1(num_classes=12)

def nothing(**arguments):
    return None

class Wrapped(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.net = torchvision.models.squeezenet1_1(num_classes=num_classes)
    def forward(self, x):
        return {"logits": self.net(x)}

class Failing(nn.Module):
    def forward(self, x, more):
        return x
"""


@pytest.fixture
def builders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "their_builders.py").write_text(BUILDERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_builders", raising=False)
    return "their_builders"


def test_a_builder_gets_its_arguments_and_the_number_of_classes(
    builders: str, net: nn.Module, classes: Path, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(net.state_dict(), path)
    loaded = load_classifier(
        f"{builders}:sized",
        weights=str(path),
        classes=classes,
        arguments={"width": 48},
        input_size=SIDE,
    )
    assert torch.equal(logits(loaded.module), logits(net))


def test_a_builder_need_not_take_the_number_of_classes(builders: str, classes: Path) -> None:
    loaded = load_classifier(
        f"{builders}:fixed", weights="random", classes=classes, input_size=SIDE
    )
    assert loaded.classes == WNIDS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "expected a torch.nn.Module, found NoneType"),
        ("Wrapped", r"expected logits of shape \(b, n\), found dict"),
        ("fixde", "has no 'fixde'; did you mean 'fixed'"),
        ("sized", "cannot be built with .*num_classes.*unexpected keyword argument 'depth'"),
    ],
)
def test_a_builder_that_gives_no_classifier_is_an_error(
    name: str, message: str, builders: str, classes: Path
) -> None:
    arguments = {"depth": 3} if name == "sized" else None
    with pytest.raises(ModelError, match=message):
        load_classifier(
            f"{builders}:{name}",
            weights="random",
            classes=classes,
            arguments=arguments,
            input_size=SIDE,
        )


def test_a_network_that_takes_no_image_is_an_error(builders: str) -> None:
    with pytest.raises(ModelError, match=r"does not take a 64 x 64 image: .*'more'"):
        load_classifier(
            f"{builders}:Failing", weights="random", dataset_classes=WNIDS, input_size=SIDE
        )


def test_a_builder_in_no_module_is_an_error() -> None:
    with pytest.raises(ModelError, match="cannot import 'no_module_of_theirs'"):
        load_classifier("no_module_of_theirs:net", weights="random")


# ---- fingerprint


def fingerprint(state: dict[str, Tensor], classes: Path, folder: Path) -> str:
    path = folder / "weights.pth"
    torch.save(state, path)
    return load_classifier(
        "squeezenet1_1", weights=str(path), classes=classes, input_size=SIDE
    ).fingerprint


def test_the_fingerprint_is_that_of_the_weights(
    net: nn.Module, classes: Path, tmp_path: Path
) -> None:
    state = net.state_dict()
    original = fingerprint(state, classes, tmp_path)
    assert fingerprint({"x": 1, "state_dict": state}, classes, tmp_path) == original
    changed = {**state, "features.0.bias": state["features.0.bias"].clone()}
    changed["features.0.bias"][0] = torch.nextafter(
        changed["features.0.bias"][0], torch.tensor(9.0)
    )
    assert fingerprint(changed, classes, tmp_path) != original
