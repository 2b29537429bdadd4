"""Small networks of each kind that the pass records, images for them, and a check for traces."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn
from torchvision import models

N_CLASSES = 12


def images(n: int = 2, side: int = 64) -> Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(7))


def small_vit() -> nn.Module:
    vit = models.VisionTransformer(
        image_size=64,
        patch_size=16,
        num_layers=2,
        num_heads=2,
        hidden_dim=32,
        mlp_dim=64,
        num_classes=N_CLASSES,
    )
    nn.init.normal_(vit.heads.head.weight)  # it is zero at first, and so were every gradient
    return vit


def small_swin() -> nn.Module:
    return models.SwinTransformer(
        patch_size=[4, 4],
        embed_dim=24,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=[4, 4],
        num_classes=N_CLASSES,
    )


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: models.resnet18(num_classes=N_CLASSES),
    "vgg11": lambda: models.vgg11(num_classes=N_CLASSES, init_weights=False),
    "densenet121": lambda: models.densenet121(num_classes=N_CLASSES),
    "squeezenet1_1": lambda: models.squeezenet1_1(num_classes=N_CLASSES),
    "mobilenet_v2": lambda: models.mobilenet_v2(num_classes=N_CLASSES),
    "vit": small_vit,
    "swin": small_swin,
}


@cache
def network(name: str) -> nn.Module:
    """Built once; tests that change a network build their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BUILDERS[name]().eval()


def no_trace(net: nn.Module) -> dict[str, object]:
    """All that a careless pass changes on a model."""
    return {
        "modes": {name: module.training for name, module in net.named_modules()},
        "requires_grad": {name: value.requires_grad for name, value in net.named_parameters()},
        "grads": {name: value.grad for name, value in net.named_parameters()},
        "state": {name: value.clone() for name, value in net.state_dict().items()},
        "hooks": {
            (name, kind): list(getattr(module, kind))
            for name, module in net.named_modules()
            for kind in vars(module)
            if kind.endswith("_hooks")
        },
        "grad mode": torch.is_grad_enabled(),
        "function modes": torch.overrides._get_current_function_mode_stack(),
    }


@contextmanager
def traceless(net: nn.Module) -> Iterator[None]:
    before = no_trace(net)
    yield
    after = no_trace(net)
    states = before.pop("state"), after.pop("state")
    assert before == after
    torch.testing.assert_close(*states, rtol=0, atol=0)


class InPlaceBehind(nn.Module):
    """A convolution, an in-place ReLU, a pooled linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 2)

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.features(batch).relu_().mean((2, 3)))
