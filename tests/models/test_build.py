"""A network is built by its name, with random weights that are always the same."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_squeezenet import SIDE, WNIDS, logits
from torch import nn

from wsol_bench.common.progress import Verbosity
from wsol_bench.errors import ModelError
from wsol_bench.models.build import build
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.names import model_names
from wsol_bench.models.target_layers import Target

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
    with pytest.raises(
        ModelError, match=r"unknown model 'resnet81'; did you mean 'resnet18'.*my_module:b"
    ):
        load_classifier("resnet81", weights="random")


def test_the_list_of_networks_holds_classifiers_only() -> None:
    assert {"shapes_net", "resnet50", "vgg16"} <= set(model_names())
    assert not {"fcn_resnet50", "raft_small", "r3d_18"} & set(model_names())


def test_a_download_is_told_as_a_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def downloaded(name: str, *, weights: str) -> nn.Module:
        print(f'Downloading: "https://x.org/{name}.pth" to cache/{weights}.pth')  # as torch.hub
        return nn.Identity()

    monkeypatch.setattr("torchvision.models.get_model", downloaded)
    monkeypatch.setattr("wsol_bench.common.progress._verbosity", [Verbosity.NORMAL])
    build("resnet18", "DEFAULT", {})
    out, err = capsys.readouterr()
    assert (out, err) == ("", "downloading https://x.org/resnet18.pth to cache/DEFAULT.pth\n")


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

class Counted(nn.Module):
    def __init__(self, n_out=2, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.fc = nn.Linear(width, n_out)
    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))

class Failing(nn.Module):
    def forward(self, x, more):
        return x

def failing(error):
    raise ERRORS[error]("why")

ERRORS = {"key": KeyError, "attribute": AttributeError, "import": ImportError, "os": OSError,
          "exit": SystemExit}

class Raising(nn.Module):
    def forward(self, x):
        return {}["logits"]
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
        ("Wrapped", r"expected logits of shape \(batch, classes\), found dict"),
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


@pytest.mark.parametrize("error", ["key", "attribute", "import", "os"])
def test_any_exception_of_a_builder_is_an_error_that_names_its_line(
    error: str, builders: str
) -> None:
    line = 1 + BUILDERS.splitlines().index("def failing(error):") + 1
    with pytest.raises(
        ModelError,
        match=rf"^{builders}:failing: cannot be built with .*: .*{builders}.py:{line}: \w+: '?why",
    ) as raised:
        load_classifier(f"{builders}:failing", dataset_classes=WNIDS, arguments={"error": error})
    assert raised.value.__cause__ is not None


def test_a_builder_that_ends_the_program_is_an_error(builders: str) -> None:
    with pytest.raises(ModelError, match=rf"{builders}.py:\d+: SystemExit: why"):
        load_classifier(f"{builders}:failing", dataset_classes=WNIDS, arguments={"error": "exit"})


def test_an_argument_that_is_missing_is_an_error_at_the_builder(builders: str) -> None:
    line = 1 + BUILDERS.splitlines().index("def failing(error):")
    message = (
        rf"cannot be built without 'arguments:': .*{builders}.py:{line}: TypeError: .* 'error'"
    )
    with pytest.raises(ModelError, match=message):
        load_classifier(f"{builders}:failing", dataset_classes=WNIDS)


def test_an_argument_that_a_class_does_not_take_is_an_error_at_its_init(builders: str) -> None:
    line = 1 + BUILDERS.splitlines().index("    def __init__(self, n_out=2, width=8):")
    message = rf"{builders}.py:{line}: TypeError: .*'num_classes'"
    with pytest.raises(ModelError, match=message):
        load_classifier(f"{builders}:Counted", weights="random", arguments={"num_classes": 5})


def test_the_error_about_another_number_of_outputs_names_the_builders_own_arguments(
    builders: str, tmp_path: Path
) -> None:
    name = f"{builders}:Counted"
    state = build(name, "random", {"n_out": 5}).state_dict()
    torch.save(state, path := tmp_path / "weights.pth")
    takes = rf"'arguments:' for {{}} outputs \({name} takes n_out, width\)"
    with pytest.raises(ModelError, match=f"is built with {takes.format(5)}$"):
        load_classifier(name, weights=str(path), dataset_classes=WNIDS, input_size=SIDE)
    with pytest.raises(ModelError, match=f"build it with {takes.format(len(WNIDS))}; else"):
        load_classifier(name, weights="random", dataset_classes=WNIDS, input_size=SIDE)


def test_any_exception_of_a_network_is_an_error_that_names_its_line(builders: str) -> None:
    line = 1 + BUILDERS.splitlines().index('        return {}["logits"]')
    with pytest.raises(
        ModelError, match=rf"{builders}.py:{line}: KeyError: 'logits'\. Set the size"
    ):
        load_classifier(f"{builders}:Raising", dataset_classes=WNIDS, input_size=SIDE)


def test_a_network_that_takes_no_image_is_an_error(builders: str) -> None:
    with pytest.raises(ModelError, match=r"does not take a 64 x 64 image: .*'more'"):
        load_classifier(
            f"{builders}:Failing", weights="random", dataset_classes=WNIDS, input_size=SIDE
        )


def test_a_builder_in_no_module_is_an_error() -> None:
    with pytest.raises(ModelError, match="cannot import 'no_module_of_theirs'"):
        load_classifier("no_module_of_theirs:net", weights="random")


def test_names_that_are_read_from_source_code_are_all_that_torchvision_registers():
    import torchvision

    registered = torchvision.models.list_models(module=torchvision.models)
    names = [name for name in model_names() if "/" not in name]
    assert names == sorted(["shapes_net", *registered])
