"""The embedded data set: drawn shapes, with boxes that are right by construction."""
