"""Parts that all reports share: tables, sections of a page, pictures.

Imports ``synflip.util``, ``synflip.spec`` and ``synflip.errors``.
"""
