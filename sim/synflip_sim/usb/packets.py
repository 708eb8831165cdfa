"""USB packets and their checksums, from chapter 8 of the USB 2.0 specification."""

from enum import IntEnum

TOKEN_BITS = 11  # a token's address and endpoint, or a frame's number


class Pid(IntEnum):
    """Packet identifiers [table 8-1]."""

    OUT = 0x1
    ACK = 0x2
    DATA0 = 0x3
    PING = 0x4
    SOF = 0x5
    NYET = 0x6
    IN = 0x9
    NAK = 0xA
    DATA1 = 0xB
    SETUP = 0xD
    STALL = 0xE


#: By the value of the toggle.
DATA = (Pid.DATA0, Pid.DATA1)


def pid_byte(pid: int) -> int:
    """A packet's first byte: the identifier, and its complement above it [8.3.1]."""
    return pid | (pid ^ 0xF) << 4


def pid_of(packet: bytes) -> int | None:
    """The identifier of a packet; None if its check bits are wrong, or it is empty."""
    if not packet or packet[0] >> 4 ^ 0xF != packet[0] & 0xF:
        return None
    return packet[0] & 0xF


def _remainder(value: int, bits: int, reversed_polynomial: int, ones: int) -> int:
    """The CRC of the lowest ``bits`` of ``value``, lowest first: it starts with ones and is sent inverted
    [8.3.5]."""
    crc = ones
    for place in range(bits):
        feedback = (crc ^ value >> place) & 1
        crc >>= 1
        if feedback:
            crc ^= reversed_polynomial
    return crc ^ ones


def crc5(value: int) -> int:
    """Of a token's TOKEN_BITS bits: x^5 + x^2 + 1."""
    return _remainder(value, TOKEN_BITS, 0b10100, 0x1F)


def crc16(payload: bytes) -> int:
    """Of a data packet's bytes: x^16 + x^15 + x^2 + 1."""
    return _remainder(int.from_bytes(payload, "little"), 8 * len(payload), 0xA001, 0xFFFF)


def token(pid: int, address: int, endpoint: int = 0) -> bytes:
    """A token; of SOF, ``address`` is the number of the frame."""
    value = address | endpoint << 7
    return bytes([pid_byte(pid)]) + (value | crc5(value) << TOKEN_BITS).to_bytes(2, "little")


def data(toggle: int, payload: bytes) -> bytes:
    """A data packet."""
    return bytes([pid_byte(DATA[toggle])]) + payload + crc16(payload).to_bytes(2, "little")


def payload_of(packet: bytes) -> bytes | None:
    """What a data packet brings; None if its CRC is wrong."""
    payload, crc = packet[1:-2], packet[-2:]
    whole = len(packet) >= 3 and crc16(payload) == int.from_bytes(crc, "little")
    return payload if whole else None
