"""Pixels of image files: decoding, the network's input, ground-truth masks."""
