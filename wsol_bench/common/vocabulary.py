"""Words that configurations and code share, declared once and without importing torch."""

from typing import Literal

__all__ = ["Better", "Classes", "Gives", "Layout", "Precision", "Sanity", "Scope"]

# Of a network's pass: float32, or autocast to a half-precision type.
Precision = Literal["fp32", "bf16", "fp16"]

# How a layer's output lies in memory: channels first, channels last, or tokens (n, tokens, c).
Layout = Literal["nchw", "nhwc", "tokens"]

# Whether a map method makes a map of each recorded layer, or one of the image.
Scope = Literal["layer", "image"]

# Whose maps a method makes: of all predictions and the image's own class, or of the latter alone.
Classes = Literal["all", "label"]

# Maps that should localize badly.
Sanity = Literal["class_swapped", "randomized_weights"]

# What a source holds.
Gives = Literal["maps", "boxes"]

# Which values of a metric are good.
Better = Literal["higher", "lower"]
