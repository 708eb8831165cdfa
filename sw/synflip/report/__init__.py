"""What every report is made of: tables, sections of a page, plots.

Imports ``synflip.util``, ``synflip.spec`` and ``synflip.errors``.
"""
