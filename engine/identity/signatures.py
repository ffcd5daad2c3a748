"""sr25519 signatures of the network: made by a hotkey, checked against an SS58 address."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Protocol

import sr25519  # type: ignore[import-untyped]

from engine.errors import HotkeyInvalid
from engine.identity import ss58

# Our payloads are a few hundred bytes; a hostile megabyte would cost milliseconds of the event loop.
_LONGEST_PAYLOAD = 16 * 1024
_SIGNATURE = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{128})")


class Signer(Protocol):
    """A hotkey that can sign."""

    @property
    def hotkey(self) -> str:
        """Its SS58 address with prefix 42."""

    def sign(self, payload: bytes) -> str:
        """The signature over these bytes as 128 lower-case hex characters, without 0x."""


class KeypairSigner:
    """A Signer over an sr25519 key pair of the SDK. Its representation shows the address only."""

    __slots__ = ("_keypair", "hotkey")

    def __init__(self, keypair: Any) -> None:
        self._keypair = keypair
        self.hotkey: str = ss58.encode(bytes(keypair.public_key))

    def sign(self, payload: bytes) -> str:
        return bytes(self._keypair.sign(payload)).hex()

    def __repr__(self) -> str:
        return f"KeypairSigner({self.hotkey})"


def hotkey_bytes(address: str) -> bytes:
    """The 32 raw bytes of a hotkey: the only form to key nonces, sessions and allow-lists by.

    One key has an address per network prefix, so text would let one caller appear as many. Raises HotkeyInvalid.
    """
    return ss58.decode(address)


def verify(hotkey: str, payload: bytes, signature_hex: str) -> bool:
    """Whether ``signature_hex`` is this hotkey's signature over exactly these bytes; never raises on bad text.

    The signature may carry 0x and be of either case, and must be 64 bytes.
    """
    if not isinstance(signature_hex, str) or not isinstance(hotkey, str) or len(payload) > _LONGEST_PAYLOAD:
        return False
    match = _SIGNATURE.fullmatch(signature_hex)
    if match is None:
        return False
    try:
        public_key = _decoded(hotkey)
    except HotkeyInvalid:
        return False
    # Under the all-zero key (the neutral element) anyone can sign anything.
    return any(public_key) and _verify_raw(public_key, payload, bytes.fromhex(match[1]))


@lru_cache(maxsize=1024)
def _decoded(hotkey: str) -> bytes:
    return ss58.decode(hotkey)


def _verify_raw(public_key: bytes, payload: bytes, signature: bytes) -> bool:
    """Verify these bytes and no others.

    The SDK's ``verify`` also takes a signature over the payload that a browser wallet wrapped in <Bytes>; to tell
    the two apart with it costs three checks. ``sr25519`` is the same Rust library without that second chance.
    """
    try:
        return bool(sr25519.verify(signature, payload, public_key))
    except ValueError:
        return False
