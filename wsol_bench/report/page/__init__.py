"""The page: summary, charts and every image of stored runs, for people to look at.

``collection`` reads runs once; ``overview`` and ``details`` say what is on the page, in the form
that ``assets/types.d.ts`` declares. ``file`` writes a page that holds all of its data, ``server``
serves the same page over runs of any size. ``document`` makes the HTML of both.
"""
