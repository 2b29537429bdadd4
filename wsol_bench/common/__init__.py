"""Parts that every room uses, none of which knows what localization is."""
