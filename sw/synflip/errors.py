"""The exception of this package for errors that a user can mend, and its warnings."""


class SynflipError(Exception):
    """Bad input or a missing prerequisite.

    The message is one line: what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with status 1.
    """


class DeviceError(SynflipError):
    """A device failed, and not what it was asked for: another one may do the work."""


class ConversionWarning(UserWarning):
    """A conversion lost accuracy. The message is one line: how much, where, and what to do."""


class DeviceWarning(UserWarning):
    """A device of a pool failed, and the others do its work. The message is one line: which, and why."""
