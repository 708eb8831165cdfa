"""The folder of data sets that the user names by SYNFLIP_DATA."""

import os
from pathlib import Path

from synflip.errors import SynflipError

FOLDER_VARIABLE = "SYNFLIP_DATA"  # the environment variable with the folder of data sets


def data_folder() -> Path | None:
    """The folder in SYNFLIP_DATA, in which ``~`` is the user's own; None if it is not set or empty.

    Raises SynflipError if it is no folder.
    """
    text = os.environ.get(FOLDER_VARIABLE)
    if not text:
        return None
    try:
        folder = Path(text).expanduser()
    except RuntimeError:  # no such user, or a user without a home
        raise SynflipError(
            f"{FOLDER_VARIABLE} is {text}, and that home is not known: give a whole path"
        ) from None
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise SynflipError(
            f"{FOLDER_VARIABLE} is {text}, which {what}: set it to a folder with data sets, or unset it"
        )
    return folder
