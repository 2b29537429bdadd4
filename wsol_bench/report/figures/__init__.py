"""Figures of stored runs for papers, drawn by matplotlib.

``choice`` chooses images and methods by a stated rule, ``panel`` draws one image with its marks,
and ``sheet`` puts panels side by side. ``images`` makes the panels of stored runs from the data of
the page, so both show the same verdicts. ``curves`` and ``bars`` draw numbers. ``files`` writes
everything.
"""
