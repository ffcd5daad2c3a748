"""The door's rules as tables: order of checks, windows, reuse, addresses and limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bittensor.sp_core import Keypair
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from engine.identity import payloads, ss58
from engine.identity.public_keys import PublicKey
from engine.identity.signatures import KeypairSigner, hotkey_bytes
from engine.miner import door_rules as rules
from engine.miner.door_ledger import Discovery, merged
from engine.miner.door_limits import Rate, TokenBuckets, address_key
from engine.miner.door_rules import Caller, Refusal
from engine.store.records import Session, SpentNonce
from engine.wire.messages import AuthCall, DiscoverCall

NOW = 1_700_000_000
MINER = KeypairSigner(Keypair.create_from_uri("//Miner"))
ALICE = KeypairSigner(Keypair.create_from_uri("//Alice"))
KEY = (
    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    .public_key()
    .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    .decode()
)


def auth(ts: int | None = NOW, nonce: str = "n1") -> AuthCall:
    signature = ALICE.sign(payloads.auth_v1(nonce, MINER.hotkey, ts or 0))
    return AuthCall("A", ALICE.hotkey, signature, nonce, ts, MINER.hotkey)


def session(**changes: object) -> Session:
    row = Session(ALICE.hotkey, "ab" * 32, NOW, NOW + 3600, "A", "127.0.0.1")
    return replace(row, **changes)  # type: ignore[arg-type]  # a table of fields


def discovery(nonce: str = "n2", **changes: object) -> DiscoverCall:
    signature = ALICE.sign(payloads.discover_v1(ALICE.hotkey, nonce, NOW))
    call = DiscoverCall("A", ALICE.hotkey, signature, nonce, NOW, MINER.hotkey, KEY)
    return replace(call, **changes)  # type: ignore[arg-type]  # a table of fields


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (NOW, None),
        (NOW - 300, None),
        (NOW + 300, None),
        (NOW - 301, rules.NOT_FRESH),
        (NOW + 301, rules.NOT_FRESH),
        (NOW * 1000, rules.NOT_FRESH),
        (-NOW, rules.NOT_FRESH),
        (2**63 - 1, rules.NOT_FRESH),
        (0, rules.NO_TIMESTAMP),
        (None, rules.NO_TIMESTAMP),
    ],
)
@pytest.mark.parametrize("fraction", [0.0, 0.9])
def test_freshness(timestamp: int | None, expected: Refusal | None, fraction: float) -> None:
    """300 s are accepted in both directions, 301 s are not, whatever the fraction of our own second."""
    assert rules.check_freshness(timestamp, NOW + fraction) == expected


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"target_miner_hotkey": "", "validator_hotkey": "x"}, "INVALID_ARGUMENT", "target_miner_hotkey is required"),
        ({"target_miner_hotkey": ALICE.hotkey, "validator_hotkey": "x"}, "PERMISSION_DENIED", "Authentication request"),
        ({"validator_hotkey": "x"}, "INVALID_ARGUMENT", "Invalid hotkey: "),
    ],
)
def test_the_target_comes_before_the_hotkey(changes: dict[str, str], status: str, text: str) -> None:
    """Of several faults the first in the documented order is named."""
    refusal = rules.find_caller(replace(auth(), **changes), MINER.hotkey)  # type: ignore[arg-type]
    assert isinstance(refusal, Refusal)
    assert refusal.status == status and refusal.message.startswith(text)


def test_a_caller_is_a_key_not_a_text() -> None:
    """Other prefixes of the same keys are the same caller and the same target."""
    raw = hotkey_bytes(ALICE.hotkey)
    expected = Caller(ALICE.hotkey, raw.hex())
    assert rules.find_caller(auth(), MINER.hotkey) == expected
    elsewhere = replace(
        auth(),
        validator_hotkey=ss58.encode(raw, 0),
        target_miner_hotkey=ss58.encode(hotkey_bytes(MINER.hotkey), 2),
    )
    assert rules.find_caller(elsewhere, MINER.hotkey) == expected


def test_the_signature_comes_before_freshness_and_nonce() -> None:
    """A stale request with a bad signature is a bad signature; a stale one without nonce is stale."""
    bad = replace(auth(NOW - 999, nonce=""), signature="00" * 64)
    assert rules.check_authentication(bad, now=NOW, verify_signatures=True) is rules.BAD_SIGNATURE
    stale = auth(NOW - 999, nonce="")
    assert rules.check_authentication(stale, now=NOW, verify_signatures=True) is rules.NOT_FRESH
    assert rules.check_authentication(auth(nonce=""), now=NOW, verify_signatures=True) is rules.BAD_NONCE
    assert rules.check_authentication(auth(), now=NOW, verify_signatures=True) is None
    assert rules.check_authentication(bad, now=NOW, verify_signatures=False) is rules.BAD_NONCE
    unsigned = replace(auth(None), signature="")
    assert rules.check_authentication(unsigned, now=NOW, verify_signatures=False) is None


def test_discovery_checks_in_the_deployed_order() -> None:
    """Session, then key, then what is ours: signature, freshness, nonce, strength of the key."""
    nothing = discovery(public_key="", signature="", timestamp=0)

    def judge(call: DiscoverCall, row: Session | None) -> PublicKey | Refusal:
        return rules.check_discovery(call, row, now=NOW, verify_signatures=True)

    assert judge(nothing, None) is rules.NO_SESSION
    assert judge(nothing, session(expires_at=float(NOW))) is rules.NO_SESSION
    assert judge(nothing, session(ended_at=NOW - 1.0)) is rules.NO_SESSION
    assert judge(nothing, session()) is rules.NO_KEY
    assert judge(discovery(signature="", public_key="x"), session()) is rules.BAD_SIGNATURE
    weak = judge(discovery(public_key="ssh-dss AAAA"), session())
    assert isinstance(weak, Refusal) and weak.status == "INVALID_ARGUMENT"
    accepted = judge(discovery(), session())
    assert isinstance(accepted, PublicKey) and accepted.normalised == KEY
    bound = session(dialect="B", key_algorithm="ssh-ed25519", key_blob_base64="another")
    assert judge(discovery(), bound) is rules.OTHER_KEY


SPENT = SpentNonce("aa", "n", "DiscoverNodes", "body", "10.0.0.1", float(NOW), b"answer")


@pytest.mark.parametrize(
    ("call", "body", "peer", "after", "is_stored"),
    [
        ("DiscoverNodes", "body", "10.0.0.1", 0.0, True),
        ("DiscoverNodes", "body", "10.0.0.1", 30.0, True),
        ("DiscoverNodes", "body", "10.0.0.1", 30.1, False),
        ("DiscoverNodes", "body", "10.0.0.1", -1.0, False),
        ("DiscoverNodes", "other", "10.0.0.1", 1.0, False),
        ("DiscoverNodes", "body", "10.0.0.2", 1.0, False),
        ("AuthenticateValidator", "body", "10.0.0.1", 1.0, False),
    ],
)
def test_reuse_of_a_nonce(call: str, body: str, peer: str, after: float, is_stored: bool) -> None:
    """Only the identical call from the same address soon after gets the stored answer."""
    answer = rules.judge_reuse(SPENT, call=call, body_sha256=body, peer=peer, now=NOW + after)
    assert answer == (b"answer" if is_stored else rules.NONCE_REUSED)


@pytest.mark.parametrize(
    ("peer", "ip"),
    [
        ("ipv4:1.2.3.4:5", "1.2.3.4"),
        ("ipv6:%5B::1%5D:5", "::1"),
        ("ipv6:[2001:db8::7]:50051", "2001:db8::7"),
        ("ipv6:%5Bfe80::1%25eth0%5D:5", "fe80::1"),
        ("ipv6:%5B::ffff:10.0.0.1%5D:5", "10.0.0.1"),
        ("unix:/run/x", "unix"),
        ("", ""),
    ],
)
def test_peer_addresses(peer: str, ip: str) -> None:
    """gRPC's way to write a peer becomes an address without port."""
    assert rules.peer_ip(peer) == ip


