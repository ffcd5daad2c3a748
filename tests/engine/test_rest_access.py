"""Who may read the REST API: keys, signed requests, rates, and what a miner sees of itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import tomli_w

from engine.clock import ManualClock
from engine.config.validator import ApiConfig
from engine.errors import ApiKeyInvalid
from engine.identity.signed_requests import sign_request
from engine.identity.wallets import OpenWallet, create_wallet
from engine.rest.access import SCOPES, Caller, Refusal, Sight, decide
from engine.rest.gate import is_known
from engine.rest.keys import ApiKeys
from engine.store import open_store
from tests.support.asking import ask
from tests.support.rest_world import NOW, RestWorld, rest_world

READ = Caller("key a", frozenset({"read"}))
ALL = Caller("key b", frozenset(SCOPES))
MINER = Caller("hotkey 5M", hotkey="5M")


@pytest.mark.parametrize(
    ("caller", "group", "opened", "expected"),
    [
        (Caller(), "health", {"health"}, Sight()),
        (Caller(), "miners", {"health"}, 401),
        (Caller(), "miners", {"miners"}, Sight()),
        (Caller(), "config", {"miners"}, 401),
        (READ, "miners", set(), Sight()),
        (READ, "health", set(), Sight()),
        (READ, "config", set(), 403),
        (ALL, "config", set(), Sight()),
        (Caller("key c", frozenset({"config"})), "miners", set(), 403),
        (MINER, "miners", set(), Sight("5M")),
        (MINER, "nodes", set(), Sight("5M")),
        (MINER, "verification", set(), Sight("5M")),
        (MINER, "config", set(), 403),
        (MINER, "rentals", set(), 403),
        (MINER, "miners", {"miners"}, Sight()),
    ],
)  # fmt: skip
def test_who_sees_what(caller: Caller, group: str, opened: set[str], expected: Sight | int) -> None:
    """Open groups for all, scopes for keys, its own for a miner, nothing else."""
    found = decide(caller, group, opened)  # type: ignore[arg-type]
    assert (found.status if isinstance(found, Refusal) else found) == expected


@pytest.mark.parametrize(
    ("header", "known"), [("", False), ('W/"a"', True), ('"a"', True), ('"b" , W/"a"', True), ("*", True), ("a", False)]
)
def test_tags(header: str, known: bool) -> None:
    """Tags are compared weakly, in lists too."""
    assert is_known(header, 'W/"a"') is known


@pytest.fixture
def miners(tmp_path: Path) -> list[OpenWallet]:
    """Two registered miners and a stranger."""
    return [create_wallet(tmp_path / "w", name, "default") for name in ("one", "two", "stranger")]


@pytest.fixture
async def world(tmp_path: Path, miners: list[OpenWallet]) -> AsyncIterator[RestWorld]:
    """The default rules: health and documentation are open, the rest is not."""
    hotkeys = [wallet.signer.hotkey for wallet in miners[:2]]
    async with rest_world(tmp_path, ApiConfig(), hotkeys=hotkeys, own=own_hotkey(tmp_path)) as made:
        yield made


def own_hotkey(tmp_path: Path) -> str:
    path = tmp_path / "w"
    if not (path / "validator").exists():
        create_wallet(path, "validator", "default")
    from engine.identity.wallets import open_wallet

    return open_wallet(path, "validator", "default").signer.hotkey


async def status_of(world: RestWorld, path: str, **headers: str) -> int:
    return (await ask(world.app, path, **headers))[0]


async def test_without_a_key_only_the_door_is_open(world: RestWorld) -> None:
    """Health and documentation answer; everything else asks who it is, in words and by header."""
    for path, expected in (
        ("/health", 200),
        ("/docs", 200),
        ("/openapi.json", 200),
        ("/miners", 401),
        ("/config", 401),
    ):
        assert await status_of(world, path) == expected
    _, headers, body = await ask(world.app, "/nodes")
    assert headers["www-authenticate"].startswith("Bearer")
    assert "API key with the scope read" in body["detail"]


async def test_a_key_reads_until_it_is_revoked_or_ends(world: RestWorld) -> None:
    """By both headers, within its scopes; at once no more after its end; its use is noted; its text is not kept."""
    text, record = await world.keys.create("grafana", ["read"], lifetime_s=3600.0)
    for headers in ({"authorization": f"Bearer {text}"}, {"x_api_key": text}):
        assert await status_of(world, "/miners", **headers) == 200
    assert await status_of(world, "/config", x_api_key=text) == 403
    (row,) = await world.store.api_keys.all()
    assert (row.last_used_at, row.digest.startswith("$argon2id$")) == (NOW, True)
    assert text.rpartition("_")[2] not in json.dumps([row.digest, row.id, row.name])
    world.clock.set_wall(NOW + 3601)
    assert await status_of(world, "/miners", x_api_key=text) == 401
    text, record = await world.keys.create("grafana", ["read", "config"], lifetime_s=None)
    assert await status_of(world, "/config", x_api_key=text) == 200
    await world.keys.revoke(record.id)
    assert await status_of(world, "/config", x_api_key=text) == 401


async def test_wrong_keys_are_refused_and_then_told_to_wait(world: RestWorld) -> None:
    """A wrong secret, an unknown id, no key at all: 401, on open routes too; after ten the address has to wait."""
    text, _ = await world.keys.create("a", ["read"], lifetime_s=None)
    for wrong in (text[:-1] + ("A" if text[-1] != "A" else "B"), "basilica_aaaaaaaaaaaa_" + "b" * 43, "", "x\x7f"):
        assert await status_of(world, "/health", x_api_key=wrong) == 401
    answers = [await ask(world.app, "/miners", x_api_key="wrong", client="192.0.2.9") for _ in range(12)]
    assert [status for status, _, _ in answers] == [401] * 10 + [429] * 2
    assert await status_of(world, "/miners", x_api_key=text) == 200


@pytest.mark.parametrize(
    ("name", "scopes", "lifetime_s"),
    [("", ["read"], None), ("a b", ["read"], None), ("a", [], None), ("a", ["root"], None), ("a", ["read"], -1.0)],
)
async def test_keys_that_cannot_be_made(
    world: RestWorld, name: str, scopes: list[str], lifetime_s: float | None
) -> None:
    """No name, no scope, an unknown one, an end in the past: refused with a hint."""
    with pytest.raises(ApiKeyInvalid) as caught:
        await world.keys.create(name, scopes, lifetime_s=lifetime_s)
    assert caught.value.hint
    assert await world.keys.all() == []


async def test_keys_survive_a_restart(tmp_path: Path) -> None:
    """What one engine made, the next one recognises; a name is taken until its key is revoked."""
    clock = ManualClock(NOW)
    store = await open_store(f"sqlite:{tmp_path / 'v.db'}", clock=clock)
    text, record = await ApiKeys(store.api_keys, clock).create("a", ["config"], lifetime_s=None)
    await store.close()
    store = await open_store(f"sqlite:{tmp_path / 'v.db'}", clock=clock)
    try:
        keys = ApiKeys(store.api_keys, clock, configured="c" * 24)
        found = await keys.recognise(text)
        assert found == Caller("key a", frozenset({"config"}))
        assert keys.recall("c" * 24) is not None
        with pytest.raises(ApiKeyInvalid, match="already"):
            await keys.create("a", ["read"], lifetime_s=None)
        await keys.revoke("a")
        with pytest.raises(ApiKeyInvalid, match="no key"):
            await keys.revoke(record.id)
        await keys.create("a", ["read"], lifetime_s=None)
        assert ApiKeys(store.api_keys, clock, configured="short").recall("short") is None
    finally:
        await store.close()


def signed(wallet: OpenWallet, path: str, receiver: str) -> dict[str, str]:
    return {k.replace("-", "_"): v for k, v in sign_request(wallet.signer, path=path, receiver=receiver).items()}


async def test_a_miner_reads_its_own_scores_and_no_others(world: RestWorld, miners: list[OpenWallet]) -> None:
    """A request signed by the hotkey opens that miner's documents and narrows every list to it."""
    own, other = miners[0].signer.hotkey, miners[1].signer.hotkey
    receiver = world.state.engine.hotkey

    async def get(path: str) -> tuple[int, object]:
        status, _, body = await ask(world.app, path, **signed(miners[0], path, receiver))
        return status, body

    status, body = await get("/miners/miner_0")
    assert status == 200
    assert isinstance(body, dict)
    assert body["hotkey"] == own
    assert (await get(f"/miners/{own}/health"))[0] == 200
    assert (await get("/miners/miner_1"))[0] == 403
    assert (await get(f"/verification/results/{other}"))[0] == 403
    assert (await get(f"/verification/results/{other}-n0"))[0] == 404
    assert (await get(f"/verification/results/{own}-n0?limit=2"))[0] == 200
    _, listed = await get("/miners?page_size=100")
    assert [miner["hotkey"] for miner in listed["miners"]] == [own]  # type: ignore[index]
    _, nodes = await get("/nodes")
    assert nodes["total_count"] == 1  # type: ignore[index]
    _, active = await get("/verification/active")
    assert {row["miner_hotkey"] for row in active["recent_failures"]} == {own}  # type: ignore[index]
    assert len((await get("/gpu-profiles"))[1]) == 1  # type: ignore[arg-type]
    assert (await get("/config"))[0] == 403


