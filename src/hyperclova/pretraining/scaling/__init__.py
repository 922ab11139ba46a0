"""Scaling laws (paper §3.2, Figure 1): a ladder of small models, the laws, the picture.

:mod:`config` says what the ladder is, :mod:`run` trains it, :mod:`points` reads what was
measured, :mod:`laws` has the formulas and their fits, :mod:`fit` applies them to a ladder and
tests the prediction, :mod:`plot` draws it.
"""
