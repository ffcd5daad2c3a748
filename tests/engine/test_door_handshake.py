"""The handshake of both dialects through generated stubs, and every answer of protocol.md §4."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine.clock import ManualClock
from engine.errors import ChainUnavailable, PortTaken, PublicKeyRefused
from engine.events import CallRefused, DiscoveryAnswered, ValidatorAuthenticated, ValidatorKeyChanged
from engine.identity import payloads, ss58
from engine.identity.signatures import hotkey_bytes, verify
from engine.miner.door import Door
from tests.engine.door_support import NODE, World, ed25519_line, key_of, rsa_line, signer, world

AT = 1_700_000_000


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as running:
        yield running


@pytest.mark.parametrize("dialect", ["A", "B"])
async def test_a_permitted_validator_is_authenticated(here: World, dialect: str) -> None:
    """The answer carries a token, an expiry an hour away and the miner's signature; the session is stored."""
    answer = await here.send_auth(here.auth(dialect), dialect)
    assert answer.authenticated
    assert len(answer.session_token) == 64 and int(answer.session_token, 16) >= 0
    assert answer.expires_at.value.seconds == AT + 3600
    assert answer.miner_hotkey == here.miner.hotkey
    assert not answer.HasField("error")
    payload = payloads.miner_response(here.validator.hotkey, answer.response_nonce, answer.session_token)
    assert verify(here.miner.hotkey, payload, answer.miner_signature)
    session = await here.store.sessions.get(here.validator.hotkey)
    assert session is not None
    assert (session.token, session.dialect, session.peer) == (answer.session_token, dialect, "127.0.0.1")
    assert (session.uid, session.stake_tao) == (3, 1234.5)
    event = here.events[-1]
    assert isinstance(event, ValidatorAuthenticated) and event.dialect == dialect and event.peer == "127.0.0.1"


@pytest.mark.parametrize("dialect", ["A", "B"])
async def test_an_assigned_validator_gets_the_nodes(here: World, dialect: str) -> None:
    """Nodes come back with the deployed miner's fields, and the core got the caller's own key."""
    answer = await here.send_auth(here.auth(dialect), dialect)
    (node,) = await here.send_discovery(here.discovery(dialect, token=answer.session_token), dialect)
    assert (node.node_id, node.host, node.port, node.username) == (NODE.node_id, "192.168.1.100", "22", "basilica")
    assert (node.additional_opts, node.status, node.hourly_rate_cents) == ("-o X=1", "available", 250)
    assert not node.HasField("gpu_spec")
    assert here.admission.admits == [(here.validator.hotkey, key_of(ed25519_line()))]
    event = here.events[-1]
    assert isinstance(event, DiscoveryAnswered)
    assert (event.assigned, event.nodes_ready, event.nodes_failed, event.dialect) == (True, 1, 1, dialect)
    assert event.key_fingerprint == key_of(ed25519_line()).fingerprint
    session = await here.store.sessions.get(here.validator.hotkey)
    assert session is not None and (session.nodes_ready, session.nodes_failed) == (1, 1)
    assert session.access_until == here.admission.access.access_until


async def test_dialect_b_needs_no_key_in_the_discovery(here: World) -> None:
    """The key that was signed at the authentication is used."""
    answer = await here.send_auth(here.auth("B"), "B")
    request = here.discovery("B", token=answer.session_token, validator_public_key="")
    assert len(await here.send_discovery(request, "B")) == 1
    assert here.admission.admits == [(here.validator.hotkey, key_of(ed25519_line()))]


@pytest.mark.parametrize("dialect", ["A", "B"])
async def test_an_unassigned_validator_gets_an_empty_list(here: World, dialect: str) -> None:
    """Not being assigned is no error, and nothing is admitted."""
    here.admission.assigned = False
    answer = await here.send_auth(here.auth(dialect), dialect)
    assert await here.send_discovery(here.discovery(dialect, token=answer.session_token), dialect) == []
    assert here.admission.admits == []
    event = here.events[-1]
    assert isinstance(event, DiscoveryAnswered) and not event.assigned