async def test_a_signed_request_works_once_and_for_us_alone(
    world: RestWorld, miners: list[OpenWallet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replayed, for another path or receiver, too old, tampered with, or by a stranger: refused with the reason."""
    receiver = world.state.engine.hotkey
    good = signed(miners[0], "/miners/miner_0", receiver)
    assert await status_of(world, "/miners/miner_0", **good) == 200
    replayed = await ask(world.app, "/miners/miner_0", **good)
    assert (replayed[0], "already accepted" in replayed[2]["detail"]) == (401, True)
    fresh = signed(miners[0], "/miners/miner_0", receiver)
    bad = [
        ("/miners/miner_0?x=1", fresh),
        ("/miners/miner_0", signed(miners[0], "/miners/miner_0", miners[1].signer.hotkey)),
        ("/miners/miner_0", {k: v for k, v in fresh.items() if k != "X_Bittensor_Receiver"}),
        ("/miners/miner_0", fresh | {"X_Bittensor_Hotkey": miners[1].signer.hotkey}),
        ("/miners/miner_0", fresh | {"X_Bittensor_Hotkey": "nobody"}),
        ("/miners/miner_0", fresh | {"X_Bittensor_Nonce": str(int(fresh["X_Bittensor_Nonce"]) + 1)}),
        ("/miners/miner_0", signed(miners[2], "/miners/miner_0", receiver)),
    ]
    for place, (path, headers) in enumerate(bad):
        status, _, body = await ask(world.app, path, client=f"192.0.2.{place}", **headers)
        assert (status, body["status"]) == (401, 401)
    with monkeypatch.context() as patch:
        old = time.time_ns() - 11_000_000_000
        patch.setattr("engine.identity.signed_requests.time.time_ns", lambda: old)
        late = signed(miners[0], "/miners/miner_0", receiver)
    status, _, body = await ask(world.app, "/miners/miner_0", client="192.0.2.99", **late)
    assert (status, "older than" in body["detail"]) == (401, True)
    assert await status_of(world, "/miners/miner_0", **fresh) == 200


async def test_rates_are_per_address_and_per_key(tmp_path: Path) -> None:
    """An address that asks too often gets 429 with a time; a key has its own budget, IPv6 neighbours share theirs."""
    api = ApiConfig(requests_per_minute=20, requests_per_minute_with_key=40)
    async with rest_world(tmp_path, api) as world:
        answers = [await ask(world.app, "/health", client="192.0.2.1") for _ in range(22)]
        assert [status for status, _, _ in answers].count(429) == 2
        _, headers, body = answers[-1]
        assert (headers["retry-after"], headers["content-type"]) == ("3", "application/problem+json")
        assert "ask again in 3 s" in body["detail"]
        assert await status_of(world, "/health", client="192.0.2.2") == 200
        for number in range(20):
            await status_of(world, "/health", client=f"2001:db8::{number:x}")
        assert (await ask(world.app, "/health", client="2001:db8::ffff"))[0] == 429
        text, _ = await world.keys.create("a", ["read"], lifetime_s=None)
        many = [(await ask(world.app, "/miners", client="192.0.2.3", x_api_key=text))[0] for _ in range(22)]
        assert many.count(429) == 2
        await world.clock.advance(3.0)
        assert (await ask(world.app, "/health", client="192.0.2.1"))[0] == 200


@pytest.mark.timeout(400)
def test_the_command_line_makes_lists_and_revokes_keys(tmp_path: Path) -> None:
    """With the engine stopped the store is used; the key is shown once, and a second revocation is an error."""
    config = tmp_path / "validator.toml"
    config.write_text(tomli_w.dumps({"database": {"url": f"sqlite:{tmp_path / 'v.db'}"}, "bittensor": {}}))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "basilica_tui", "api-keys", *words, "--config", str(config)],
            capture_output=True, text=True, check=False, timeout=110,
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        )  # fmt: skip

    made = run("create", "grafana", "--scope", "read", "--days", "30")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert key.startswith("basilica_")
    listed = run("list").stdout
    assert "grafana" in listed
    assert key.rpartition("_")[2] not in listed
    assert run("revoke", "grafana").returncode == 0
    again = run("revoke", "grafana")
    assert (again.returncode, "there is no key grafana" in again.stderr) == (1, True)
