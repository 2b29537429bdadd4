"""Reports of stored runs: tables, pictures, and prediction files.

``analysis`` makes the tables of ``wsol-bench analyze``, with ``comparisons``; ``analysis_text``
shows them on a screen. ``tables`` shows a summary, ``figures`` draws, ``export`` writes files for
the official tools.
"""