AUTH_REFUSALS: list[tuple[str, dict[str, Any], str, str]] = [
    ("no target", {"target_miner_hotkey": ""}, "INVALID_ARGUMENT", "target_miner_hotkey is required"),
    ("blank target", {"target_miner_hotkey": "  "}, "INVALID_ARGUMENT", "target_miner_hotkey is required"),
    (
        "other target",
        {"signed_target": signer("//Bob").hotkey},
        "PERMISSION_DENIED",
        "Authentication request not intended for this miner",
    ),
    ("target is text", {"target_miner_hotkey": "x" * 900}, "PERMISSION_DENIED", "Authentication request not"),
    ("hotkey is text", {"validator_hotkey": "somebody"}, "INVALID_ARGUMENT", "Invalid hotkey: "),
    ("hotkey is empty", {"validator_hotkey": ""}, "INVALID_ARGUMENT", "Invalid hotkey: "),
    ("hotkey of another", {"validator_hotkey": signer("//Bob").hotkey}, "UNAUTHENTICATED", "Invalid signature"),
    ("no signature", {"signature": ""}, "UNAUTHENTICATED", "Invalid signature"),
    ("short signature", {"signature": "ab" * 63}, "UNAUTHENTICATED", "Invalid signature"),
    ("no hex", {"signature": "z" * 128}, "UNAUTHENTICATED", "Invalid signature"),
    ("nonce swapped", {"nonce": "another"}, "UNAUTHENTICATED", "Invalid signature"),
    ("300 s and one too old", {"signed_timestamp": AT - 301}, "UNAUTHENTICATED", "Request timestamp too old"),
    ("300 s and one ahead", {"signed_timestamp": AT + 301}, "UNAUTHENTICATED", "Request timestamp too old"),
    ("milliseconds", {"signed_timestamp": AT * 1000}, "UNAUTHENTICATED", "Request timestamp too old"),
    ("negative", {"signed_timestamp": -AT}, "UNAUTHENTICATED", "Request timestamp too old"),
    ("largest", {"signed_timestamp": 2**63 - 1}, "UNAUTHENTICATED", "Request timestamp too old"),
    ("zero", {"signed_timestamp": 0}, "UNAUTHENTICATED", "Request timestamp"),
    ("absent", {"signed_timestamp": None}, "UNAUTHENTICATED", "Request timestamp"),
    ("no nonce", {"signed_nonce": ""}, "UNAUTHENTICATED", "Request nonce"),
    ("long nonce", {"signed_nonce": "n" * 129}, "UNAUTHENTICATED", "Request nonce"),
    ("nonce of controls", {"signed_nonce": "a\x1bb"}, "UNAUTHENTICATED", "Request nonce"),
]


@pytest.mark.parametrize("dialect", ["A", "B"])
async def test_a_bad_authentication_is_refused_and_changes_nothing(here: World, dialect: str) -> None:
    """Status and beginning of the message are the documented ones; no row is written, the chain is not asked."""
    for name, changes, status, text in AUTH_REFUSALS:
        here.events.clear()
        got_status, got_text = await here.refused_auth(here.auth(dialect, **changes), dialect)
        assert (got_status, got_text[: len(text)]) == (status, text), name
        (event,) = here.events
        assert isinstance(event, CallRefused), name
        assert (event.call, event.status, event.reason) == ("AuthenticateValidator", status, got_text), name
    assert await here.rows() == (0, 0)
    assert here.admission.permits == []


@pytest.mark.parametrize("offset", [-300, 0, 300])
async def test_a_timestamp_within_300_s_is_fresh(here: World, offset: int) -> None:
    """Exactly 300 s is accepted in both directions."""
    assert (await here.send_auth(here.auth(signed_timestamp=AT + offset))).authenticated


@pytest.mark.parametrize("spelling", ["0x{}", "0X{}", "{}"])
async def test_signature_spellings(here: World, spelling: str) -> None:
    """A signature may carry 0x and be of either case."""
    request = here.auth()
    request.signature = spelling.format(request.signature.upper())
    assert (await here.send_auth(request)).authenticated


async def test_a_signature_over_wrapped_bytes_is_refused(here: World) -> None:
    """What a browser wallet signs is not what the network signs."""
    request = here.auth()
    payload = payloads.auth_v1(request.nonce, here.miner.hotkey, AT)
    request.signature = here.validator.sign(b"<Bytes>" + payload + b"</Bytes>")
    assert await here.refused_auth(request) == ("UNAUTHENTICATED", "Invalid signature")


