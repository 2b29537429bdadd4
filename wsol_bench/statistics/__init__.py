"""Statistics of a number over images: confidence intervals, paired tests, Holm's correction.

They take the images as drawn at random from many such images, and the network and the protocol as
fixed, so they say nothing about another training run.

The values of all images in one number are a column (``columns``); hits on curves over thresholds
are packed columns (``hits``). ``contributions`` makes one column of a number that is no mean.
``intervals``, ``paired_tests`` and ``correction`` hold the reported statistics. ``bootstrap``
estimates the bias of a number; it resamples the images by ``draws`` and ``weighted_means``.
"""
