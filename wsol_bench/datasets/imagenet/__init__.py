"""ImageNet: the loader, the layouts of its folders, and the devkit's class list."""
