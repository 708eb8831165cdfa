"""What goes wrong for reasons a user can mend: one exception, one clear line."""


class SynflipError(Exception):
    """Bad input or a missing prerequisite. The message says what, where, and what to do; no traceback is
    owed."""
