"""Statistics of a number over images: bootstrap intervals, paired tests, Holm's correction.

They see the images as drawn at random from many such images, and the network and the protocol as
fixed: they say nothing about another training run.

A value of each image in one number is a column (``columns``); hits on curves over thresholds are
packed columns (``hits``). ``bootstrap`` resamples the images by ``draws`` and ``weighted_means``.
``intervals``, ``paired_tests`` and ``correction`` hold what is reported. ``resampler`` gives the
intervals and tests of many numbers from the same resamples.
"""
