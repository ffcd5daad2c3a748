"""The exact bytes that are signed, for both dialects of MinerDiscovery. Timestamps are whole Unix seconds.

Everything is joined by single colons and encoded as UTF-8, without prefix and without ``<Bytes>`` wrapping.
"""

from __future__ import annotations


def auth_v1(nonce: str, target: str, ts: int) -> bytes:
    """What a validator signs to authenticate (dialect A); ``target`` is the miner's hotkey as sent."""
    return f"BASILICA_AUTH_V1:{nonce}:{target}:{ts:d}".encode()


def auth_b(nonce: str, target: str, ts: int, key_sha256_hex: str) -> bytes:
    """What a validator signs to authenticate in dialect B, which also covers its SSH key.

    ``key_sha256_hex`` is the SHA-256 of the normalised key text, ``PublicKey.sha256_hex``.
    """
    return f"BASILICA_AUTH_V1:{nonce}:{target}:{ts:d}:{key_sha256_hex}".encode()


def miner_response(validator_hotkey: str, response_nonce: str, token: str) -> bytes:
    """What a miner signs when it admits a validator (both dialects)."""
    return f"MINER_AUTH_RESPONSE:{validator_hotkey}:{response_nonce}:{token}".encode()


def discover_v1(hotkey: str, nonce: str, ts: int) -> bytes:
    """What a validator signs to ask for nodes (dialect A). Note that the hotkey stands before the nonce."""
    return f"BASILICA_DISCOVER_V1:{hotkey}:{nonce}:{ts:d}".encode()


def discover_v2(hotkey: str, target: str, nonce: str, ts: int, token: str) -> bytes:
    """What a validator signs to ask for nodes in dialect B, bound to one miner and one session."""
    return f"BASILICA_DISCOVER_V2:{hotkey}:{target}:{nonce}:{ts:d}:{token}".encode()


def host_authority(validator_hotkey: str, response_nonce: str, key_sha256_hex: str) -> bytes:
    """What a miner signs so that a validator may trust the key that signs its nodes' host keys (dialect B)."""
    return f"BASILICA_HOST_CA_V1:{validator_hotkey}:{response_nonce}:{key_sha256_hex}".encode()