@pytest.mark.parametrize(
    ("ip", "key"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8:0:1::7", "2001:db8:0:1::/64"),
        ("::1", "::/64"),
        ("unix", "unix"),
    ],
)
def test_one_source(ip: str, key: str) -> None:
    """An IPv6 host owns its /64; IPv4 written as IPv6 is IPv4."""
    assert address_key(ip) == key


def test_a_bucket_allows_its_burst_and_then_its_rate() -> None:
    """Three at once, then one per half second; the first refusal of a row is marked; keys are apart."""
    buckets = TokenBuckets(Rate(2.0, 3), most=10)
    assert [buckets.take("a", 0.0).is_allowed for _ in range(3)] == [True] * 3
    first, second = buckets.take("a", 0.0), buckets.take("a", 0.0)
    assert (first.is_allowed, first.is_first, first.retry_after_s) == (False, True, 0.5)
    assert (second.is_allowed, second.is_first) == (False, False)
    assert buckets.take("b", 0.0).is_allowed
    assert buckets.take("a", 0.5).is_allowed
    assert buckets.take("a", 0.5).is_first
    assert sum(buckets.take("a", 1000.0).is_allowed for _ in range(10)) == 3


def test_buckets_are_bounded() -> None:
    """The keys that were silent longest are forgotten."""
    buckets = TokenBuckets(Rate(1.0, 1), most=100)
    for number in range(10_000):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 100


def test_hostile_hotkey_text_is_made_harmless() -> None:
    """A claim is shown as an address when it is one, else cut and stripped."""
    assert rules.claimed_hotkey(ss58.encode(hotkey_bytes(ALICE.hotkey), 0)) == ALICE.hotkey
    assert rules.claimed_hotkey("\x1b[31m" + "é" * 10 + "a" * 100) == "[31m" + "a" * 49


def test_a_new_authentication_keeps_what_is_still_open() -> None:
    """The key is remembered for comparison; access that has not ended stays with the row, ended access does not."""
    known = session(key_fingerprint="SHA256:x", nodes_ready=2, access_until=5.0, last_discovery_at=1.0)
    new = session(token="cd" * 32)
    kept = merged(known, new)
    assert kept is not None
    assert (kept.token, kept.key_fingerprint, kept.nodes_ready, kept.access_until) == ("cd" * 32, "SHA256:x", 2, 5.0)
    fresh = merged(replace(known, ended_at=3.0, end_reason="expired"), new)
    assert fresh is not None
    assert (fresh.ended_at, fresh.end_reason, fresh.nodes_ready, fresh.access_until) == (None, "", 0, None)
    assert fresh.key_fingerprint == "SHA256:x"


def test_an_unassigned_discovery_keeps_the_known_key() -> None:
    """A key that was put nowhere replaces nothing, and open access stays until it ends."""
    known = session(key_fingerprint="SHA256:x", access_until=5.0)
    row = merged(known, Discovery(9.0, "", "", "", 0, 0, None))
    assert row is not None and (row.key_fingerprint, row.access_until, row.last_discovery_at) == ("SHA256:x", 5.0, 9.0)
    assert merged(None, Discovery(9.0, "", "", "", 0, 0, None)) is None
