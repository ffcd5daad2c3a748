"""Rentals over HTTP: who may enter and end them, what comes of it, and bodies that a signature covers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from engine.config.validator import ApiConfig
from engine.events import OperatorActed, RentalBegan, RentalEnded
from engine.identity.signed_requests import sign_request
from engine.identity.wallets import OpenWallet, create_wallet
from engine.rest.inbox import Inbox
from tests.support.asking import OPEN, ask, ask_with
from tests.support.rest_world import NOW, RestWorld, node_of, rest_world


@pytest.fixture
def wallets(tmp_path: Path) -> dict[str, OpenWallet]:
    """A miner and the validator."""
    return {name: create_wallet(tmp_path / "w", name, "default") for name in ("miner", "validator")}


@pytest.fixture
async def world(tmp_path: Path, wallets: dict[str, OpenWallet]) -> AsyncIterator[RestWorld]:
    """Everything may be read by everybody; the miner has one node."""
    own = wallets["validator"].signer.hotkey
    async with rest_world(tmp_path, OPEN, hotkeys=[wallets["miner"].signer.hotkey], own=own) as made:
        yield made


def node_id(wallets: dict[str, OpenWallet]) -> str:
    return node_of(wallets["miner"].signer.hotkey, 0, 0).node_id


async def key_of(world: RestWorld, *scopes: str) -> str:
    text, _ = await world.keys.create(f"k{len(await world.keys.all())}", scopes, lifetime_s=None)
    return text


async def post(world: RestWorld, body: object, path: str = "/rentals", **headers: str) -> tuple[int, Any, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await ask_with(world.app, path, data, {"content_type": "application/json", **headers})


async def test_a_rental_is_entered_and_ended(world: RestWorld, wallets: dict[str, OpenWallet]) -> None:
    """201 with its place, at once seen everywhere, on record with who did it; then 204, and free again."""
    key, node = await key_of(world, "rentals"), node_id(wallets)
    before = (await ask(world.app, "/nodes?available=true"))[2]["total_count"]
    status, headers, body = await post(world, {"node_id": node, "rental_id": "r-1"}, x_api_key=key)
    assert (status, headers["location"], body["rental_id"], body["status"]) == (201, "/rentals/r-1", "r-1", "active")
    assert (body["node"]["id"], body["node"]["rented"], body["miner_uid"]) == (node, True, 0)
    assert (before, (await ask(world.app, "/nodes?page_size=2"))[2]["available_nodes"][0]["node"]["rented"]) == (
        1,
        True,
    )
    (view,) = world.state.verifications.values()
    assert (view.node_id, view.rental_id, view.rented_since) == (node, "r-1", NOW)
    headers = {"content_type": "application/json", "x_api_key": key}
    status, _, body = await ask_with(world.app, "/rentals/r-1", b'{"reason": "over"}', headers, method="DELETE")
    assert (status, body, view.rental_id) == (204, None, "")
    assert (await ask(world.app, "/rentals/r-1"))[2]["status"] == "terminated"
    (kept,) = await world.store.rentals.all()
    assert (kept.entered_by, kept.end_reason) == ("key k0", "over")
    acted = [(e.actor, e.verb, e.outcome) for e in world.told if isinstance(e, OperatorActed)]
    assert acted == [("key k0", "rental.begin", "done"), ("key k0", "rental.end", "done")]
    assert [type(e) for e in world.told if not isinstance(e, OperatorActed)] == [RentalBegan, RentalEnded]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"node_id": "nobody"}, 404, "was ever verified"),
        ({"node_id": "taken"}, 409, "is rented: r-0"),
        ({"node_id": "taken", "miner_hotkey": "5Other"}, 404, "of miner 5Other"),
        ({"node_id": "taken", "container_image": "x"}, 422, "container_image"),
        ({"node_id": ""}, 422, "node_id"),
        ({"node_id": "n\n\x7f"}, 404, "node_id"),
        ({"node_id": "n", "rental_id": "a/b"}, 422, "rental_id"),
        ({}, 422, "node_id"),
        (b"{", 422, "body"),
        (b"", 422, "body"),
    ],
)  # fmt: skip
async def test_what_cannot_be_rented(
    world: RestWorld, wallets: dict[str, OpenWallet], body: Any, status: int, words: str
) -> None:
    """Each with its own status, in words, and nothing entered."""
    key = await key_of(world, "rentals")
    await post(world, {"node_id": node_id(wallets), "rental_id": "r-0"}, x_api_key=key)
    if isinstance(body, dict) and body.get("node_id") == "taken":
        body = {**body, "node_id": node_id(wallets)}
    found, headers, problem = await post(world, body, x_api_key=key)
    assert (found, headers["content-type"], problem["status"]) == (status, "application/problem+json", status)
    assert words in problem["detail"]
    assert len(await world.store.rentals.all()) == 1


async def test_a_rental_that_does_not_stand_cannot_end(world: RestWorld, wallets: dict[str, OpenWallet]) -> None:
    """Neither one that never was nor one that is over; its id stays taken."""
    key = await key_of(world, "rentals")
    for _ in range(2):
        assert (await ask(world.app, "/rentals/r", method="DELETE", x_api_key=key))[0] == 404
        await post(world, {"node_id": node_id(wallets), "rental_id": "r"}, x_api_key=key)
        await ask(world.app, "/rentals/r", method="DELETE", x_api_key=key)
    status, _, body = await post(world, {"node_id": node_id(wallets), "rental_id": "r"}, x_api_key=key)
    assert (status, body["detail"]) == (409, "there was a rental r already")


async def test_a_repeated_request_enters_once(world: RestWorld, wallets: dict[str, OpenWallet]) -> None:
    """The same Idempotency-Key gets the first answer; with other words it is a conflict; each caller has its own."""
    one, two = await key_of(world, "rentals"), await key_of(world, "rentals")
    wanted = {"node_id": node_id(wallets)}
    answers = [await post(world, wanted, x_api_key=one, idempotency_key="k") for _ in range(2)]
    assert [status for status, _, _ in answers] == [201, 201]
    assert answers[0][2]["rental_id"] == answers[1][2]["rental_id"]
    assert (await post(world, {"node_id": "other"}, x_api_key=one, idempotency_key="k"))[0] == 409
    assert (await post(world, wanted, x_api_key=two, idempotency_key="k"))[0] == 409
    assert len(await world.store.rentals.all()) == 1


async def test_who_may_change_nothing(world: RestWorld, wallets: dict[str, OpenWallet]) -> None:
    """What is open to be read is not open to be changed: nobody, a reading key and a miner are turned away."""
    wanted = {"node_id": node_id(wallets)}
    status, headers, _ = await post(world, wanted)
    assert (status, headers["www-authenticate"].startswith("Bearer")) == (401, True)
    assert (await post(world, wanted, x_api_key=await key_of(world, "read", "config")))[0] == 403
    body = json.dumps(wanted).encode()
    assert (await post(world, body, **signed(wallets["miner"], wallets, body)))[0] == 403
    assert (await ask(world.app, "/rentals/r", method="DELETE"))[0] == 401
    assert await world.store.rentals.all() == []
    assert world.told == []


async def test_a_key_for_rentals_reads_nothing(tmp_path: Path) -> None:
    """Its scope is that one alone."""
    async with rest_world(tmp_path, ApiConfig()) as world:
        key = await key_of(world, "rentals")
        assert [(await ask(world.app, path, x_api_key=key))[0] for path in ("/rentals", "/nodes", "/config")] == [
            403
        ] * 3


async def test_a_signature_covers_the_body(world: RestWorld, wallets: dict[str, OpenWallet]) -> None:
    """The validator's own hotkey may; the same signature over other words is refused."""
    body, other = (json.dumps({"node_id": name}).encode() for name in (node_id(wallets), "other"))
    headers = signed(wallets["validator"], wallets, body)
    assert (await post(world, other, **headers))[0] == 401
    assert (await post(world, body, **headers))[0] == 201
    status, _, problem = await post(world, body, **headers)
    assert (status, "already accepted" in problem["detail"]) == (401, True)


