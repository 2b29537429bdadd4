"""Weights are what their file says, or an error says why not; nothing in a file is executed."""

import copy
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_squeezenet import SIDE, WNIDS, logits
from torch import Tensor, nn
from torchvision import models

from wsol_bench.errors import ModelError
from wsol_bench.models import weights
from wsol_bench.models.checkpoints import read_weights
from wsol_bench.models.classifiers import load_classifier

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


def test_auxiliary_classifiers_of_a_checkpoint_are_left_out(classes: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = models.googlenet(num_classes=len(WNIDS), aux_logits=True, init_weights=False).eval()
    path = tmp_path / "googlenet.pth"
    torch.save(net.state_dict(), path)
    options = {"weights": str(path), "classes": classes, "input_size": SIDE}
    loaded = load_classifier("googlenet", **options, arguments={"transform_input": False})
    assert torch.equal(logits(loaded.module), logits(net))
    # Torchvision's own files need true, and no file says whose it is.
    with pytest.raises(ModelError, match="transform_input: true"):
        load_classifier("googlenet", **options)


def test_counters_that_older_files_lack_are_not_missed(classes: Path, tmp_path: Path) -> None:
    net = models.resnet18(num_classes=len(WNIDS)).eval()
    path = tmp_path / "old.pth"
    state = {key: value for key, value in net.state_dict().items() if "num_batches" not in key}
    torch.save(state, path)
    loaded = load_classifier("resnet18", weights=str(path), classes=classes, input_size=SIDE)
    assert torch.equal(logits(loaded.module), logits(net))


@pytest.mark.parametrize("name", ["colors:color_net", "timm/resnet18"])
def test_weights_that_nobody_reads_are_an_error(name: str) -> None:
    with pytest.raises(
        ModelError, match=r"has no weights 'no_such_file'.*DEFAULT, random or the path"
    ):
        load_classifier(name, weights="no_such_file")


# ---- files that cannot be loaded


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
    with pytest.raises(ModelError, match=f"{name} cannot be read: No such file"):
        load_classifier("squeezenet1_1", weights=str(tmp_path / name), dataset_classes=WNIDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "expected a state_dict or a mapping that holds one, found list"),
        (torch.ones(2), "expected a state_dict or a mapping that holds one, found Tensor"),
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
        "'arguments: {num_classes: 12}' or a file of 12 classes ('classes:')"
    )
    state = {key.replace(".3.", ".three."): value for key, value in state.items()}
    torch.save(state, path)
    with pytest.raises(ModelError, match="These are the weights of another network than"):
        load_classifier("squeezenet1_1", weights=str(path), dataset_classes=WNIDS)


# ---- fingerprint


def test_the_fingerprint_of_weights_is_what_it_was() -> None:
    # Identities of stored runs hold it.
    assert load_classifier("shapes_net").fingerprint == "9d9d78a9bddcfc53"


class Remembering(nn.Module):
    """A module that keeps a state that is no tensor."""

    def __init__(self, memory: object) -> None:
        super().__init__()
        self.memory = memory

    def get_extra_state(self) -> object:
        return self.memory

    def set_extra_state(self, state: object) -> None:
        self.memory = state


def test_the_fingerprint_tells_states_apart_that_are_no_tensors() -> None:
    memories = [
        None, 1, 1.0, "1", b"1", [1], [1, 1], [[1], [1]], (1,), {"a": 1}, {"a": "1"},
        ["ab"], ["a", "b"], torch.float16, torch.ones(2), [torch.ones(2), torch.ones(1)],
        [torch.ones(1), torch.ones(2)],
    ]  # fmt: skip
    digests = [weights.fingerprint(Remembering(memory)) for memory in memories]
    assert len(set(digests)) == len(memories)
    again = [weights.fingerprint(Remembering(copy.deepcopy(memory))) for memory in memories]
    assert digests == again


def test_a_state_without_a_digest_is_an_error_that_names_it() -> None:
    with pytest.raises(ModelError, match=r"object in its state_dict, under '0._extra_state'"):
        weights.fingerprint(nn.Sequential(Remembering(object())))


@pytest.mark.parametrize("memory", [{"seen": 3}, [1, 2], torch.ones(2)])
def test_a_state_that_is_no_tensor_is_loaded_or_missed(memory: object, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(nn.Sequential(nn.Linear(1, 2), Remembering(memory)).state_dict(), path)
    net = nn.Sequential(nn.Linear(1, 2), Remembering(None))
    weights.load_state(net, read_weights(path), "net")
    assert str(net[1].memory) == str(memory)
    torch.save(nn.Sequential(nn.Linear(1, 2)).state_dict(), path)
    with pytest.raises(ModelError, match=r"1 missing \(first: 1._extra_state\)"):
        weights.load_state(net, read_weights(path), "net")


def test_an_exception_of_a_module_that_takes_its_state_is_an_error(tmp_path: Path) -> None:
    class Forgetful(Remembering):
        def set_extra_state(self, state: object) -> None:
            raise KeyError("seen")

    path = tmp_path / "weights.pth"
    net = nn.Sequential(nn.Linear(1, 2), Forgetful(3))
    torch.save(net.state_dict(), path)
    with pytest.raises(
        ModelError, match=r"weights of net: .*test_weights.py:\d+: KeyError: 'seen'"
    ):
        weights.load_state(net, read_weights(path), "net")


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