async def test_without_permit(here: World) -> None:
    """The permit is asked for after the signature, and its lack spends no nonce."""
    here.admission.permitted = False
    request = here.auth()
    assert await here.refused_auth(request) == ("PERMISSION_DENIED", "Validator not authorized")
    assert await here.rows() == (0, 0)
    here.admission.permitted = True
    assert (await here.send_auth(request)).authenticated


async def test_an_unknown_metagraph_is_never_not_authorized(here: World) -> None:
    """UNAVAILABLE, so that the validator comes back."""
    here.admission.permit_error = ChainUnavailable("no metagraph yet")
    status, text = await here.refused_auth(here.auth())
    assert status == "UNAVAILABLE" and "authorized" not in text
    assert await here.rows() == (0, 0)


async def test_discovery_before_authentication(here: World) -> None:
    """A correct discovery of a validator without a session is refused in both dialects."""
    for dialect in ("A", "B"):
        assert await here.refused_discovery(here.discovery(dialect, token="ab" * 32), dialect) == (
            "UNAUTHENTICATED",
            "Validator must authenticate before discovering nodes",
        )
    assert await here.rows() == (0, 0)


async def test_discovery_after_the_session_expired(here: World) -> None:
    """3600 s after the authentication a new one is needed."""
    await here.send_auth(here.auth())
    await here.clock.advance(3599)
    assert len(await here.send_discovery(here.discovery())) == 1
    await here.clock.advance(1)
    assert (await here.refused_discovery(here.discovery()))[1].startswith("Validator must authenticate")


async def test_discovery_after_the_session_was_ended(here: World) -> None:
    """A session that the operator ended needs a new authentication, which then works."""
    await here.send_auth(here.auth())
    session = await here.store.sessions.get(here.validator.hotkey)
    assert session is not None
    await here.store.sessions.put(replace(session, ended_at=here.clock.now(), end_reason="operator"))
    assert (await here.refused_discovery(here.discovery()))[0] == "UNAUTHENTICATED"
    await here.send_auth(here.auth())
    assert len(await here.send_discovery(here.discovery())) == 1


DISCOVERY_REFUSALS: list[tuple[str, dict[str, Any], str, str]] = [
    ("no target", {"target_miner_hotkey": ""}, "INVALID_ARGUMENT", "target_miner_hotkey is required"),
    ("other target", {"target_miner_hotkey": signer("//Bob").hotkey}, "PERMISSION_DENIED", "Authentication request"),
    ("hotkey is text", {"validator_hotkey": "somebody"}, "INVALID_ARGUMENT", "Invalid hotkey: "),
    ("no signature", {"signature": ""}, "UNAUTHENTICATED", "Invalid signature"),
    ("nonce swapped", {"nonce": "another"}, "UNAUTHENTICATED", "Invalid signature"),
    ("too old", {"signed_timestamp": AT - 301}, "UNAUTHENTICATED", "Request timestamp too old"),
    ("absent", {"signed_timestamp": None}, "UNAUTHENTICATED", "Request timestamp"),
    ("DSA", {"validator_public_key": "ssh-dss AAAAB3NzaC1kc3M="}, "INVALID_ARGUMENT", "Invalid SSH public key"),
    ("RSA 1024", {"validator_public_key": rsa_line(1024)}, "INVALID_ARGUMENT", "Invalid SSH public key"),
    ("options", {"validator_public_key": f"no-pty {ed25519_line()}"}, "INVALID_ARGUMENT", "Invalid SSH public key"),
    ("two lines", {"validator_public_key": f"{ed25519_line()}\n{ed25519_line(2)}"}, "INVALID_ARGUMENT", "Invalid SSH"),
    ("shell", {"validator_public_key": "ssh-ed25519 $(reboot)"}, "INVALID_ARGUMENT", "Invalid SSH public key"),
]


