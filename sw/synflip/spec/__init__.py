"""The contract as code: constants and linear maps that software and gateware share.

Nothing here decides anything for the machine; the golden model and the gateware each have their own logic and
meet only in these numbers. Imports the standard library and numpy only.
"""
