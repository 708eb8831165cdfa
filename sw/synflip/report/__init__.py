"""What reports and pages share: tables, sections of a page, pictures, notebooks, recordings.

Imports ``synflip.util``, ``synflip.spec`` and ``synflip.errors``.
"""
