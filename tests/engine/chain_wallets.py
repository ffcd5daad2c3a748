"""Wallets for the chain tests: development keys, public knowledge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bittensor.sp_core import Keypair


class Keys:
    """A wallet as the SDK sees one."""

    def __init__(self, coldkey: Any, hotkey: Any) -> None:
        self.coldkey = self.coldkeypub = coldkey
        self.hotkey = hotkey


@dataclass(frozen=True)
class Name:
    hotkey: str


@dataclass(frozen=True)
class Wallet:
    """A wallet as the chain room sees one."""

    signer: Name
    sdk: Keys

    @property
    def hotkey(self) -> str:
        return self.signer.hotkey

    @property
    def coldkey(self) -> str:
        return str(self.sdk.coldkey.ss58_address)


def wallet(name: str) -> Wallet:
    """The wallet of ``//Name`` with the hotkey ``//Name//hot``."""
    hotkey = Keypair.create_from_uri(f"//{name}//hot")
    return Wallet(Name(hotkey.ss58_address), Keys(Keypair.create_from_uri(f"//{name}"), hotkey))


class Impostor:
    """Names one key and signs with another."""

    crypto_type = 1

    def __init__(self, claimed: Any, real: Any) -> None:
        self.ss58_address = claimed.ss58_address
        self.public_key = claimed.public_key
        self._real = real

    def sign(self, payload: bytes) -> bytes:
        return bytes(self._real.sign(payload))
