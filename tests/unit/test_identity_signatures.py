"""Signatures: what is signed, what is accepted, and what must never be."""

from __future__ import annotations

from typing import Any

import pytest
from bittensor.sp_core import Keypair
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import HotkeyInvalid
from engine.identity import payloads, ss58
from engine.identity.signatures import KeypairSigner, hotkey_bytes, verify
from engine.identity.tokens import new_nonce, new_session_token

ALICE = Keypair.create_from_uri("//Alice")
BOB = Keypair.create_from_uri("//Bob")
PAYLOAD = payloads.auth_v1("n1", BOB.ss58_address, 1704067200)


def test_payloads_are_the_documented_bytes() -> None:
    """Each payload equals its format in the wire document, character by character."""
    assert PAYLOAD == b"BASILICA_AUTH_V1:n1:5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty:1704067200"
    assert len(PAYLOAD) == 79
    assert payloads.miner_response("V", "N", "T") == b"MINER_AUTH_RESPONSE:V:N:T"
    assert payloads.discover_v1("V", "N", 7) == b"BASILICA_DISCOVER_V1:V:N:7"
    assert payloads.auth_b("N", "M", 7, "ab") == b"BASILICA_AUTH_V1:N:M:7:ab"
    assert payloads.discover_v2("V", "M", "N", 7, "T") == b"BASILICA_DISCOVER_V2:V:M:N:7:T"


def test_signer_writes_lower_hex_without_prefix() -> None:
    """A signature leaves as 128 lower-case hex characters, and it verifies."""
    signer = KeypairSigner(ALICE)
    signature = signer.sign(PAYLOAD)
    assert len(signature) == 128
    assert signature == signature.lower()
    assert set(signature) <= set("0123456789abcdef")
    assert signer.hotkey == ALICE.ss58_address
    assert verify(signer.hotkey, PAYLOAD, signature)
    assert signature not in repr(signer)


@pytest.mark.parametrize("form", [str, str.upper, lambda s: "0x" + s, lambda s: "0X" + s.upper()])
def test_both_cases_and_0x_are_accepted(form: Any) -> None:
    """Peers may write the 64 bytes in either case, with or without 0x."""
    assert verify(ALICE.ss58_address, PAYLOAD, form(ALICE.sign(PAYLOAD).hex()))


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "0x",
        "zz" * 64,
        "00" * 63,
        "00" * 65,
        "0" * 127,
        "00" * 64,
        " " + "00" * 64,
        "00" * 64 + "\n",
        "0x0x" + "00" * 64,
        "٠" * 128,
        None,
        b"00" * 64,
        7,
    ],
)
def test_text_that_is_no_signature_is_refused_without_an_error(bad: Any) -> None:
    """Malformed signatures are simply not valid."""
    assert verify(ALICE.ss58_address, PAYLOAD, bad) is False


def test_a_signature_holds_for_its_key_and_bytes_only() -> None:
    """Another key or one changed byte makes it invalid."""
    signature = ALICE.sign(PAYLOAD).hex()
    assert not verify(BOB.ss58_address, PAYLOAD, signature)
    assert not verify(ALICE.ss58_address, PAYLOAD + b"0", signature)
    assert not verify("not an address", PAYLOAD, signature)
    assert not verify("", PAYLOAD, signature)


def test_a_wrapped_signature_is_refused_although_the_sdk_takes_it() -> None:
    """A browser wallet's <Bytes> signature never counts, even over a payload that looks wrapped itself."""
    wrapped = ALICE.sign(b"<Bytes>" + PAYLOAD + b"</Bytes>")
    assert ALICE.verify(PAYLOAD, wrapped)
    assert not verify(ALICE.ss58_address, PAYLOAD, wrapped.hex())
    assert verify(ALICE.ss58_address, b"<Bytes>" + PAYLOAD + b"</Bytes>", wrapped.hex())


def test_the_neutral_key_signs_nothing() -> None:
    """Under the all-zero key a forged signature would verify; it is refused."""
    forged = (bytes(63) + b"\x80").hex()
    assert not verify(ss58.encode(bytes(32)), PAYLOAD, forged)


def test_a_huge_payload_is_not_worth_a_check() -> None:
    """Payloads beyond any real size are refused before the arithmetic."""
    huge = b"x" * 20_000
    assert not verify(ALICE.ss58_address, huge, ALICE.sign(huge).hex())


@pytest.mark.parametrize("prefix", [0, 2, 42, 63, 64, 255, 1000, 16383])
def test_every_network_prefix_gives_the_same_key(prefix: int) -> None:
    """An address of any network parses to the same 32 bytes, and its signature verifies."""
    address = ss58.encode(bytes(ALICE.public_key), prefix)
    assert hotkey_bytes(address) == bytes(ALICE.public_key)
    assert verify(address, PAYLOAD, ALICE.sign(PAYLOAD).hex())


@pytest.mark.parametrize("prefix", [0, 2, 42])
def test_addresses_equal_those_of_the_sdk(prefix: int) -> None:
    """Encoding agrees with the SDK where the SDK knows the prefix."""
    from bittensor.sp_core import ss58_decode, ss58_encode

    address = ss58.encode(bytes(ALICE.public_key), prefix)
    assert address == ss58_encode(bytes(ALICE.public_key), prefix)
    assert bytes(ss58_decode(address)) == bytes(ALICE.public_key)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "5",
        ALICE.ss58_address[:-1],
        ALICE.ss58_address + "1",
        ALICE.ss58_address[:-1] + "Z",
        ALICE.ss58_address.lower(),
        " " + ALICE.ss58_address,
        "0x" + bytes(ALICE.public_key).hex(),
        "5" * 10_000,
        "1" * 50,
        "é" * 48,
    ],
)
def test_text_that_is_no_address_is_named_so(bad: str) -> None:
    """Anything else raises HotkeyInvalid with the documented words."""
    with pytest.raises(HotkeyInvalid, match="Invalid hotkey"):
        hotkey_bytes(bad)


@settings(max_examples=60)
@given(st.binary(min_size=32, max_size=32), st.integers(0, 16383))
def test_addresses_round_trip(key: bytes, prefix: int) -> None:
    """Every key and prefix survives the way there and back."""
    assert ss58.decode(ss58.encode(key, prefix)) == key


@given(st.text(max_size=60))
def test_hostile_address_text_never_escapes_as_another_error(text: str) -> None:
    """Arbitrary text is an address or HotkeyInvalid, nothing else."""
    assert ss58.is_address(text) in (True, False)


def test_tokens_and_nonces_have_their_forms() -> None:
    """A token is 64 hex characters, a nonce a UUID4, and neither repeats."""
    import uuid

    assert len({new_session_token() for _ in range(50)}) == 50
    assert len(bytes.fromhex(new_session_token())) == 32
    assert uuid.UUID(new_nonce()).version == 4
    assert new_nonce() != new_nonce()


def test_identity_loads_without_the_sdk() -> None:
    """Importing the room costs no SDK; only a signature check loads it."""
    import subprocess
    import sys

    code = (
        "import sys; import engine.identity, engine.identity.public_keys, engine.identity.wallets;"
        "engine.identity.hotkey_bytes('5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY');"
        "sys.exit('bittensor' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
