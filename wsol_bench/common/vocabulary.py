"""The words that both configurations and code use, as types that need no import of torch."""

from typing import Literal, NamedTuple

__all__ = [
    "CHANNELS",
    "Better",
    "Choose",
    "Classes",
    "Comparison",
    "Connectivity",
    "FigureFormat",
    "Gives",
    "KeptMaps",
    "Layout",
    "Precision",
    "PredictionFormat",
    "Probabilities",
    "Reference",
    "Sanity",
    "Scope",
    "TokenGrid",
    "WhichComponents",
]

# The number of neighbors of a pixel: those at its sides, or those at its corners, too.
Connectivity = Literal[4, 8]

# How the images of a figure are chosen: at random, by the IoU, or where two methods differ.
Choose = Literal["random", "best", "worst", "differ"]

# The formats of figures.
FigureFormat = Literal["png", "pdf"]

# What a threshold is a fraction of: a map's maximum, or its range from the minimum on.
Reference = Literal["maximum", "range"]

# Whether a pixel reaches a level that it equals: >= or >.
Comparison = Literal["at_least", "above"]

# The connected components whose boxes count.
WhichComponents = Literal["largest", "all"]

# The number format of a network's pass: float32, or autocast to a half-precision type.
Precision = Literal["fp32", "bf16", "fp16"]

# How a network's scores become probabilities: of classes that exclude each other, or that do not.
Probabilities = Literal["softmax", "sigmoid"]

# The order of the axes of a layer's output: channels first, channels last, or (n, tokens, c).
Layout = Literal["nchw", "nhwc", "tokens"]


class TokenGrid(NamedTuple):
    """The grid of patches among the tokens of a layer.

    Attributes:
        height, width: number of rows and columns of patches.
        first: index of the first patch token; the patches follow row by row.
    """

    height: int
    width: int
    first: int


# Whether a map method makes a map for each recorded layer, or one map of the image.
Scope = Literal["layer", "image"]

# The classes that a method makes maps of: all predictions and the label, or the label alone.
Classes = Literal["all", "label"]

# The numbers of channels that images can have, in words.
CHANNELS = {1: "gray", 3: "RGB", 4: "RGB and alpha"}

# The maps that a run keeps: of all classes that maps are made of, of the labels, or of no class.
KeptMaps = Literal["all", "label", "none"]

# Sanity checks of a method: maps that should localize badly.
Sanity = Literal["class_swapped", "randomized_weights"]

# The kind of results that a network-free method gives.
Gives = Literal["maps", "boxes"]

# The formats in which a file of predictions is written.
PredictionFormat = Literal["devkit", "kaggle"]

# The direction in which a metric improves.
Better = Literal["higher", "lower"]