@pytest.mark.parametrize("dialect", ["A", "B"])
async def test_a_bad_discovery_is_refused_and_changes_nothing(here: World, dialect: str) -> None:
    """The session stays as it was, no nonce is spent and the core is not asked to admit anybody."""
    answer = await here.send_auth(here.auth(dialect), dialect)
    before = await here.rows(), await here.store.sessions.get(here.validator.hotkey)
    for name, changes, status, text in DISCOVERY_REFUSALS:
        request = here.discovery(dialect, token=answer.session_token, **changes)
        got_status, got_text = await here.refused_discovery(request, dialect)
        assert (got_status, got_text[: len(text)]) == (status, text), name
    assert (await here.rows(), await here.store.sessions.get(here.validator.hotkey)) == before
    assert here.admission.admits == []
    assert here.kinds() == ["door.authenticated", *["door.refused"] * len(DISCOVERY_REFUSALS)]


@pytest.mark.parametrize("key", ["", "   "])
async def test_no_key(here: World, key: str) -> None:
    """A missing key has its own message, in dialect B at the authentication already."""
    await here.send_auth(here.auth())
    expected = ("INVALID_ARGUMENT", "Validator must provide SSH public key")
    assert await here.refused_discovery(here.discovery(validator_public_key=key)) == expected
    assert await here.refused_auth(here.auth("B", validator_public_key=key), "B") == expected


@pytest.mark.parametrize(
    "key",
    [rsa_line(1024), "ssh-dss AAAAB3NzaC1kc3M=", "ssh-ed25519 AAAA"],
    ids=["short rsa", "dsa", "cut ed25519"],
)
async def test_a_weak_key_in_a_dialect_b_authentication(here: World, key: str) -> None:
    """It is refused before a session exists."""
    status, text = await here.refused_auth(here.auth("B", signed_key=key), "B")
    assert status == "INVALID_ARGUMENT" and text.startswith("Invalid SSH public key")
    assert await here.rows() == (0, 0)


async def test_a_swapped_key_in_dialect_b(here: World) -> None:
    """Neither the authentication nor the discovery takes another key than the signed one."""
    request = here.auth("B", validator_public_key=ed25519_line(9))
    assert await here.refused_auth(request, "B") == ("UNAUTHENTICATED", "Invalid signature")
    answer = await here.send_auth(here.auth("B"), "B")
    other = here.discovery("B", token=answer.session_token, validator_public_key=ed25519_line(9))
    assert (await here.refused_discovery(other, "B"))[0] == "UNAUTHENTICATED"
    assert (await here.refused_discovery(here.discovery("A", validator_public_key=ed25519_line(9))))[0] == (
        "UNAUTHENTICATED"
    )
    assert here.admission.admits == []


async def test_a_discovery_in_dialect_b_is_bound_to_its_session(here: World) -> None:
    """A wrong token, or the token of an earlier session, is no authentication."""
    first = await here.send_auth(here.auth("B"), "B")
    second = await here.send_auth(here.auth("B"), "B")
    for token in ("", "ab" * 32, first.session_token):
        assert (await here.refused_discovery(here.discovery("B", token=token), "B"))[1].startswith("Validator must")
    assert len(await here.send_discovery(here.discovery("B", token=second.session_token), "B")) == 1


async def test_a_permit_that_was_lost(here: World) -> None:
    """A live session does not replace the permit."""
    await here.send_auth(here.auth())
    here.admission.permitted = False
    assert await here.refused_discovery(here.discovery()) == ("PERMISSION_DENIED", "Validator not authorized")
    here.admission.permit_error = ChainUnavailable("gone")
    assert (await here.refused_discovery(here.discovery()))[0] == "UNAVAILABLE"
    assert here.admission.admits == []


async def test_a_key_that_the_core_refuses(here: World) -> None:
    """The miner's own key, an operator's or another validator's is an invalid argument and spends no nonce."""
    await here.send_auth(here.auth())
    here.admission.admit_error = PublicKeyRefused("this key is in use by another validator")
    request = here.discovery()
    assert await here.refused_discovery(request) == (
        "INVALID_ARGUMENT",
        "Invalid SSH public key: this key is in use by another validator",
    )
    here.admission.admit_error = None
    assert len(await here.send_discovery(request)) == 1


