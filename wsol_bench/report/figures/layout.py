"""How much fits a page of a paper: methods beside each other, images, and their columns."""

import math

__all__ = ["MOST_LINES", "best_columns", "images_of_a_page"]

# Methods beside each other; with the image itself, panels are then 0.8 inches wide.
MOST_LINES = 7
# Panels of one method, which flow over several columns, and panels across with any methods.
_ALONE, _MOST_ACROSS = 24, 8
# Rows of images; with their captions, six rows of the widest panels are a page.
_MOST_ROWS = 6


def images_of_a_page(n_lines: int) -> int:
    """The number of images that fit a page.

    Args:
        n_lines: the number of methods that are shown of each, at least 1.
    """
    if n_lines == 1:
        return _ALONE
    if n_lines == 2:  # rows of two images with three panels each
        return 8
    return min(1 + n_lines, _MOST_ROWS)


def best_columns(n: int, width: int = 1) -> int:
    """The number of strips side by side that leaves the fewest places of a sheet empty.

    Args:
        n: the number of strips, at least 1.
        width: the number of panels of a strip.
    """
    most = max(1, min(n, _MOST_ACROSS // width))
    least = min(most, 4 if width == 1 else 1)

    def cost(columns: int) -> float:
        rows = -(-n // columns)
        empty = (rows * columns - n) / (rows * columns)
        # Panels are a little wider than high; a sheet is best about as high as it is wide.
        return round(empty + 0.08 * abs(math.log(rows / (width * columns))), 6)

    return min(range(least, most + 1), key=lambda columns: (cost(columns), -columns))
