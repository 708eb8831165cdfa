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

# Of devices with a queue (docs/reference/uart.md): others answer FORMAT with UNKNOWN.
FORMAT_VERSION = 2
QUEUE_WORDS = 1024  # of the ring in which requests wait
QUEUE_REQUESTS = 16  # requests under way, at most: the device keeps the outcomes of so many
QUEUE_OVERHEAD = 5  # words of the ring that a request takes beside its data, and that stay free
POLLS = 1 << 16  # reads of a POLL's first word, at most

# The data of an IMAGE: its code, in the lowest bits of the address, and pairs of a gap and a value.
CODE_BITS = 3
PAIRS = 0
PACKED = (1, 2, 4)  # other codes: bits of an activation
PAIR_GAP_BITS, PAIR_VALUE_BITS = 8, 8

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
#: Of a command: only if the request before it was carried out whole.
CHAINED = 8


class Command(IntEnum):
    """What a request asks for. All others are answered with Status.UNKNOWN; FORMAT and what follows it, and
    CHAINED, only devices with a queue know."""

    HELLO = 1  # open the session; in an open one, only say the number of the last request carried out
    READ = 2  # COUNT words from the address on
    WRITE = 3  # the data to the address on
    # Of devices with a queue.
    FORMAT = 4  # say FORMAT_VERSION, QUEUE_REQUESTS << 8 and QUEUE_WORDS << 16, in one word
    IMAGE = 5  # expand the data and write what comes of it to the slot of the address
    POLL = 6  # a READ whose first word is read again until its lowest bit is 0, POLLS times at most


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
    SKIPPED = 8  # CHAINED, and the request before it was not carried out whole; the number is used up
    BUSY = 9  # the lowest bit of a POLL's word stayed 1; the number is used up