async def test_a_changed_key_is_reported(here: World) -> None:
    """A hotkey that comes with another SSH key than before raises an event with both fingerprints."""
    await here.send_auth(here.auth())
    await here.send_discovery(here.discovery())
    assert "door.validator_key_changed" not in here.kinds()
    await here.send_auth(here.auth())
    await here.send_discovery(here.discovery(validator_public_key=ed25519_line(2)))
    (event,) = [e for e in here.events if isinstance(e, ValidatorKeyChanged)]
    assert event.old_fingerprint == key_of(ed25519_line()).fingerprint
    assert event.new_fingerprint == key_of(ed25519_line(2)).fingerprint
    assert not event.is_signed


async def test_one_key_with_another_prefix_is_one_identity(here: World) -> None:
    """Session, permit and nonce are those of the key, whatever prefix its address is written with."""
    raw = hotkey_bytes(here.validator.hotkey)
    polkadot = ss58.encode(raw, prefix=0)
    answer = await here.send_auth(here.auth(validator_hotkey=polkadot))
    payload = payloads.miner_response(polkadot, answer.response_nonce, answer.session_token)
    assert verify(here.miner.hotkey, payload, answer.miner_signature)
    assert here.admission.permits == [here.validator.hotkey]
    assert len(await here.send_discovery(here.discovery())) == 1
    nonce = "5a0c4b3e-0000-4000-8000-000000000000"
    await here.send_auth(here.auth(signed_nonce=nonce))
    assert (await here.refused_auth(here.auth(signed_nonce=nonce, validator_hotkey=polkadot)))[0] == "UNAUTHENTICATED"
    assert len(await here.store.sessions.all()) == 1


async def test_signatures_may_be_switched_off(tmp_path: Path) -> None:
    """As deployed: signature and freshness are skipped then, permit and nonce are not."""
    async with world(tmp_path, verify_signatures=False) as here:
        request = here.auth(signed_timestamp=0, signature="")
        assert (await here.send_auth(request)).authenticated
        changed = here.auth(signature="", signed_nonce=request.nonce)
        assert (await here.refused_auth(changed))[0] == "UNAUTHENTICATED"
        assert len(await here.send_discovery(here.discovery(signature="", signed_timestamp=None))) == 1
        here.admission.permitted = False
        assert (await here.refused_auth(here.auth(signature="")))[1] == "Validator not authorized"


@pytest.mark.parametrize("service", ["", "basilca.miner.v1.MinerDiscovery", "basilica.miner.v1.MinerDiscovery"])
async def test_health(here: World, service: str) -> None:
    """The standard health service answers for the server and for both dialects."""
    async with here.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_taken_port_is_named(here: World) -> None:
    """Two doors on one port must fail, and the hint says which port."""
    second = Door(
        "127.0.0.1",
        here.port,
        here.miner,
        here.admission,
        store=here.store,
        clock=ManualClock(),
        emit=here.events.append,
    )
    with pytest.raises(PortTaken) as caught:
        await second.start()
    assert str(here.port) in caught.value.hint


async def test_a_caller_that_goes_away_does_not_stop_the_work(here: World) -> None:
    """A cancelled discovery is finished, recorded and answered to the identical retry, with one admission."""
    here.admission.hold = asyncio.Event()
    await here.send_auth(here.auth())
    request = here.discovery()
    async with here.channel() as channel:
        call: Any = channel.unary_unary("/basilca.miner.v1.MinerDiscovery/DiscoverNodes")
        running = call(request.SerializeToString())
        while not here.admission.admits:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    retry = asyncio.create_task(here.send_discovery(request))
    await asyncio.sleep(0.1)
    here.admission.hold.set()
    assert len(await retry) == 1
    assert len(here.admission.admits) == here.admission.finished == 1
    assert (await here.rows())[1] == 2


async def test_stopping_finishes_what_was_begun(here: World) -> None:
    """Work of a caller that is gone is finished within the grace."""
    here.admission.hold = asyncio.Event()
    await here.send_auth(here.auth())
    caller = asyncio.create_task(here.send_discovery(here.discovery()))
    while not here.admission.admits:
        await asyncio.sleep(0.01)
    asyncio.get_running_loop().call_later(0.2, here.admission.hold.set)
    await here.door.stop(5.0)
    assert len(await caller) == 1
    assert here.admission.finished == 1


async def test_an_unknown_method_is_unimplemented(here: World) -> None:
    """Which is what makes a client fall back to the other dialect."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await here.send_raw("/basilca.miner.v1.MinerDiscovery/SubmitBid", b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
