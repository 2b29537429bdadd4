"""Tools that all other packages use, and that know nothing of localization."""
