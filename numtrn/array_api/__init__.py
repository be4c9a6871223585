"""The Array API standard, version 2025.12, for numtrn arrays: a module for each of its chapters.

``x.__array_namespace__()`` gives this module. Functions take numtrn arrays, and Python scalars where the
standard does; products go through plans while a block is open (`numtrn.enabled`), the rest is NumPy's.
What NumPy has is not written again here; where the standard says otherwise, that is.
"""
