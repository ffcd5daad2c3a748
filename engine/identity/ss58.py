"""SS58 addresses: text to 32 raw bytes and back, for every network prefix, without loading the SDK."""

from __future__ import annotations

import hashlib

from engine.errors import HotkeyInvalid

BITTENSOR_PREFIX = 42
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {character: value for value, character in enumerate(_ALPHABET)}
# 2 bytes of prefix, 32 of key and 2 of checksum need at most 50 digits; longer text is not worth the arithmetic.
_LONGEST = 50


def decode(address: str) -> bytes:
    """The 32 raw bytes behind an address of any network; raises HotkeyInvalid."""
    raw = _base58_decode(address)
    prefix_bytes = 2 if raw and raw[0] & 0x40 else 1
    if not raw or raw[0] & 0x80 or len(raw) != prefix_bytes + 34:
        raise HotkeyInvalid("Invalid hotkey: not an SS58 address of a 32-byte key", hint=_HINT)
    if prefix_bytes == 2 and _prefix_of(raw) < 64:
        raise HotkeyInvalid("Invalid hotkey: its network prefix is written in a longer form than it needs", hint=_HINT)
    if _checksum(raw[:-2]) != raw[-2:]:
        raise HotkeyInvalid("Invalid hotkey: the checksum does not match, so a character is wrong", hint=_HINT)
    return raw[prefix_bytes:-2]


def encode(public_key: bytes, prefix: int = BITTENSOR_PREFIX) -> str:
    """The address of 32 raw bytes; 42 is the prefix that Bittensor uses."""
    if len(public_key) != 32 or not 0 <= prefix < 1 << 14:
        raise HotkeyInvalid("Invalid hotkey: an address needs a 32-byte key and a prefix below 16384")
    if prefix < 64:
        body = bytes([prefix]) + public_key
    else:
        body = bytes([0x40 | (prefix & 0xFC) >> 2, prefix >> 8 | (prefix & 0x03) << 6]) + public_key
    return _base58_encode(body + _checksum(body))


def is_address(text: str) -> bool:
    """Whether text is an SS58 address of a 32-byte key."""
    try:
        decode(text)
    except HotkeyInvalid:
        return False
    return True


_HINT = "a Bittensor hotkey is 48 characters long and starts with 5"


def _prefix_of(raw: bytes) -> int:
    return (raw[0] & 0x3F) << 2 | raw[1] >> 6 | (raw[1] & 0x3F) << 8


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(b"SS58PRE" + body).digest()[:2]


def _base58_decode(text: str) -> bytes:
    if not text or len(text) > _LONGEST:
        raise HotkeyInvalid("Invalid hotkey: wrong length for an SS58 address", hint=_HINT)
    number = 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None:
            raise HotkeyInvalid("Invalid hotkey: it holds a character that SS58 does not use", hint=_HINT)
        number = number * 58 + digit
    leading = len(text) - len(text.lstrip(_ALPHABET[0]))
    return bytes(leading) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _base58_encode(raw: bytes) -> str:
    number = int.from_bytes(raw, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    leading = len(raw) - len(raw.lstrip(b"\0"))
    return _ALPHABET[0] * leading + "".join(reversed(digits))
