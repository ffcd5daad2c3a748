"""Which nodes are rented: told by whoever rents them out, kept in the store, honoured by every round.

This validator deploys no containers. A rented node is verified lightly only, and clean-up spares it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from engine.clock import Clock
from engine.control.actions import ActionTable, current_actor
from engine.control.models import place_id
from engine.errors import RentalConflict, RentalInvalid, RentalUnknown
from engine.events import EventSink, RentalBegan, RentalEnded, RentalRestored
from engine.store import Store
from engine.store.records import Rental

Args = Mapping[str, object]
Report = Callable[[str], None]
MOST_TEXT = 128


class RentalRegistry:
    """Enters and ends rentals. One engine, one instance; or none, on the store of a stopped one."""

    def __init__(self, store: Store, clock: Clock, emit: EventSink) -> None:
        self._store = store
        self._clock = clock
        self._emit = emit

    async def start(self) -> None:
        """Show what earlier runs were told. Raises StoreUnusable."""
        for rental in await self._store.rentals.all(is_active=True):
            self._emit(RentalRestored(at=rental.started_at, **_who(rental)))

    async def begin(self, args: Args, actor: str) -> dict[str, object]:
        """``node_id``, and ``miner`` (hotkey) where several have it, or ``place`` ("hotkey/node id") for both; ``id``,
        else one is made. Raises RentalInvalid."""
        miner, slash, node_id = _word(args, "place", MOST_TEXT * 2).partition("/")
        if not slash:
            node_id, miner = _word(args, "node_id"), _word(args, "miner")
        owners = await self._store.verifications.miners_of(node_id)
        if not owners or (miner and miner not in owners):
            raise RentalUnknown(
                f"no node {node_id!r}{f' of miner {miner}' if miner else ''} was ever verified",
                hint="basilica-tui show verifications lists the nodes",
            )
        if len(owners) > 1 and not miner:
            raise RentalConflict(f"{len(owners)} miners offer a node {node_id!r}", hint="say whose: --miner HOTKEY")
        rental = Rental(
            _word(args, "id") or f"rental-{uuid.uuid4()}", miner or owners[0], node_id, self._clock.now(),
            entered_by=actor,
        )  # fmt: skip
        other = await self._store.rentals.add(rental)
        if other is not None:
            is_same = other.id == rental.id
            raise RentalConflict(
                f"there was a rental {other.id} already" if is_same else f"node {node_id} is rented: {other.id}",
                hint="give it another id" if is_same else f"end it first: basilica-tui rentals end {other.id}",
            )
        self._emit(RentalBegan(at=rental.started_at, **_who(rental)))
        return rental_to_json(rental)

    async def end(self, args: Args) -> dict[str, object]:
        """``id``, or ``place`` for the one that stands there, and a ``reason``. Raises RentalInvalid."""
        rental_id = _word(args, "id") or await self._standing(_word(args, "place", MOST_TEXT * 2))
        rental = await self._store.rentals.end(rental_id, self._clock.now(), _word(args, "reason") or "ended")
        if rental is None or rental.ended_at is None:
            raise RentalUnknown(
                f"there is no rental {rental_id!r} that could end", hint="basilica-tui rentals list shows them"
            )
        self._emit(RentalEnded(at=rental.ended_at, reason=rental.end_reason, **_who(rental)))
        return rental_to_json(rental)

    async def _standing(self, place: str) -> str:
        """The id of the rental that stands at this place; empty when there is none."""
        standing = await self._store.rentals.all(is_active=True) if place else []
        return next((one.id for one in standing if place_id(one.miner_hotkey, one.node_id) == place), "")

    async def all(self) -> dict[str, object]:
        """Every rental on record, newest first."""
        return {"rentals": [rental_to_json(rental) for rental in await self._store.rentals.all()]}

    def add_actions(self, actions: ActionTable) -> None:
        """Register ``rental.begin``, ``rental.end`` and ``rental.list``."""

        async def begin(args: Args, _: Report) -> Mapping[str, object]:
            return await self.begin(args, current_actor())

        async def end(args: Args, _: Report) -> Mapping[str, object]:
            return await self.end(args)

        async def listed(_args: Args, _: Report) -> Mapping[str, object]:
            return await self.all()

        actions.register(
            "rental.begin", begin, help="a node is rented from now on: node_id=, miner= or place=, id=", danger=False
        )
        actions.register("rental.end", end, help="a rental is over: id= or place=, reason=", danger=False)
        actions.register("rental.list", listed, help="list rentals", danger=False)


def rental_to_json(rental: Rental) -> dict[str, object]:
    """For scripts."""
    return {
        "id": rental.id,
        "miner_hotkey": rental.miner_hotkey,
        "node_id": rental.node_id,
        "started_at": rental.started_at,
        "ended_at": rental.ended_at,
        "end_reason": rental.end_reason,
    }


def _word(args: Args, name: str, most: int = MOST_TEXT) -> str:
    text = args.get(name) or ""
    if not isinstance(text, str) or len(text) > most or not text.isprintable():
        raise RentalInvalid(f"{name} is no text of at most {most} characters")
    return text.strip()


def _who(rental: Rental) -> dict[str, str]:
    return {"rental_id": rental.id, "miner_hotkey": rental.miner_hotkey, "node_id": rental.node_id}
