"""Values that must be unguessable or unique: session tokens and nonces."""

from __future__ import annotations

import secrets
import uuid


def new_session_token() -> str:
    """32 random bytes as 64 hex characters, the form that deployed miners hand out."""
    return secrets.token_hex(32)


def new_nonce() -> str:
    """A fresh UUID4 as text."""
    return str(uuid.uuid4())
