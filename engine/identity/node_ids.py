"""Node ids as the deployed network derives them, so that a node keeps its 14-day ramp when its miner moves here.

``username@host:port`` is hashed with SipHash-1-3, the 64-bit result is widened to a 32-byte key with PCG32, and the
first 16 bytes of a ChaCha12 stream under that key become a version-4 UUID. Pure arithmetic, no randomness.
"""

from __future__ import annotations

import struct
import uuid

_MASK32 = 0xFFFF_FFFF
_MASK64 = 0xFFFF_FFFF_FFFF_FFFF
_PCG_MULTIPLIER = 6364136223846793005
_PCG_INCREMENT = 11634580027462260723
_CHACHA_CONSTANTS = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)
_COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
_DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def node_id_for(username: str, host: str, port: int) -> str:
    """The id that validators know a node by.

    The three parts are used exactly as configured: no lower-casing, no address normalisation, IPv6 without brackets.
    """
    return node_id_from_text(f"{username}@{host}:{port}")


def node_id_from_text(text: str) -> str:
    """The id of any identity text; newer validators derive it from the host alone."""
    # The hashed value is a Rust string, which ends with one 0xff byte so that ("ab", "c") differs from ("a", "bc").
    seed = siphash_1_3(text.encode() + b"\xff")
    stream = bytearray(chacha12_block(expand_seed(seed))[:16])
    stream[6] = (stream[6] & 0x0F) | 0x40
    stream[8] = (stream[8] & 0x3F) | 0x80
    return str(uuid.UUID(bytes=bytes(stream)))


def siphash_1_3(data: bytes) -> int:
    """SipHash with one compression and three finalisation rounds, both keys zero."""
    v = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    whole = len(data) - len(data) % 8
    tail = data[whole:].ljust(7, b"\0") + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", data[:whole] + tail):
        v0, v1, v2, v3 = _sip_round((v[0], v[1], v[2], v[3] ^ word))
        v = (v0 ^ word, v1, v2, v3)
    v = (v[0], v[1], v[2] ^ 0xFF, v[3])
    for _ in range(3):
        v = _sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def expand_seed(seed: int) -> bytes:
    """Widen a 64-bit seed to 32 bytes with eight steps of PCG32."""
    state = seed
    words = []
    for _ in range(8):
        state = (state * _PCG_MULTIPLIER + _PCG_INCREMENT) & _MASK64
        mixed = (((state >> 18) ^ state) >> 27) & _MASK32
        turn = state >> 59
        words.append(((mixed >> turn) | (mixed << (32 - turn))) & _MASK32)
    return struct.pack("<8I", *words)


def chacha12_block(key: bytes) -> bytes:
    """The first 64 bytes of the ChaCha stream with 12 rounds, counter 0 and nonce 0."""
    start = [*_CHACHA_CONSTANTS, *struct.unpack("<8I", key), 0, 0, 0, 0]
    state = list(start)
    for _ in range(6):
        for quarter in (*_COLUMNS, *_DIAGONALS):
            _quarter_round(state, *quarter)
    return struct.pack("<16I", *((a + b) & _MASK32 for a, b in zip(state, start, strict=True)))


def _sip_round(v: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    v0, v1, v2, v3 = v
    v0 = (v0 + v1) & _MASK64
    v1 = _rotate64(v1, 13) ^ v0
    v0 = _rotate64(v0, 32)
    v2 = (v2 + v3) & _MASK64
    v3 = _rotate64(v3, 16) ^ v2
    v0 = (v0 + v3) & _MASK64
    v3 = _rotate64(v3, 21) ^ v0
    v2 = (v2 + v1) & _MASK64
    v1 = _rotate64(v1, 17) ^ v2
    return v0, v1, _rotate64(v2, 32), v3


def _quarter_round(state: list[int], a: int, b: int, c: int, d: int) -> None:
    state[a] = (state[a] + state[b]) & _MASK32
    state[d] = _rotate32(state[d] ^ state[a], 16)
    state[c] = (state[c] + state[d]) & _MASK32
    state[b] = _rotate32(state[b] ^ state[c], 12)
    state[a] = (state[a] + state[b]) & _MASK32
    state[d] = _rotate32(state[d] ^ state[a], 8)
    state[c] = (state[c] + state[d]) & _MASK32
    state[b] = _rotate32(state[b] ^ state[c], 7)


def _rotate64(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & _MASK64


def _rotate32(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _MASK32


def parse_address(text: str) -> tuple[str, str, int]:
    """Split ``USER@HOST:PORT`` as it stands in miner.toml; an IPv6 host has no brackets there. Raises ValueError."""
    username, at, rest = text.rpartition("@")
    host, colon, port = rest.rpartition(":")
    if not (username and at and host and colon):
        raise ValueError("write it as USER@HOST:PORT, for example basilica@192.168.1.100:22")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"port {port!r} is not a number from 1 to 65535")
    return username, host, int(port)
