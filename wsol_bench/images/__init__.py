"""Pixels of image files: decoded images, the network's input, and ground-truth masks."""
