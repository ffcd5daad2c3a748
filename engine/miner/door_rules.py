"""What the door answers and why: the checks of protocol.md §4 in their order, pure.

Statuses and the beginning of each message are the deployed miner's where it has one; its validators match them.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote

from engine.errors import HotkeyInvalid, PublicKeyRefused
from engine.identity import payloads, ss58
from engine.identity.public_keys import PublicKey, parse_public_key
from engine.identity.signatures import hotkey_bytes, verify
from engine.store.records import Session, SpentNonce
from engine.wire.messages import AuthCall, DiscoverCall

Status = Literal[
    "INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"
]

FRESHNESS_S = 300
"""Accepted difference between a request's timestamp and our clock, both ways, inclusive."""
RESEND_WINDOW_S = 30.0
"""How long the identical bytes from the same address get the stored answer (deployed validators retry)."""
LONGEST_NONCE = 128


@dataclass(frozen=True, slots=True)
class Refusal:
    """A gRPC status by name and its message."""

    status: Status
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who claims to call. ``hotkey`` is written with prefix 42 whatever the request used: one key, one identity."""

    hotkey: str
    hotkey_hex: str


NO_TARGET = Refusal("INVALID_ARGUMENT", "target_miner_hotkey is required")
OTHER_TARGET = Refusal("PERMISSION_DENIED", "Authentication request not intended for this miner")
BAD_SIGNATURE = Refusal("UNAUTHENTICATED", "Invalid signature")
NO_TIMESTAMP = Refusal("UNAUTHENTICATED", "Request timestamp is missing")
NOT_FRESH = Refusal("UNAUTHENTICATED", "Request timestamp too old")
BAD_NONCE = Refusal("UNAUTHENTICATED", "Request nonce is missing or malformed")
NONCE_REUSED = Refusal("UNAUTHENTICATED", "Request nonce was already used")
NOT_PERMITTED = Refusal("PERMISSION_DENIED", "Validator not authorized")
NO_SESSION = Refusal("UNAUTHENTICATED", "Validator must authenticate before discovering nodes")
NO_KEY = Refusal("INVALID_ARGUMENT", "Validator must provide SSH public key")
OTHER_KEY = Refusal("UNAUTHENTICATED", "SSH public key is not the one that the session was opened with")
CHAIN_UNKNOWN = Refusal("UNAVAILABLE", "Metagraph unavailable, the validator permit cannot be checked; try again later")
STORE_FAILED = Refusal("UNAVAILABLE", "The miner cannot record requests at the moment; try again later")
CLOSING = Refusal("UNAVAILABLE", "The miner is shutting down; try again later")
CRASHED = Refusal("INTERNAL", "Internal error")

_NONCE = re.compile(r"[!-~]+")


def too_many(retry_after_s: float) -> Refusal:
    """The refusal of a caller that came too often."""
    return Refusal("RESOURCE_EXHAUSTED", f"Too many requests; retry after {retry_after_s:.3f} s", retry_after_s)


def too_many_sessions(retry_after_s: float) -> Refusal:
    """The refusal of a caller with more keys than its session limits allow."""
    return Refusal("RESOURCE_EXHAUSTED", f"Too many sessions; retry after {retry_after_s:.0f} s", retry_after_s)


def find_caller(call: AuthCall | DiscoverCall, own_hotkey: str) -> Caller | Refusal:
    """Check whom the call is for and who says to send it. Costs no signature check."""
    if not call.target_miner_hotkey.strip():
        return NO_TARGET
    if not _is_same_hotkey(call.target_miner_hotkey, own_hotkey):
        return OTHER_TARGET
    try:
        return _caller(call.validator_hotkey)
    except HotkeyInvalid as error:
        return Refusal("INVALID_ARGUMENT", f"Invalid hotkey: {error.message.removeprefix('Invalid hotkey: ')}")


def check_authentication(call: AuthCall, *, now: float, verify_signatures: bool) -> PublicKey | Refusal | None:
    """Everything about an AuthCall that the request itself shows; the SSH key that dialect B brings along."""
    key: PublicKey | None = None
    seconds = call.timestamp or 0
    if call.dialect == "B":
        parsed = read_key(call.public_key)
        if isinstance(parsed, Refusal):
            return parsed
        key = parsed
        payload = payloads.auth_b(call.nonce, call.target_miner_hotkey, seconds, key.sha256_hex)
    else:
        payload = payloads.auth_v1(call.nonce, call.target_miner_hotkey, seconds)
    return _check_signed(call, payload, now=now, verify_signatures=verify_signatures) or key


def check_discovery(
    call: DiscoverCall, session: Session | None, *, now: float, verify_signatures: bool
) -> PublicKey | Refusal:
    """Everything about a DiscoverCall that the request and the caller's session show; the key to put on the nodes."""
    if session is None or not _is_live(session, now) or not _belongs(call, session):
        return NO_SESSION
    sent = call.public_key
    if not sent.strip() and call.dialect == "B":
        sent = f"{session.key_algorithm} {session.key_blob_base64}"
    if not sent.strip():
        return NO_KEY
    refusal = _check_signed(call, _discover_payload(call), now=now, verify_signatures=verify_signatures)
    if refusal is not None:
        return refusal
    key = read_key(sent)
    # Dialect A's signature does not cover the key: where the session has bound one, only that one will do.
    if isinstance(key, PublicKey) and session.dialect == "B" and key.blob_base64 != session.key_blob_base64:
        return OTHER_KEY
    return key


