"""The contracts that map methods and metrics keep, checked by ``wsol-bench check``."""
