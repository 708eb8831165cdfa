"""The bench: cycles, seconds and memory, each beside what it should be compared with."""
