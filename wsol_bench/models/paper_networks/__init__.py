"""Networks that papers have trained and no library has: a module for each collection of weights.

Each public function of a module builds one network, and ``<module>/<function>`` is its name in an
experiment. Their parameters have the names that the authors' weights files have, so that these
files load as they are.
"""
