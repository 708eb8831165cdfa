"""Long runs that write pages: mutants, coverage, cells of netlists. Each is started by ``make``.

Imports everything but ``synflip.cli``, ``benchmarks``, ``experiments`` and ``serve``; nothing imports it.
"""
