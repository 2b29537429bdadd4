"""Figures that a notebook shows; imports matplotlib, so functions import this module."""

import io
from typing import Any

from matplotlib.figure import Figure

from wsol_bench.report.figures.style import drawing

__all__ = ["NotebookFigure"]

_DPI = 150


class NotebookFigure(Figure):
    """A figure that a notebook shows as a picture; it shows others only once pyplot is imported."""

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        """The picture, and the width in pixels at which it is shown."""
        content = io.BytesIO()
        with drawing():
            self.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
        return content.getvalue(), {"width": round(100 * self.get_figwidth())}
