"""Whatever a network returns, its maps are those of the plain network whose logits it holds."""

import copy
from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from attention_networks import torchvision_vit
from networks import FeaturesAndHead, images, seeded
from torch import Tensor, nn
from traces import fail, unchanged

from wsol_bench import localization_maps
from wsol_bench.capture import Plan, capture
from wsol_bench.common.catalog import METHODS
from wsol_bench.errors import ModelError, NotApplicableError
from wsol_bench.models.classifiers import Classifier, load_classifier
from wsol_bench.models.output_reading import OutputReading, read_with, reading_of
from wsol_bench.models.randomized import randomized
from wsol_bench.models.target_layers import target_of

N_CLASSES = 6
Pair = namedtuple("Pair", ["features", "scores"])


class Wrapping(FeaturesAndHead):
    """A network that returns its logits within something else."""

    wrap: Any = staticmethod(lambda logits: logits)

    def forward(self, batch: Tensor) -> Any:
        return self.wrap(super().forward(batch))


def network(n_outputs: int = N_CLASSES, wrap: Any = None) -> Wrapping:
    """A small network of convolutions, global average pooling and a linear layer."""

    def build() -> Wrapping:
        features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 5, 3, padding=1), nn.ReLU()
        )
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, n_outputs))
        return Wrapping(features, head)

    net = seeded(build)
    net.wrap = net.wrap if wrap is None else wrap
    return net


LAYER = {"layer": "features.3", "head": "head.2"}
WRAPPED = {
    "index of a tuple": (0, lambda logits: (logits, logits[:, :2])),
    "index from the end": ("-1", lambda logits: [logits[:, :2], logits]),
    "key": ("logits", lambda logits: {"loss": None, "logits": logits}),
    "number as a key": (1, lambda logits: {1: logits}),
    "attribute": ("logits", lambda logits: SimpleNamespace(logits=logits)),
    "field of a named tuple": ("scores", lambda logits: Pair(None, logits)),
    "path": ("0.out.logits", lambda logits: ({"out": SimpleNamespace(logits=logits)}, "x")),
    "key with dots": ("head.0.logits", lambda logits: {"head": {}, "head.0": {"logits": logits}}),
    "function": (lambda output: output["a"] + output["b"], lambda y: {"a": y / 2, "b": y / 2}),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_maps_are_those_of_the_network_that_returns_its_logits(how: str) -> None:
    output, wrap = WRAPPED[how]
    methods = ["grad_cam", "cam", "ablation_cam", "rise", "backprop", "finer_cam", "full_grad"]
    wrapped, options = network(wrap=wrap), {**LAYER, "targets": [1, 4]}
    with unchanged(wrapped):
        found = localization_maps(wrapped, images(), methods, output=output, **options)
    expected = localization_maps(network(), images(), methods, **options)
    for method in methods:
        assert expected[method].any(), method
        torch.testing.assert_close(found[method], expected[method])


@pytest.mark.parametrize("method", ["le_grad", "transformer_attribution", "attention_rollout"])
def test_methods_of_attention_read_the_output_too(method: str) -> None:
    plain, wrapped = torchvision_vit(), torchvision_vit()
    wrapped.register_forward_hook(lambda module, inputs, logits: (None, logits))
    options = {"layer": "encoder.layers.encoder_layer_1.ln_1", "targets": [2]}
    found = localization_maps(wrapped, images(), method, output=1, **options)[method]
    expected = localization_maps(plain, images(), method, **options)[method]
    assert expected.any()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("wrap", "output", "message"),
    [
        (
            lambda y: {"loss": None, "logits": y, "aux": (y[:, :1, None],)},
            None,
            r"dict with 'logits' of shape \(2, 6\), 'aux.0' of shape \(2, 1, 1\); name the scores "
            ".*such as 'output: logits'",
        ),
        (lambda y: (y.sum(), [y]), None, r"such as 'output: 1\.0'"),
        (lambda y: ({"a": y},), 0, r"dict with .* at 'output: 0'; .*such as 'output: 0\.a'"),
        (lambda y: {"a": y}, "b", r"expected 'b' of 'output: b' in .*'a'.*such as 'output: a'"),
        (lambda y: (y,), 3, "expected '3' of 'output: 3'"),
        (lambda y: (y,), "0.x", r"expected 'x' of 'output: 0\.x' .* found shape \(2, 6\) at '0'"),
        (lambda y: {"a": y.argmax(1)}, "a", "floating-point logits .* torch.int64 at 'output: a'"),
        (lambda y: "text", None, "found str without tensors"),
        (lambda y: {"a": y, "b": y}, None, "such as 'output: a' or 'output: b'"),
        (lambda y: y[:, :1, None], None, r"found shape \(2, 1, 1\);.* flatten\(1\)"),
        (lambda y: y[:, :0], None, r"found shape \(2, 0\)"),
        (lambda y: y.T, None, r"for a batch of 2, found shape \(6, 2\)"),
        (
            lambda y: y[:, :, None],
            lambda y: y.squee(2),
            "output function '<lambda>': fails .*squee",
        ),
        (lambda y: y, "no_such_module:scores", "cannot import 'no_such_module'"),
        (lambda y: y, "math:pi", "expected the import path of a function, found 'math:pi'"),
    ],
)
def test_an_error_says_what_there_is_and_what_to_give(wrap: Any, output: Any, message: str) -> None:
    net = network(wrap=wrap)
    with unchanged(net), pytest.raises(Exception, match=f"(?s){message}") as caught:
        localization_maps(net, images(), output=output, **LAYER)
    assert caught.type.__module__ == "wsol_bench.errors"


