"""Long runs over the benches: mutants, coverage.

Imports everything but ``synflip.cli``; nothing imports it but ``synflip.cli``.
"""
