"""From image files to pixels: decoding, the network's input, ground-truth masks."""
