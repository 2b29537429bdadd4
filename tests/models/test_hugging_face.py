"""Classifiers of Hugging Face: what is loaded equals what transformers computes itself."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hf_networks import (
    FAMILIES,
    N_CLASSES,
    SIDE,
    hf_config,
    hf_folder,
    hf_network,
    transformers,
    vit_from_torchvision,
)
from networks import images, seeded, small_vit
from PIL import Image
from torch import nn

import wsol_bench
from wsol_bench import localization_maps
from wsol_bench.capture import Plan, capture
from wsol_bench.errors import ModelError, NotApplicableError
from wsol_bench.images.decode import load_image
from wsol_bench.images.preprocess import normalize, windows
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.hugging_face import processing_of
from wsol_bench.models.output_reading import OutputReading, read_with
from wsol_bench.models.target_layers import target_of
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.code_digests import builder_digest

# The methods that random numbers, long waits or another network's modules keep from a comparison.
OTHERS = {"acol", "rise", "ss_cam", "smooth_grad", "smooth_grad_cam_pp"}


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return hf_network("vit")


@pytest.fixture(scope="module")
def folder(vit: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hf_folder(tmp_path_factory.mktemp("hf") / "vit", vit)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photograph.png")
    return tmp_path / "photograph.png"


def load(folder: Path, **changes: Any) -> Any:
    return load_classifier(
        f"hf/{folder}", **{"dataset_classes": None, "input_size": SIDE, **changes}
    )


def altered(folder: Path, copy: Path, **changes: Any) -> Path:
    """A folder with config.json alone, of which some keys are changed."""
    copy.mkdir()
    config = json.loads((folder / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **changes}))
    return copy


PROCESSORS: list[Any] = [
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}),
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}, do_normalize=False),
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}, do_rescale=False),
    transformers.CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    ),
    transformers.EfficientNetImageProcessor(size={"height": SIDE, "width": SIDE}),
    transformers.EfficientNetImageProcessor(
        size={"height": SIDE, "width": SIDE}, rescale_offset=True, rescale_factor=1 / 127.5
    ),
]


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda one: type(one).__name__)
def test_logits_are_those_of_the_network_behind_its_own_processor(
    processor: Any, vit: nn.Module, photograph: Path, tmp_path: Path
) -> None:
    vit.save_pretrained(tmp_path / "net")
    processor.save_pretrained(tmp_path / "net")
    classifier = load(tmp_path / "net")
    assert classifier.native_size == SIDE
    section = load_protocol("gradcam-2017", {"input": {"size": SIDE}}).input
    [pixels] = windows(load_image(photograph), [section.place(SIDE, SIDE)], section)
    found = classifier.module(normalize(pixels[None], classifier.mean, classifier.std))
    theirs = processor(images=Image.open(photograph), return_tensors="pt")
    torch.testing.assert_close(found, vit(**theirs).logits, rtol=1e-4, atol=1e-4)


def test_the_size_is_that_of_what_the_processor_makes(vit: nn.Module, tmp_path: Path) -> None:
    for side, processor in {
        224: transformers.ConvNextImageProcessor(size={"shortest_edge": 224}, crop_pct=0.875),
        384: transformers.ConvNextImageProcessor(size={"shortest_edge": 384}),
        192: transformers.LevitImageProcessor(crop_size={"height": 192, "width": 192}),
    }.items():
        processor.save_pretrained(tmp_path)
        found = processing_of(str(tmp_path), 3)
        assert found is not None
        assert found.size == side


def test_a_processor_that_swaps_colors_is_refused(
    folder: Path, vit: nn.Module, tmp_path: Path
) -> None:
    vit.save_pretrained(tmp_path)
    transformers.MobileViTImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="blue before red"):
        load(tmp_path)


def test_without_a_processor_mean_and_std_are_asked_for(vit: nn.Module, tmp_path: Path) -> None:
    vit.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"no processor .* give the model's 'mean:' and 'std:'"):
        load(tmp_path)
    given = load(tmp_path, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5))
    assert given.mean == (0.1, 0.2, 0.3)
    assert load(tmp_path, weights="random").mean == (0.485, 0.456, 0.406)


def test_random_weights_need_config_json_alone(folder: Path, tmp_path: Path) -> None:
    bare = altered(folder, tmp_path / "bare", architectures=None)
    first, second = (load(bare, weights="random") for _ in range(2))
    assert first.fingerprint == second.fingerprint
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load(bare)


@pytest.mark.parametrize(
    "changes",
    [
        {"output_hidden_states": True},
        {"return_dict": False},
        {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5},
        {"gradient_checkpointing": True},
        {"dtype": "float16"},
        {"attn_implementation": "somebody/code", "_attn_implementation": "somebody/code"},
    ],
    ids=str,
)
def test_other_keys_of_config_json_do_not_matter(
    changes: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    copy = altered(folder, tmp_path / "copy", **changes)
    for file in ("model.safetensors", "preprocessor_config.json"):
        (copy / file).write_bytes((folder / file).read_bytes())
    plain, found = load(folder), load(copy)
    assert found.fingerprint == plain.fingerprint
    torch.testing.assert_close(found.module(images(2, SIDE)), plain.module(images(2, SIDE)))


class Harmful:
    def __reduce__(self) -> Any:
        return os.mkdir, (Harmful.place,)

    place = ""


def test_no_code_of_a_folder_runs(folder: Path, tmp_path: Path) -> None:
    Harmful.place = str(tmp_path / "was_run")
    code = f"import os\nos.mkdir({Harmful.place!r})\n"
    custom = altered(
        folder, tmp_path / "custom", model_type="custom",
        auto_map={"AutoConfig": "custom.C", "AutoModelForImageClassification": "custom.M"},
    )  # fmt: skip
    (custom / "custom.py").write_text(code)
    with pytest.raises(ModelError, match="brings code of its own, which is never run"):
        load(custom, weights="random")
    pickled = altered(folder, tmp_path / "pickled")
    torch.save({"classifier.weight": Harmful()}, pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match="holds more than tensors"):
        load(pickled)
    assert not Path(Harmful.place).exists()


def test_weights_are_loaded_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    config = hf_config("vit")
    transformers.ViTModel(config).save_pretrained(tmp_path / "no_head")
    with pytest.raises(ModelError, match=r"2 missing \(first: classifier\.bias\).*no classif"):
        load(tmp_path / "no_head")
    with pytest.raises(ModelError, match=r"unexpected .* config\.json is that of another network"):
        load(folder, arguments={"num_hidden_layers": 1})
    with pytest.raises(ModelError, match="of another shape"):
        load(folder, arguments={"num_classes": N_CLASSES + 1})
    with pytest.raises(ModelError, match="a ViTConfig has no nonsense"):
        load(folder, arguments={"nonsense": 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "detr"}, "expected an image classifier, found a 'detr'"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantized"),
        ({"hidden_size": "many"}, "hidden_size"),
        ({"id2label": {"0": "a", "7": "b"}}, "expected id2label of config.json"),
    ],
    ids=str,
)
def test_what_config_json_holds_is_checked(
    changes: dict[str, Any], message: str, folder: Path, tmp_path: Path
) -> None:
    bare = altered(folder, tmp_path / "bare", **changes)
    with pytest.raises(ModelError, match=message):
        load(bare, weights="random", dataset_classes=("a", "b"))


def test_a_name_that_is_neither_folder_nor_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected a folder with config\.json, or the id"):
        load(tmp_path / "absent" / "folder")


def test_an_id_without_network_says_how_to_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="hf download nobody/nothing --local-dir FOLDER"):
        load(Path("nobody/nothing"))


# ---- labels


def test_labels_that_are_the_data_sets_words_are_its_classes(
    vit: nn.Module, tmp_path: Path
) -> None:
    words = ["ring", "star", "heart", "cross", "disk", "box"]
    vit.config.id2label = dict(enumerate(words))
    try:
        hf_folder(tmp_path, vit)
    finally:
        vit.config.id2label = {n: f"LABEL_{n}" for n in range(N_CLASSES)}
    classes = {f"n0000000{n}": word for n, word in enumerate(sorted(words))}
    found = load(tmp_path, dataset_classes=classes)
    assert [classes[wnid] for wnid in found.classes] == words
    assert found.classes_from == "the network's own names of its outputs, in words"
    with pytest.raises(ModelError, match=r"'ring', 'star', 'heart', ....*'n00000000 bear'"):
        load(tmp_path, dataset_classes={**classes, "n00000000": "bear"})


def test_labels_without_names_leave_the_data_sets_order(folder: Path) -> None:
    classes = tuple("abcdef")
    order = load(folder, dataset_classes=classes)
    assert order.classes_from == "the data set's classes, sorted as text"


# ---- target layers and maps


def with_logits(net: nn.Module) -> Any:
    return read_with(net, OutputReading("logits"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layer_gives_a_grid_that_the_logits_depend_on(family: str) -> None:
    net = hf_network(family)
    with with_logits(net):
        record = capture(net, images(2, SIDE), [target_of(net)], Plan(gradients=True))
    height, width = record.activations.shape[-2:]
    assert height == width > 1
    assert record.gradients is not None
    assert (record.gradients.abs().amax((2, 3, 4)) > 0).all()


GAP_AND_LINEAR = [
    "clip", "efficientnet", "focalnet", "hgnet_v2", "mobilenet_v1", "mobilenet_v2", "poolformer",
    "pvt_v2", "regnet", "resnet", "siglip", "swin", "swinv2",
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_grad_cam_is_cam_where_the_head_is_gap_and_linear(family: str) -> None:
    net = hf_network(family)
    assert (target_of(net).head is not None) == (family in GAP_AND_LINEAR)
    if family not in GAP_AND_LINEAR:
        with pytest.raises(NotApplicableError):
            localization_maps(net, images(2, SIDE), "cam")
        return
    maps = localization_maps(net, images(2, SIDE), ["cam", "grad_cam"], k=3)
    cam = maps["cam"].relu()
    assert cam.max() > 0
    positions = cam.shape[-2] * cam.shape[-1]
    torch.testing.assert_close(maps["grad_cam"] * positions, cam, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_maps_are_those_of_the_same_weights_in_torchvision() -> None:
    from wsol_bench.methods.base import cam_methods

    theirs = seeded(small_vit)
    own = vit_from_torchvision(theirs)
    batch = images(2, SIDE)
    torch.testing.assert_close(own(batch).logits, theirs(batch))
    compared = 0
    for name in cam_methods:
        if name in OTHERS or "/" in name:
            continue
        try:
            expected = localization_maps(theirs, batch, [name], targets=[0, 3])
        except NotApplicableError:
            with pytest.raises(NotApplicableError):
                localization_maps(own, batch, [name], targets=[0, 3])
            continue
        found = localization_maps(own, batch, [name], targets=[0, 3])
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-4 * scale)
        compared += 1
    assert compared > 20


def test_attention_of_transformers_is_recorded() -> None:
    own = hf_network("deit")
    methods = ["attention_rollout", "transformer_attribution", "le_grad"]
    maps = localization_maps(own, images(2, SIDE), methods, k=2)
    assert all(bool(of_method.any()) for of_method in maps.values())
    with pytest.raises(NotApplicableError, match="windows"):
        localization_maps(hf_network("swin"), images(2, SIDE), "attention_rollout")


# ---- a network that is given as an object, and runs


def test_a_network_that_is_given_needs_mean_and_std(vit: nn.Module, photograph: Path) -> None:
    protocol = {"name": "gradcam-2017", "input": {"size": SIDE}}
    with pytest.raises(ModelError, match="does not say how its images are normalized"):
        wsol_bench.explain(photograph, model=vit, protocol=protocol)
    half = [0.5, 0.5, 0.5]
    [result] = wsol_bench.explain(
        photograph, model={"name": vit, "mean": half, "std": half}, protocol=protocol
    )
    assert result.maps["grad_cam"].shape == (5, 4, 4)


def test_a_run_names_a_folder_and_takes_its_labels(vit: nn.Module, tmp_path: Path) -> None:
    from wsol_bench.datasets.shapes.loader import shapes

    classes = shapes().classes
    net = hf_network("convnext", num_labels=len(classes))
    net.config.id2label = dict(enumerate(classes["words"]))
    hf_folder(tmp_path / "net", net)
    results = wsol_bench.run(
        {
            "name": "hf", "dataset": "shapes", "models": [{"name": f"hf/{tmp_path}/net"}],
            "methods": ["grad_cam", "layer_cam"], "limit": 3, "workers": 0, "device": "cpu",
            "protocol": {"name": "gradcam-2017", "input": {"size": SIDE}},
        }
    )  # fmt: skip

    assert len(results.rows) >= 2 * 3 * 5


def test_what_config_json_says_beside_the_weights_belongs_to_the_identity(
    folder: Path, tmp_path: Path
) -> None:
    def source(copy: str, **changes: Any) -> str | None:
        net = load(altered(folder, tmp_path / copy, **changes), weights="random")
        return builder_digest(net.name, net.module)

    assert source("same") == source("another place", transformers_version="4.0.0")
    assert source("other", hidden_act="relu") != source("heads", num_attention_heads=1)
    assert source("unlike", hidden_act="relu") != source("like")


def test_a_network_that_config_json_calls_a_regression_is_a_finding(
    folder: Path, tmp_path: Path
) -> None:
    changed = altered(folder, tmp_path / "net", problem_type="regression")
    [said] = load(changed, weights="random").findings
    mended = {"problem_type": "single_label_classification"}
    assert "'problem_type: regression'" in said and str(mended["problem_type"]) in said
    assert load(changed, weights="random", arguments=mended).findings == ()


def test_a_processor_that_takes_no_gray_images_asks_for_mean_and_std(tmp_path: Path) -> None:
    gray = hf_folder(tmp_path / "net", hf_network("vit", num_channels=1))
    with pytest.raises(ModelError, match=r"does not take images of 1 channels.*'mean:' and 'std:'"):
        load(gray)
    assert load(gray, mean=(0.5,), std=(0.5,)).n_channels == 1
