"""The one exception of this package for errors that a user can mend."""


class SynflipError(Exception):
    """Bad input or a missing prerequisite.

    The message is one line: what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with status 1.
    """
