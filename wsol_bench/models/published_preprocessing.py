"""The images that a network expects, by what is published with its weights."""

from torch import nn

from wsol_bench.errors import ModelError
from wsol_bench.models.hugging_face import is_of_transformers, processing_of
from wsol_bench.models.names import HUGGING_FACE
from wsol_bench.models.normalization import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    require_channels,
)

__all__ = ["preprocessing_of"]

_MEND = (
    "give the model's 'mean:' and 'std:' (image_mean and image_std of its processor, a number for "
    "each channel)"
)


def preprocessing_of(
    name: str,
    published: str | None,
    module: nn.Module,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Preprocessing:
    """The images that a network expects.

    Args:
        name: the name that it was built by.
        published: the name of its published weights; None if a file holds the weights.
        module: the network.
        mean, std: as they are given; None for those of the published weights, else ImageNet's.

    Raises:
        ModelError: mean and standard deviation have not one number for each channel; or nothing
            says how the images of a network of Hugging Face are normalized.
    """
    if mean is not None and std is not None and is_of_transformers(module):
        expected = Preprocessing(mean, std)
    else:
        expected = _published(name, published, module)
        expected = expected._replace(mean=mean or expected.mean, std=std or expected.std)
    require_channels(expected.mean, expected.std, name)
    return expected


def _published(name: str, published: str | None, module: nn.Module) -> Preprocessing:
    """The images that published weights expect; ImageNet's mean and std if nothing says them."""
    imagenet = Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
    if name.startswith(HUGGING_FACE):
        n_channels = getattr(module.config, "num_channels", 3)
        found = processing_of(name.removeprefix(HUGGING_FACE), n_channels)
        if found is not None:
            return found
        if published == "random" and n_channels == 3:
            return imagenet
        raise ModelError(
            f"{name}: no processor (preprocessor_config.json) says how its images are normalized; "
            f"{_MEND}"
        )
    if is_of_transformers(module):
        raise ModelError(
            f"{name}: a network of transformers does not say how its images are normalized; "
            f"{_MEND}, or name the folder with its processor: hf/FOLDER"
        )
    config = getattr(module, "pretrained_cfg", None) if "/" in name else None  # timm, papers
    if config:
        return Preprocessing(tuple(config["mean"]), tuple(config["std"]), config["input_size"][-1])
    if published in (None, "random") or name == "shapes_net" or {"/", ":"} & {*name}:
        return imagenet
    import torchvision  # its import takes seconds, and shapes_net needs none of it

    transforms = torchvision.models.get_model_weights(name)[published].transforms()
    return Preprocessing(tuple(transforms.mean), tuple(transforms.std), transforms.crop_size[0])
