"""Who is who: hotkeys and wallets, what is signed and how, nonces, session tokens, node ids, SSH public keys.

Nothing here loads the ``bittensor`` SDK before a key is opened or a signature is checked.
"""

from __future__ import annotations

from engine.identity.node_ids import node_id_for, parse_address
from engine.identity.signatures import Signer, hotkey_bytes, verify
from engine.identity.tokens import new_nonce, new_session_token

__all__ = ["Signer", "hotkey_bytes", "new_nonce", "new_session_token", "node_id_for", "parse_address", "verify"]