def test_hooks_of_the_users_own_stay_in_their_order() -> None:
    net = network(wrap=lambda y: {"a": y})
    net.register_forward_hook(lambda module, inputs, output: {"b": output["a"]})
    reading = OutputReading("b")
    with unchanged(net), pytest.raises(RuntimeError, match="of luck"), read_with(net, reading):
        assert net(images()).shape == (2, N_CLASSES)
        fail()
    assert net(images())["b"].shape == (2, N_CLASSES)


def test_a_network_is_checked_for_each_of_its_outputs() -> None:
    """What one output has shown says nothing of the other, which depends on the batch."""
    net = network(wrap=lambda y: (y, y - y.mean(0)))
    localization_maps(net, images(), output=0, **LAYER)
    with pytest.raises(ModelError, match="the logits of an image in two batches differ"):
        localization_maps(net, images(), output=1, **LAYER)
    doubled = network(wrap=lambda y: (y, y.tanh()))
    localization_maps(doubled, images(), "cam", output=0, **LAYER)
    with pytest.raises(NotApplicableError, match="gives other scores than the network"):
        localization_maps(doubled, images(), "cam", output=1, **LAYER)


# ---- a single logit


def two_classes() -> Wrapping:
    """The network of two classes whose logits are [-y, y] of that with the single logit y."""
    one, two = network(1), network(2)
    two.features.load_state_dict(one.features.state_dict())
    with torch.no_grad():
        for mine, its in zip(two.head[2].parameters(), one.head[2].parameters(), strict=True):
            mine.copy_(torch.cat([-its, its]))
    return two


RAISING = "NotApplicableError"


def outcome(net: nn.Module, method: str, **options: Any) -> Tensor | str:
    """The maps of a method, or the name of the error that says that it does not apply."""
    try:
        return localization_maps(net, images(), method, **LAYER, **options)[method]
    except NotApplicableError:
        return RAISING


@pytest.mark.parametrize("method", list(METHODS))
def test_a_single_logit_gives_the_maps_of_two_classes(method: str) -> None:
    options: dict[str, Any] = {"targets": [0, 1]}
    expected = outcome(two_classes(), method, probabilities="sigmoid", **options)
    for wrap in (None, lambda y: y[:, 0]):
        found = outcome(network(1, wrap=wrap), method, **options)
        assert isinstance(found, str) == isinstance(expected, str)
        if isinstance(expected, Tensor) and isinstance(found, Tensor):
            assert expected.any()
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_its_best_class_is_the_first_where_the_logit_is_negative() -> None:
    net = network(1)
    with torch.no_grad():
        net.head[2].bias.fill_(-100.0)
    maps = localization_maps(net, images(), "grad_cam", **LAYER)["grad_cam"]
    by_class = localization_maps(net, images(), "grad_cam", targets=[0, 1], **LAYER)["grad_cam"]
    torch.testing.assert_close(maps, by_class)


def test_excitation_has_no_rule_for_the_negated_logit() -> None:
    net = network(1)
    with torch.no_grad():
        target = target_of(net, layer="features.1")
        with read_with(net, OutputReading()):
            record = capture(net, images().abs(), [target], Plan())
            with pytest.raises(NotApplicableError, match=r"neg.* has no rule"):
                record.probe.excitation(record.classes, map_layer="features.1")


def loaded(net: nn.Module, *, classes: Any = ("cat", "dog"), **options: Any) -> Classifier:
    from wsol_bench.models.given import given

    with given({"network": net}):
        return load_classifier(
            "wsol_bench.models.given:network", dataset_classes=classes, input_size=64,
            layer="features.3", **options,
        )  # fmt: skip


def test_it_is_said_how_the_single_logit_is_read() -> None:
    classifier = loaded(network(1))
    assert classifier.classes == ("cat", "dog")
    [said] = classifier.findings
    assert "the scores are -y of 'cat' and y of 'dog'" in said
    y = network(1)(images())
    scores = classifier.module(images())
    torch.testing.assert_close(scores, torch.cat([-y, y], dim=1))
    probabilities = reading_of(classifier.module).probabilities_of(scores)
    torch.testing.assert_close(probabilities[:, 1:], y.sigmoid())
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))