def read_key(text: str) -> PublicKey | Refusal:
    """Parse the SSH key that a validator sent."""
    if not text.strip():
        return NO_KEY
    try:
        return parse_public_key(text)
    except PublicKeyRefused as error:
        return key_refused(error)


def key_refused(error: PublicKeyRefused) -> Refusal:
    """The answer to a key that nobody may use, or not this caller."""
    return Refusal("INVALID_ARGUMENT", f"Invalid SSH public key: {error.message}")


def check_freshness(timestamp: int | None, now: float) -> Refusal | None:
    """Zero counts as absent: it is what an unset timestamp reads as, and would be fresh for ever."""
    if not timestamp:
        return NO_TIMESTAMP
    return NOT_FRESH if abs(int(now) - timestamp) > FRESHNESS_S else None


def judge_reuse(earlier: SpentNonce, *, call: str, body_sha256: str, peer: str, now: float) -> bytes | Refusal:
    """A used nonce again: the stored answer for an honest retry, a refusal for everything else."""
    is_same = (earlier.call, earlier.body_sha256, earlier.peer) == (call, body_sha256, peer)
    if is_same and 0.0 <= now - earlier.accepted_at <= RESEND_WINDOW_S:
        return earlier.answer
    return NONCE_REUSED


@lru_cache(maxsize=1024)
def peer_ip(peer: str) -> str:
    """The address in gRPC's ``ipv4:1.2.3.4:5`` or ``ipv6:%5B::1%5D:5``; an IPv4 caller on an IPv6 socket is IPv4."""
    family, _, rest = unquote(peer).partition(":")
    if family not in ("ipv4", "ipv6"):
        return family
    return plain_ip(rest.rpartition(":")[0].strip("[]"))


def plain_ip(text: str) -> str:
    """An address without a zone; an IPv4 address in IPv6 clothes as IPv4."""
    host = text.partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def claimed_hotkey(text: str) -> str:
    """A stranger's text, fit for an event: an address in our form, or what is printable of its beginning."""
    try:
        return ss58.encode(ss58.decode(text))
    except HotkeyInvalid:
        return "".join(character for character in text[:64] if " " <= character <= "~")


def _check_signed(
    call: AuthCall | DiscoverCall, payload: bytes, *, now: float, verify_signatures: bool
) -> Refusal | None:
    if verify_signatures:
        if not verify(call.validator_hotkey, payload, call.signature):
            return BAD_SIGNATURE
        refusal = check_freshness(call.timestamp, now)
        if refusal is not None:
            return refusal
    if len(call.nonce) > LONGEST_NONCE or not _NONCE.fullmatch(call.nonce):
        return BAD_NONCE
    return None


def _discover_payload(call: DiscoverCall) -> bytes:
    seconds = call.timestamp or 0
    if call.dialect == "A":
        return payloads.discover_v1(call.validator_hotkey, call.nonce, seconds)
    return payloads.discover_v2(
        call.validator_hotkey, call.target_miner_hotkey, call.nonce, seconds, call.session_token
    )


@lru_cache(maxsize=1024)
def _caller(hotkey: str) -> Caller:
    raw = hotkey_bytes(hotkey)
    return Caller(ss58.encode(raw), raw.hex())


def _is_live(session: Session, now: float) -> bool:
    return now < session.expires_at and session.ended_at is None


def _belongs(call: DiscoverCall, session: Session) -> bool:
    if call.dialect == "A":
        return True
    return session.dialect == "B" and hmac.compare_digest(call.session_token.encode(), session.token.encode())


def _is_same_hotkey(text: str, own_hotkey: str) -> bool:
    if text == own_hotkey:
        return True
    try:
        return hotkey_bytes(text) == hotkey_bytes(own_hotkey)
    except HotkeyInvalid:
        return False
