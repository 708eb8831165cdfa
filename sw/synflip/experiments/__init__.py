"""The experiments on accuracy and uncertainty, and the page that reports them.

Imports every room of the library but ``cli``, ``benchmarks`` and ``serve``; only ``synflip.cli`` imports it.
"""