def signed(wallet: OpenWallet, wallets: dict[str, OpenWallet], body: bytes) -> dict[str, str]:
    receiver = wallets["validator"].signer.hotkey
    found = sign_request(wallet.signer, path="/rentals", receiver=receiver, method="POST", body=body)
    return {name.replace("-", "_"): value for name, value in found.items()}


def sending(*parts: bytes, more: bool = False) -> Any:
    """``receive`` of a client that sends these parts, and then nothing for ever or its leaving."""
    left = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if not more:
        left[-1]["more_body"] = False

    async def receive() -> Any:
        if left:
            return left.pop(0)
        return {"type": "http.disconnect"}

    return receive


async def test_an_inbox_hands_on_what_it_read() -> None:
    """Who reads after the signature was checked gets the whole body, and then that the client left."""
    inbox = Inbox(sending(b"ab", b"cd"), {}, 4)
    assert await inbox.whole() == b"abcd"
    assert (await inbox.receive())["body"] == b"abcd"
    assert (await inbox.receive())["type"] == "http.disconnect"


async def test_an_inbox_has_bounds() -> None:
    """Too many bytes, an early end, and a body that never comes: each has its status."""
    with pytest.raises(HTTPException) as caught:
        await Inbox(sending(b"ab", b"cde"), {}, 4).whole()
    assert caught.value.status_code == 413
    with pytest.raises(HTTPException) as caught:
        await Inbox(sending(b"ab", more=True), {}, 4).whole()
    assert caught.value.status_code == 400

    async def silent() -> Any:
        await asyncio.Event().wait()

    with pytest.raises(HTTPException) as caught:
        await Inbox(silent, {}, 4, limit_s=0.01).receive()
    assert caught.value.status_code == 408
