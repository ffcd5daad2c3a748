"""What the validator's housekeeping deletes, by its configuration; on both kinds of database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from bittensor.sp_core import Keypair

from engine.clock import ManualClock
from engine.config.validator import CleanupConfig, ValidatorBittensorConfig, ValidatorConfig
from engine.events import EventBus
from engine.identity.signatures import KeypairSigner
from engine.ssh.host_keys import HostKeys
from engine.store import Store, Verification, open_store
from engine.store.records import Misbehaviour, Rental, WeightSet
from engine.validator.role import ValidatorParts, ValidatorRole

DAY_S = 86_400.0
NOW = 1_800_000_000.0
AGES = [0, 8, 29, 31, 89, 91]
"""Days, on both sides of each limit."""
SIGNER = KeypairSigner(Keypair.create_from_uri("//Validator"))


@dataclass
class Kept:
    """Ages in days of what is still there."""

    full: list[int]
    light: list[int]
    misbehaviour: list[int]
    ended_rentals: list[int]
    weights: list[int]


def age(at: float) -> int:
    return round((NOW - at) / DAY_S)


async def fill(store: Store) -> None:
    """Of everything one for each age: of checks a full and a light one, both passed, and a light one that failed."""
    for days in reversed(AGES):
        at, id_ = NOW - days * DAY_S, f"{days}"
        await store.verifications.add(
            Verification(f"f{id_}", "5M", 1, "n", "u@h:22", "full", True, at, 1.0),
            Verification(f"l{id_}", "5M", 1, "n", "u@h:22", "lightweight", True, at, 1.0),
        )
        await store.validated.add_misbehaviour(Misbehaviour("5M", "n", at, "lie"))
        await store.rentals.add(Rental(f"r{id_}", "5M", f"n{id_}", at - 60))
        await store.rentals.end(f"r{id_}", at, "over")
        await store.weights.add(WeightSet(at, 1000 - days, "documented", 0, True, 1, "", "[]", "{}"))
    await store.rentals.add(Rental("standing", "5M", "n", NOW - 400 * DAY_S))


async def kept(store: Store) -> Kept:
    checks = await store.verifications.recent(99)
    rentals = await store.rentals.all()
    assert [one.id for one in rentals if one.ended_at is None] == ["standing"]
    return Kept(
        sorted(age(row.at) for row in checks if row.tier == "full"),
        sorted(age(row.at) for row in checks if row.tier == "lightweight"),
        sorted(age(entry.at) for entry in await store.validated.misbehaviour(0.0)),
        sorted(age(one.ended_at) for one in rentals if one.ended_at is not None),
        sorted(age(one.at) for one in await store.weights.recent(99)),
    )


@asynccontextmanager
async def housekeeping(url: str, cleanup: CleanupConfig) -> AsyncIterator[Store]:
    """The store after the first turn of the housekeeping."""
    clock, bus = ManualClock(NOW), EventBus()
    config = ValidatorConfig(bittensor=ValidatorBittensorConfig(network="local", netuid=39), cleanup=cleanup)
    store = await open_store(url, clock=clock)
    chain = cast(Any, None)
    role = ValidatorRole(ValidatorParts(config, store, chain, SIGNER, chain, clock, bus, HostKeys(None)))
    try:
        await fill(store)
        task = asyncio.create_task(role._keep_house())
        async with asyncio.timeout(60):
            while not clock._sleepers:
                await asyncio.sleep(0.01)
        task.cancel()
        yield store
    finally:
        await role.end_rounds()
        await store.close()


async def test_old_records_go_and_young_ones_stay(database_url: str) -> None:
    """By default 30 days of checks, offences and ended rentals, 90 of weights; what still stands is never old."""
    async with housekeeping(database_url, CleanupConfig()) as store:
        month, quarter = [0, 8, 29], [0, 8, 29, 31, 89]
        assert await kept(store) == Kept(month, month, month, month, quarter)
        (newest,) = await store.verifications.latest_checks()
        assert newest.verification_id == "l0"


async def test_passed_lightweight_checks_may_go_earlier(database_url: str) -> None:
    """Only they: full ones have their thirty days."""
    async with housekeeping(database_url, CleanupConfig(lightweight_retention_days=7)) as store:
        found = await kept(store)
        assert (found.full, found.light) == ([0, 8, 29], [0])


async def test_nothing_is_deleted_when_switched_off(database_url: str) -> None:
    """``enabled = false`` keeps everything for ever."""
    async with housekeeping(database_url, CleanupConfig(enabled=False)) as store:
        assert await kept(store) == Kept(AGES, AGES, AGES, AGES, AGES)
