"""cocotb benches: every block, and the whole accelerator, cycle by cycle against the golden model's trace.

A bench file has its drivers, which play what the neighbours of a block would do, its monitors, which look at
the block in every cycle, and its test. ``clocked`` has the clock and what drivers share, ``streams`` idle and
backpressure, ``scoreboard`` compares, ``runner`` builds and launches. ``cases`` are the runs that are traced,
``script`` is what the driver does in them. ``mutants`` are the defects that the benches must find.
"""
