"""ShapesNet: a small classifier of the embedded data set "shapes", with its weights.

Global average pooling and one linear layer stand behind the last features, which are not negative,
so that CAM and Grad-CAM agree up to a scale and every map method can be tried without a download.
`scripts/train_shapes_net` trained the weights.
"""

from collections import OrderedDict
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_suffix(".safetensors")
"""The trained weights; the file's metadata holds "wnids", a JSON list in the logits' order."""


class ShapesNet(nn.Module):
    """Residual features of stride 16, their average, a linear head.

    logits = mean over positions of features(images), times fc.weight, plus fc.bias
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                stem=_convolution(3, 32, kernel=7, stride=4),
                down1=_convolution(32, 64, kernel=3, stride=2),
                block1=_Residual(64, 32),
                block2=_Residual(64, 32),
                down2=_convolution(64, 128, kernel=3, stride=2),
                block3=_Residual(128, 48, squeeze=True),
                block4=_Residual(128, 48, squeeze=True),
                block5=_Residual(128, 48, squeeze=True),
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(128, num_classes)

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch classes"]:
        """Logits of RGB images, normalized by ImageNet's mean and deviation, 224 x 224 pixels."""
        logits: Tensor = self.fc(self.pool(self.features(images)).flatten(1))
        return logits


class _Residual(nn.Module):
    """x + a 3 x 3 convolution to `inner` channels and a 1 x 1 convolution back, rectified.

    With `squeeze` a 1 x 1 convolution comes first.
    """

    def __init__(self, channels: int, inner: int, *, squeeze: bool = False) -> None:
        super().__init__()
        first = [_convolution(channels, inner, kernel=1)] if squeeze else []
        entry = inner if squeeze else channels
        self.branch = nn.Sequential(
            *first,
            _convolution(entry, inner, kernel=3),
            nn.Conv2d(inner, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.relu = nn.ReLU()

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        out: Tensor = self.relu(x + self.branch(x))
        return out


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def shapes_net(num_classes: int = 16) -> ShapesNet:
    """A `ShapesNet` with random weights; the file `WEIGHTS` holds the trained ones."""
    return ShapesNet(num_classes)
