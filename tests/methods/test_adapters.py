"""Methods of other libraries: agreement with our methods, all classes, and an unchanged network."""

import inspect
import sys
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import build_network, images, network
from torch import Tensor, nn

import wsol_bench
from wsol_bench.capture import BestClasses, Plan, Record, capture
from wsol_bench.errors import ConfigError, ModelError, NotApplicableError
from wsol_bench.methods.adapters.peer_method import import_library, options_of
from wsol_bench.methods.base import MapMethod, cam_methods
from wsol_bench.models.target_layers import Target, target_of
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.methods import build_methods

# The libraries warn about their own code: hooks that they set, numpy's scalars.
pytestmark = pytest.mark.filterwarnings("ignore")

SIZE = 64
EXPERIMENT = {
    "name": "peers",
    "dataset": "shapes",
    "models": ["shapes_net"],
    "protocol": "gradcam-2017",
}
LIBRARIES = ("captum", "pytorch_grad_cam", "torchcam")


def record_of(model: nn.Module, images: Tensor, layer: str | None = None) -> Record:
    return capture(
        model, images, [target_of(model, layer=layer)], Plan(gradients=True), classes=BestClasses(3)
    )


@pytest.fixture(scope="module")
def small() -> Record:
    """A record of ResNet's first stage: 64 channels over 16 x 16 positions."""
    return record_of(build_network("ResNet", 5), images(seed=1), "layer1")


def method(name: str, **options: Any) -> MapMethod:
    pytest.importorskip(name.partition("/")[0])
    return cam_methods.get(name).with_options(options, f"methods.{name}")


def first(record: Record) -> Tensor:
    return torch.zeros(len(record.classes), 1, dtype=torch.int64)


def scaled(maps: Tensor) -> Tensor:
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low + 1e-7)


# ---- against our own Grad-CAM


@pytest.mark.parametrize("architecture", ["ResNet", "VGG"])
@pytest.mark.parametrize("name", ["captum/LayerGradCam", "torchcam/GradCAM"])
def test_grad_cam_of_other_libraries_equals_ours(name: str, architecture: str) -> None:
    """At the layer's own resolution and scale."""
    record = record_of(network(architecture), images())
    ours = cam_methods.get("grad_cam")(record)
    assert ours.amax((-2, -1)).min() >= 0 and ours.max() > 0
    torch.testing.assert_close(method(name)(record), ours, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["captum/LayerGradCam", "torchcam/GradCAM"])
