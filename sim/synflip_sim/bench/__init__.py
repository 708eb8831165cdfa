"""cocotb benches: every block, and the whole accelerator, cycle by cycle against the golden model's trace.

A bench file has its driver, which plays what the neighbours of a block would do, its monitor, which looks at the
block in every cycle, and its test. ``scoreboard`` compares; ``runner`` builds and launches; ``cases`` are the
runs that are traced; ``mutants`` are the defects that the benches must find.
"""
