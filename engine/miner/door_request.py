"""One call as it stands before the door: its envelope, the refusal that ends it, and what is kept of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from engine.errors import WireMalformed
from engine.miner import door_rules as rules
from engine.miner.door_rules import Caller, Refusal
from engine.store.records import SpentNonce
from engine.wire import convert
from engine.wire.messages import Dialect

AUTHENTICATE = "AuthenticateValidator"
DISCOVER = "DiscoverNodes"

T = TypeVar("T")


class Refused(Exception):
    """A call that ends in a status. Never leaves the door."""

    def __init__(self, refusal: Refusal, *, is_quiet: bool = False) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.is_quiet = is_quiet


@dataclass(frozen=True, slots=True)
class Request:
    """The envelope of one call."""

    name: str
    dialect: Dialect
    body: bytes
    peer: str
    body_sha256: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """What two retransmissions of one request have in common."""
        return (self.name, self.body_sha256, self.peer)

    def read(self, reader: Callable[[Dialect, bytes], T]) -> T:
        """The message in the body. Raises Refused where it is none."""
        try:
            return reader(self.dialect, self.body)
        except WireMalformed as error:
            raise Refused(Refusal("INVALID_ARGUMENT", error.message)) from None

    def claimed_hotkey(self) -> str:
        """The hotkey that the call names, true or not; empty if it cannot be read at all."""
        try:
            if self.name == AUTHENTICATE:
                return rules.claimed_hotkey(convert.read_auth_call(self.dialect, self.body).validator_hotkey)
            return rules.claimed_hotkey(convert.read_discover_call(self.dialect, self.body).validator_hotkey)
        except WireMalformed:
            return ""

    def spent(self, caller: Caller, nonce: str, answer: bytes, now: float) -> SpentNonce:
        """What is kept of it: the nonce, with the answer for whoever sends the same again."""
        return SpentNonce(
            hotkey_hex=caller.hotkey_hex,
            nonce=nonce,
            call=self.name,
            body_sha256=self.body_sha256,
            peer=self.peer,
            accepted_at=now,
            answer=answer,
        )

    def resent(self, earlier: SpentNonce, now: float) -> bytes:
        """The stored answer, if this is the same request once more and soon enough. Raises Refused if it is not."""
        return or_refuse(
            rules.judge_reuse(earlier, call=self.name, body_sha256=self.body_sha256, peer=self.peer, now=now)
        )


def envelope(name: str, dialect: Dialect, body: bytes, peer: str) -> Request:
    """The request that came as ``body`` from the address ``peer``."""
    return Request(name, dialect, body, peer, hashlib.sha256(dialect.encode() + body).hexdigest())


def or_refuse(value: T | Refusal) -> T:
    """The value, unless it is a refusal. Raises Refused."""
    if isinstance(value, Refusal):
        raise Refused(value)
    return value