def test_an_operation_in_place_behind_a_layer_does_not_change_the_layer(name: str) -> None:
    """DenseNet's last norm is followed by a ReLU in place; the layer is the output before it."""
    model = network("DenseNet")
    record = capture(
        model, images(), [Target("features")], Plan(gradients=True), classes=BestClasses(2)
    )
    assert record.activations.min() < 0
    ours = cam_methods.get("grad_cam")(record)
    torch.testing.assert_close(method(name)(record), ours, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("architecture", ["ResNet", "VGG"])
def test_grad_cam_of_pytorch_grad_cam_equals_ours_scaled_and_upsampled(architecture: str) -> None:
    record = record_of(network(architecture), images())
    ours = scaled(cam_methods.get("grad_cam")(record))
    large = scaled(F.interpolate(ours, (SIZE, SIZE), mode="bilinear", align_corners=False))
    theirs = method("pytorch_grad_cam/GradCAM")(record)
    assert theirs.shape == (2, 3, SIZE, SIZE)
    torch.testing.assert_close(theirs, large, rtol=0, atol=1e-4)


def test_tokens_are_laid_out_for_the_libraries_that_take_them() -> None:
    record = record_of(network("VisionTransformer"), images())
    ours = cam_methods.get("grad_cam")(record)
    assert ours.max() > 0
    torch.testing.assert_close(method("torchcam/GradCAM")(record), ours, rtol=1e-3, atol=1e-6)
    large = F.interpolate(scaled(ours), (SIZE, SIZE), mode="bilinear", align_corners=False)
    theirs = method("pytorch_grad_cam/GradCAM")(record)
    torch.testing.assert_close(theirs, scaled(large), rtol=0, atol=1e-4)
    with pytest.raises(NotApplicableError, match="captum takes no layer of layout 'tokens'"):
        method("captum/LayerGradCam")(record)
    # Channels are ablated, not tokens.
    with record.probe.metered() as cost:
        method("pytorch_grad_cam/AblationCAM")(record, first(record))
    assert cost.forward == 2 * (1 + 1 + 32)


def test_torchcams_cam_gets_the_head_of_the_table(small: Record) -> None:
    record = record_of(network("ResNet"), images())
    ours = cam_methods.get("cam")(record)
    assert ours.min() < 0
    torch.testing.assert_close(method("torchcam/CAM")(record), ours, rtol=1e-3, atol=1e-5)
    with pytest.raises(NotApplicableError, match="no head is known behind 'layer1'"):
        method("torchcam/CAM")(small)


# ---- over all classes of a library


QUICKER: dict[str, dict[str, Any]] = {
    "pytorch_grad_cam/AblationCAM": {"ratio_channels_to_ablate": 0.1},
    "pytorch_grad_cam/SESS": {"num_scales": 2},
    "torchcam/ISCAM": {"num_samples": 2},
    "torchcam/SSCAM": {"num_samples": 2},
    "captum/IntegratedGradients": {"n_steps": 3},
    "captum/InternalInfluence": {"n_steps": 3},
    "captum/KernelShap": {"n_samples": 3},
    "captum/LayerConductance": {"n_steps": 3},
    "captum/LayerIntegratedGradients": {"n_steps": 3},
    "captum/Lime": {"n_samples": 3},
    "captum/Occlusion": {"sliding_window_shapes": [3, 32, 32], "strides": [3, 32, 32]},
}
# Methods that take one pass for each of a thousand or more pixels or positions.
TOO_MANY_PASSES = {
    "captum/FeatureAblation", "captum/FeaturePermutation", "captum/ShapleyValueSampling",
    "captum/ShapleyValues", "captum/LayerFeatureAblation",
}  # fmt: skip
NOT_THERE = {
    "captum/DeepLift": (ModelError, "module is being used more than once"),
    "captum/DeepLiftShap": (ConfigError, "missing option 'baselines'"),
    "captum/GradientShap": (ConfigError, "missing option 'baselines'"),
    "captum/LayerDeepLift": (ModelError, "module is being used more than once"),
    "captum/LayerDeepLiftShap": (ConfigError, "missing option 'baselines'"),
    "captum/LayerGradientShap": (ConfigError, "missing option 'baselines'"),
    "captum/LayerFeaturePermutation": (ModelError, "Output must be 2D"),
    "captum/LayerLRP": (ModelError, "captum/LayerLRP fails on ResNet: AttributeError"),
    "torchcam/CAM": (NotApplicableError, "no head is known"),
    "torchcam/LeGrad": (ModelError, "torchcam/LeGrad fails on ResNet: ValueError: `score_proj"),
    "torchcam/RefineCAM": (ModelError, "RefineCAM requires at least two target layers"),
}


def names() -> list[str]:
    """The methods that the installed libraries list in their error for an unknown class."""
    listed = []
    for library in filter(find_spec, LIBRARIES):
        with pytest.raises(ConfigError) as error, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of the imported modules
            cam_methods.get(f"{library}/no_such_class")
        _, _, class_names = str(error.value).partition("known: ")
        listed += [f"{library}/{name}" for name in class_names.split(", ")]
    return listed


def state(model: nn.Module) -> list[Any]:
    """All that a library may change: hooks, modules, attributes, modes, gradients, values."""
    kept: list[Any] = []
    for module in model.modules():
        for key, value in vars(module).items():
            if isinstance(value, dict):
                value = list(value.items())
            trace = len(value) if isinstance(value, list) else repr(value)
            kept.append((id(module), key, trace))
        kept.append([id(child) for child in module.children()])
    parameters = [(value.requires_grad, value.grad is None) for value in model.parameters()]
    return [*kept, parameters]


@pytest.mark.parametrize("name", names())
def test_every_class_makes_maps_or_says_why_not(name: str, small: Record) -> None:
    if name in TOO_MANY_PASSES:
        pytest.skip("takes a pass a pixel")
    model = small.probe.model
    before, values = state(model), {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    if name in NOT_THERE:
        kind, message = NOT_THERE[name]
        with pytest.raises(kind, match=message):
            method(name, **QUICKER.get(name, {}))(small, first(small))
    else:
        chosen = method(name, **QUICKER.get(name, {}))
        with torch.inference_mode(), small.probe.metered() as cost:
            maps = chosen(small, first(small))
        library = name.partition("/")[0]
        of_layer = (
            chosen.scope == "layer" and library != "pytorch_grad_cam" and "Guided" not in name
        )
        side = 16 if of_layer else SIZE
        assert maps.shape == (2, 1, side, side)
        assert maps.isfinite().all()
        assert not maps.requires_grad
        assert cost.forward >= 2
    assert torch.equal(torch.rand(1), drawn)
    assert state(model) == before
    assert all(torch.equal(value, values[key]) for key, value in model.state_dict().items())


def test_the_lists_of_exceptions_name_existing_classes() -> None:
    for library in LIBRARIES:
        pytest.importorskip(library)
    assert {*QUICKER, *TOO_MANY_PASSES, *NOT_THERE} <= set(names())


# ---- what a map is


def test_each_slot_has_the_map_of_its_class(small: Record) -> None:
    """A slot alone gives the same map as the slot among others."""
    for name in ("captum/LayerGradCam", "torchcam/GradCAM", "pytorch_grad_cam/GradCAM"):
        whole = method(name)(small)
        for slot in range(3):
            alone = method(name)(small, torch.full((2, 1), slot))
            torch.testing.assert_close(whole[:, [slot]], alone)
        assert not torch.allclose(whole[:, 0], whole[:, 1])


def test_pixel_attributions_are_the_largest_magnitude_over_channels(small: Record) -> None:
    gradients = small.probe.pixel_gradients(small.classes)
    expected = gradients.abs().amax(dim=2)
    chosen = method("captum/Saliency")
    assert chosen.scope == "image"
    torch.testing.assert_close(chosen(small), expected, rtol=1e-3, atol=1e-7)
    signed = method("captum/Saliency", abs=False)
    torch.testing.assert_close(signed(small), expected, rtol=1e-3, atol=1e-7)


def test_layer_attributions_are_summed_over_channels(small: Record) -> None:
    summed = (small.gradients * small.activations[:, None]).sum(dim=2)
    assert summed.min() < 0
    maps = method("captum/LayerGradientXActivation")(small)
    torch.testing.assert_close(maps, summed, rtol=1e-3, atol=1e-6)
    activation = method("captum/LayerActivation")(small)
    torch.testing.assert_close(activation[:, 1], small.activations.sum(dim=1))


def test_captums_grad_cam_is_rectified_unless_an_option_says_otherwise(small: Record) -> None:
    alpha = small.gradients.mean(dim=(-2, -1))
    signed = torch.einsum("bkc,bchw->bkhw", alpha, small.activations)
    assert signed.min() < 0
    unrectified = method("captum/LayerGradCam", relu_attributions=False)
    assert unrectified.name == "captum/LayerGradCam+relu_attributions=False"
    torch.testing.assert_close(unrectified(small), signed, rtol=1e-3, atol=1e-6)


def test_finer_cam_of_pytorch_grad_cam_compares_each_image_with_its_own_classes(
    small: Record,
) -> None:
    finer = method("pytorch_grad_cam/FinerCAM")
    maps = finer(small)
    plain = method("pytorch_grad_cam/FinerCAM", alpha=0.0)(small)
    torch.testing.assert_close(plain, method("pytorch_grad_cam/GradCAM")(small))
    assert not torch.allclose(maps, plain)
    second = record_of(small.probe.model, small.probe.images[1:], "layer1")
    torch.testing.assert_close(finer(second), maps[1:], rtol=0, atol=1e-4)


def test_random_numbers_depend_on_the_batch_alone(small: Record) -> None:
    for name in ("torchcam/SmoothGradCAMpp", "pytorch_grad_cam/RandomCAM"):
        torch.manual_seed(1)
        np.random.seed(1)
        maps = method(name)(small)
        torch.manual_seed(2)
        np.random.seed(2)
        expected = np.random.RandomState(2).rand()
        assert torch.equal(method(name)(small), maps)
        assert np.random.rand() == expected


def test_passes_are_counted(small: Record) -> None:
    expected = {
        "captum/LayerGradCam": (2, 2),
        "captum/Occlusion": (2 * 5, 0),
        "pytorch_grad_cam/GradCAM": (2, 2),
        "pytorch_grad_cam/EigenCAM": (2, 0),
        "torchcam/GradCAM": (2, 2),
        "torchcam/ScoreCAM": (2 + 2 + 2 * 64, 0),
    }
    for name, (forward, backward) in expected.items():
        with small.probe.metered() as cost:
            method(name, **QUICKER.get(name, {}))(small, first(small))
        assert (cost.forward, cost.backward) == (forward, backward), name


def test_the_network_comes_back_after_a_failure(small: Record) -> None:
    """When a pass fails, Ablation-CAM has already replaced the target layer by another module."""
    model = small.probe.model
    first_parameter = next(model.parameters())
    first_parameter.requires_grad_(False)
    first_parameter.grad = torch.ones_like(first_parameter)
    before, gradient = state(model), first_parameter.grad
    passes = []

    def fail(module: nn.Module, inputs: Any) -> None:
        passes.append(len(inputs[0]))
        if len(passes) > 3:
            raise ValueError("enough")

    handle = model.register_forward_pre_hook(fail)
    try:
        with pytest.raises(ModelError, match="AblationCAM fails on ResNet: ValueError: enough"):
            method("pytorch_grad_cam/AblationCAM")(small, first(small))
        assert len(passes) == 4
    finally:
        handle.remove()
    try:
        assert state(model) == before
        assert first_parameter.grad is gradient
    finally:
        first_parameter.requires_grad_(True)
        first_parameter.grad = None


# ---- names and options


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("captum/LayerGradCamm", "'captum/LayerGradCamm'; did you mean 'LayerGradCam'"),
        ("captum/NoiseTunnel", "unknown map method 'captum/NoiseTunnel'"),
        ("captum/LimeBase", "unknown map method"),
        ("captum/LLMAttribution", "unknown map method"),
        ("captum/NeuronGradient", "unknown map method"),
        ("captum/LayerAttribution", "unknown map method"),
        ("captum/visualization", "unknown map method"),
        ("pytorch_grad_cam/GradCam", "did you mean 'GradCAM'"),
        ("pytorch_grad_cam/AblationLayer", "unknown map method"),
        ("pytorch_grad_cam/ActivationsAndGradients", "unknown map method"),
        ("torchcam/GradCAM++", "did you mean 'GradCAM"),
        ("torchcam/_GradCAM", "unknown map method"),
        ("torchcan/GradCAM", "nearest of .*: torchcam/..., "),
    ],
)
def test_an_unknown_class_is_an_error_that_names_the_nearest_class(name: str, message: str) -> None:
    for library in LIBRARIES:
        pytest.importorskip(library)
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace("++", r"\+\+")):
        cam_methods.get(name)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"name": "torchcam/ScoreCAM", "batchsize": 8},
            "methods.torchcam/ScoreCAM: unknown option 'batchsize'; did you mean 'batch_size'",
        ),
        ({"name": "torchcam/ScoreCAM", "batch_size": "many"}, "batch_size: .* found 'many'"),
        ({"name": "torchcam/GradCAM", "normalized": True}, "unknown option 'normalized'"),
        ({"name": "captum/Saliency", "target": 1}, "unknown option 'target'"),
        ({"name": "captum/Occlusion"}, "missing option 'sliding_window_shapes'"),
        ({"name": "captum/LayerGradCam", "layer": "layer1"}, "unknown option 'layer'"),
        ({"name": "pytorch_grad_cam/GradCAM", "detach": False}, "unknown option 'detach'"),
    ],
)
def test_options_are_those_of_the_library(config: dict[str, Any], message: str) -> None:
    pytest.importorskip(config["name"].partition("/")[0])
    with pytest.raises(ConfigError, match=message):
        build_methods(load_config({**EXPERIMENT, "methods": [config]}))


