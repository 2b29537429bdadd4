"""The contracts that plug-ins keep, and the checks of them: ``wsol-bench check``."""
