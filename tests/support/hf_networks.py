"""Small classifiers of transformers, with random weights through which a signal goes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from networks import calibrate, images, seeded
from torch import nn

transformers = pytest.importorskip("transformers")

N_CLASSES = 6
SIDE = 64
_BLOCKS: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": SIDE, "patch_size": 16,
}  # fmt: skip
_STAGES: dict[str, Any] = {"hidden_sizes": [16, 24, 32], "depths": [1, 1, 2]}
_WINDOWS: dict[str, Any] = {
    "image_size": SIDE, "embed_dim": 16, "depths": [1, 1, 2], "num_heads": [2, 2, 4],
    "window_size": 4,
}  # fmt: skip
# Class of the configuration, and its arguments.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "beit": ("BeitConfig", _BLOCKS),
    "beit_class_token": ("BeitConfig", {**_BLOCKS, "use_mean_pooling": False}),
    "clip": ("CLIPConfig", {"vision_config": _BLOCKS}),
    "convnext": ("ConvNextConfig", {**_STAGES, "num_stages": 3}),
    "convnextv2": ("ConvNextV2Config", {**_STAGES, "num_stages": 3}),
    "deit": ("DeiTConfig", _BLOCKS),
    "dinov2": ("Dinov2Config", _BLOCKS),
    "efficientnet": (
        "EfficientNetConfig",
        {"image_size": SIDE, "width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640},
    ),
    "focalnet": ("FocalNetConfig", {"image_size": SIDE, "embed_dim": 16, "depths": [1, 1, 1]}),
    "hgnet_v2": ("HGNetV2Config", {}),
    "mobilenet_v1": ("MobileNetV1Config", {"depth_multiplier": 0.25}),
    "mobilenet_v2": ("MobileNetV2Config", {"depth_multiplier": 0.35}),
    "poolformer": ("PoolFormerConfig", {"depths": [1, 1, 1, 1]}),
    "pvt_v2": ("PvtV2Config", {"image_size": SIDE, "depths": [1, 1, 1, 1]}),
    "regnet": (
        "RegNetConfig",
        {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "groups_width": 8},
    ),
    "resnet": ("ResNetConfig", {"embedding_size": 16, **_STAGES}),
    "siglip": ("SiglipConfig", {"vision_config": _BLOCKS}),
    "swin": ("SwinConfig", _WINDOWS),
    "swinv2": ("Swinv2Config", _WINDOWS),
    "vit": ("ViTConfig", _BLOCKS),
}


def hf_config(family: str, **changes: Any) -> Any:
    name, arguments = FAMILIES[family]
    config = getattr(transformers, name)(**{**arguments, "num_labels": N_CLASSES, **changes})
    of_kind = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
    config.architectures = [(of_kind[0] if isinstance(of_kind, tuple) else of_kind).__name__]
    return config


def hf_network(family: str, **changes: Any) -> nn.Module:
    """The network, whose head and scales of blocks are not near zero as they are at first."""

    def build() -> nn.Module:
        net = transformers.AutoModelForImageClassification.from_config(hf_config(family, **changes))
        for name, parameter in net.named_parameters():
            if parameter.ndim == 2 and len(parameter) == N_CLASSES:
                nn.init.normal_(parameter, std=0.5)
            elif parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
            elif "bias" not in name and bool((parameter.abs() < 0.2).all()):
                nn.init.constant_(parameter, 0.5)
        return calibrate(net, images(8, SIDE))

    net: nn.Module = seeded(build)
    return net


def hf_folder(folder: Path, net: nn.Module, **processor: Any) -> Path:
    """A folder with a network and its processor, as Hugging Face's hub has one."""
    net.save_pretrained(folder)
    fields = {"size": {"height": SIDE, "width": SIDE}, **processor}
    transformers.ViTImageProcessor(**fields).save_pretrained(folder)
    return folder


def vit_from_torchvision(net: nn.Module) -> nn.Module:
    """transformers' ViT with the weights of torchvision's, by their names."""
    config = hf_config(
        "vit", image_size=net.image_size, patch_size=net.patch_size, hidden_size=net.hidden_dim,
        num_hidden_layers=len(net.encoder.layers), intermediate_size=net.mlp_dim,
        num_attention_heads=net.encoder.layers[0].num_heads, layer_norm_eps=1e-6,
    )  # fmt: skip
    source = net.state_dict()
    state = {
        "vit.embeddings.cls_token": source["class_token"],
        "vit.embeddings.position_embeddings": source["encoder.pos_embedding"],
    }
    for kind in ("weight", "bias"):
        state[f"vit.embeddings.patch_embeddings.projection.{kind}"] = source[f"conv_proj.{kind}"]
        state[f"vit.layernorm.{kind}"] = source[f"encoder.ln.{kind}"]
        state[f"classifier.{kind}"] = source[f"heads.head.{kind}"]
        for index in range(len(net.encoder.layers)):
            theirs, own = f"encoder.layers.encoder_layer_{index}.", f"vit.layers.{index}."
            parts = source[f"{theirs}self_attention.in_proj_{kind}"].chunk(3)
            for name, part in zip("qkv", parts, strict=True):
                state[f"{own}attention.{name}_proj.{kind}"] = part
            for name, other in {
                "attention.o_proj": "self_attention.out_proj", "layernorm_before": "ln_1",
                "layernorm_after": "ln_2", "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3",
            }.items():  # fmt: skip
                state[f"{own}{name}.{kind}"] = source[f"{theirs}{other}.{kind}"]
    copy: nn.Module = transformers.ViTForImageClassification(config).eval()
    with torch.no_grad():
        copy.load_state_dict(state)
    return copy