def test_a_configuration_can_name_methods_of_libraries() -> None:
    for library in LIBRARIES:
        pytest.importorskip(library)
    methods = ["captum/LayerGradCam", {"name": "torchcam/ScoreCAM", "batch_size": 8}]
    built, _ = build_methods(load_config({**EXPERIMENT, "methods": methods}))
    names = [method.name for method in built]
    assert names == ["captum/LayerGradCam", "torchcam/ScoreCAM+batch_size=8"]
    assert [method.classes for method in built] == ["label", "label"]
    assert [method.paper.split()[0] for method in built] == ["captum", "torchcam"]


def test_a_run_has_rows_of_methods_of_libraries(tmp_path: Any) -> None:
    pytest.importorskip("captum")
    results = wsol_bench.run(
        {
            "name": "peers",
            "dataset": {"name": "shapes", "n_images": 4},
            "models": ["shapes_net"],
            "methods": [
                {"name": "grad_cam", "classes": "label"}, "captum/LayerGradCam", "captum/Saliency",
            ],
            "protocol": "gradcam-2017",
            "limit": 4,
            "workers": 0,
            "device": "cpu",
        },
        out=tmp_path / "run",
    )  # fmt: skip
    boxes = {
        name: rows.set_index("image_id")[["x0", "y0", "x1", "y1"]]
        for name, rows in results.rows.groupby("method")
    }
    assert set(boxes) == {"grad_cam", "captum/LayerGradCam", "captum/Saliency"}
    assert boxes["captum/LayerGradCam"].equals(boxes["grad_cam"])


def test_a_missing_library_is_an_error_that_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, module in (("captum", "captum.attr"), ("torchcam", "torchcam.methods")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(
            ConfigError, match=rf"{name}/\.\.\. .*pip install 'wsol-bench\[peers\]'"
        ):
            cam_methods.get(f"{name}/GradCAM")
    with pytest.raises(ConfigError, match="no_such_library"):
        import_library("no_such_library", "no_such_library")


def test_a_type_that_no_configuration_can_hold_is_not_checked() -> None:
    def function(self, one, two: int, three: Tensor | int = 0, *, four: list[int] = [], **rest):  # type: ignore[no-untyped-def]  # noqa: B006
        """A library's."""

    options = options_of([function], {"one"}, three=7)
    assert [(name, option.annotation) for name, option in options.items()] == [
        ("two", int), ("three", Any), ("four", list[int]),
    ]  # fmt: skip
    assert options["three"].default == 7
    assert {option.kind for option in options.values()} == {inspect.Parameter.KEYWORD_ONLY}
