"""The frames of the serial line, as numbers. docs/reference/uart.md has their rules.

A request is TAG, HEAD, COUNT, the data of a write, CRC; a reply TAG, the data of a read, TAIL, CRC: 32-bit
words, the low byte first. CRC is CRC-32 of all bytes before it (polynomial 04C11DB7, reflected, as in zlib).
On the line a frame lies between two FLAG bytes; inside, FLAG and ESCAPE are sent as ESCAPE and the byte XOR
ESCAPE_XOR.
"""

from enum import IntEnum

FLAG, ESCAPE, ESCAPE_XOR = 0x7E, 0x7D, 0x20
MAX_WORDS = 512  # of data in a frame
REQUEST_WORDS = 4  # TAG, HEAD, COUNT, CRC
REPLY_WORDS = 3  # TAG, TAIL, CRC
SILENCE_BITS = 1 << 16  # a silence of so many bit times inside a frame ends it
BAUD = 3_000_000  # unless told otherwise

# TAG: number, session << NUMBER_BITS. Session 0 is none.
NUMBER_BITS = 16
SESSION_BITS = 16
#: Of a reply to what could not be read. Not zero, nor is any other TAG: to a CRC-32 that has just passed a
#: whole frame four zero bytes are where it stands, so that frame, its closing FLAG lost, and the rest of one
#: that began with zeros would make a frame whose CRC is right.
NO_TAG = 0xFFFF
# HEAD: word address, Command << CODE_SHIFT. TAIL: words done, Status << CODE_SHIFT.
CODE_SHIFT = 28
DONE_BITS = 16


class Command(IntEnum):
    """What a request asks for. All others are answered with Status.UNKNOWN."""

    HELLO = 1  # open the session; in an open one, only say the number of the last request carried out
    READ = 2  # COUNT words from the address on
    WRITE = 3  # the data to the address on


class Status(IntEnum):
    """How a request ended. Only the first two have carried out anything, and used up the request's number."""

    OK = 0
    REFUSED = 1  # the bus refused word ``done`` of the request; the words before it are done, no later one
    UNKNOWN = 2  # no such command
    LENGTH = 3  # COUNT is not 1..MAX_WORDS, or not what the frame has
    DAMAGED = 4  # wrong CRC, not whole words, or fewer than REQUEST_WORDS; the reply's TAG is NO_TAG
    OVERLONG = 5  # more words than a frame can have; the reply's TAG is NO_TAG
    NO_SESSION = 6  # the session of TAG is not the open one
    OUT_OF_ORDER = 7  # the number is neither the last one nor the next
