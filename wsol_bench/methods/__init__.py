"""Map methods, one file each; importing the package imports none of them."""
