"""Values that must be unguessable or unique: session tokens and nonces."""

from __future__ import annotations

import secrets


def new_session_token() -> str:
    """32 random bytes as 64 hex characters, the form that deployed miners hand out."""
    return secrets.token_hex(32)


def new_nonce() -> str:
    """A fresh UUID4 as text."""
    # As uuid4 does it, without an object of eleven attributes: the door makes one per call.
    bits = int.from_bytes(secrets.token_bytes(16), "big")
    text = f"{bits & ~(0xF << 76) & ~(0x3 << 62) | 4 << 76 | 2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
