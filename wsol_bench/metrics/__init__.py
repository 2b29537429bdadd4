"""Metrics: numbers of a method, each a function of one map or of the method's stored rows.

A metric is one function with the decorator ``metric`` of ``base``. Its argument is a ``MapView``
(``map_view``) or ``ImageScores`` (``image_scores``), and its values become a ``Number``
(``number``). The numbers that define a protocol are pure functions (``localization``,
``max_box_acc``, ``pixel_ap``). ``failure_modes``, ``breakdown`` and ``seeds`` make tables.
"""