@pytest.mark.parametrize(
    "wrap",
    [nn.Sigmoid().forward, lambda y: y.sigmoid()[:, 0], lambda y: y.softmax(0).reshape(-1)],
    ids=["a module", "a function", "softmax"],
)
def test_a_single_probability_is_a_finding(wrap: Any) -> None:
    _, said = loaded(network(1, wrap=wrap)).findings
    assert "behind a sigmoid inside the network" in said


def test_a_single_logit_between_0_and_1_is_none() -> None:
    net = network(1)
    with torch.no_grad():
        net.head[2].weight.zero_()
        net.head[2].bias.fill_(0.5)
    assert len(loaded(net).findings) == 1


@pytest.mark.parametrize("classes", [("cat",), ("cat", "dog", "owl")])
def test_a_single_logit_of_other_than_two_classes_is_an_error(classes: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=rf"of two classes, and there are {len(classes)} class"):
        loaded(network(1), classes=classes)


def test_a_single_logit_has_no_softmax() -> None:
    with pytest.raises(ModelError, match=r"sigmoid\(y\).*found softmax"):
        loaded(network(1), probabilities="softmax")


# ---- what was loaded keeps its reading


def test_copies_and_networks_with_permuted_weights_read_alike() -> None:
    net = network(wrap=lambda y: {"a": y})
    classifier = loaded(net, classes=None, output="a", probabilities="sigmoid")
    assert not net._forward_hooks
    for copied in (copy.deepcopy(classifier.module), randomized(classifier.module)):
        assert copied(images()).shape == (2, N_CLASSES)
        assert reading_of(copied).meaning == "sigmoid"


def test_targets_take_the_place_of_what_was_loaded_and_say_the_rest() -> None:
    classifier = loaded(network(wrap=lambda y: {"a": y}), classes=None, output="a")
    options = {"layer": "features.3"}
    with unchanged(classifier.module):
        maps = localization_maps(
            classifier.module, images(), targets=[2, lambda output: output["a"][:, 2]], **options
        )["grad_cam"]
    expected = localization_maps(network(), images(), targets=[2, 2], **options)["grad_cam"]
    torch.testing.assert_close(maps, expected)
    assert classifier.module(images()).shape == (2, N_CLASSES)


# ---- classes that do not exclude each other


@pytest.mark.parametrize("method", ["rise", "occlusion", "score_cam_authors"])
def test_the_probability_of_a_label_is_that_of_a_network_of_this_label_alone(method: str) -> None:
    several, alone = network(), network(1)
    alone.features.load_state_dict(several.features.state_dict())
    with torch.no_grad():
        for mine, its in zip(alone.head[2].parameters(), several.head[2].parameters(), strict=True):
            mine.copy_(its[3:4])
    options = {**LAYER, "probabilities": "sigmoid"}
    found = localization_maps(several, images(), method, targets=3, **options)[method]
    expected = localization_maps(alone, images(), method, targets=1, **options)[method]
    torch.testing.assert_close(found, expected)
    softmax = localization_maps(several, images(), method, targets=3, **LAYER)[method]
    assert not torch.allclose(found, softmax, rtol=1e-3)


def test_a_formula_over_a_softmax_does_not_apply_to_them() -> None:
    from wsol_bench.methods.finer_cam import finer_cam

    weighted = finer_cam.with_options({"weights": "probability"}, "finer_cam")
    localization_maps(network(), images(), weighted, **LAYER)
    with pytest.raises(NotApplicableError, match="take 'weights: equal'"):
        localization_maps(network(), images(), weighted, probabilities="sigmoid", **LAYER)


def test_scores_without_a_batch_are_no_single_logits() -> None:
    """A network that squeezes its scores drops the dimension of a batch of one image."""
    net = network(wrap=lambda y: y.squeeze())
    with pytest.raises(ModelError, match=r"expected logits of shape .*found shape \(6,\)"):
        localization_maps(net, images(1), **LAYER)
    classifier = loaded(net, classes=None)
    with pytest.raises(ModelError, match=r"expected logits of shape .*found shape \(6,\)"):
        classifier.module(images(1))


def doubled(logits: Tensor) -> Tensor:
    return 2 * logits


def test_a_network_that_its_builder_returns_again_is_read_once() -> None:
    """Read twice, the scores of a single logit y would be taken for those of two classes."""
    nets = [network(1)]

    def again(**options: Any) -> Classifier:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("wsol_bench.models.classifiers.build", lambda *_: nets[0])
            return load_classifier(
                "torch.nn:Module", dataset_classes=("cat", "dog"), input_size=64,
                layer="features.3", **options,
            )  # fmt: skip

    first, second = again(), again(output=f"{__name__}:doubled")
    y = network(1)(images())
    for classifier, scale in ((first, 1), (second, 2), (again(), 1)):
        assert reading_of(classifier.module).meaning == "sigmoid"
        torch.testing.assert_close(classifier.module(images()), scale * torch.cat([-y, y], dim=1))
