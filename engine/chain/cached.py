"""The last good metagraph, its age, and one read at a time however many ask.

A failed read never empties the cache: callers keep the old reading until it is too old, and then learn that nothing
is known, which is not the same as "not permitted".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from engine.chain.metagraph_json import metagraph_from_json, metagraph_to_json
from engine.chain.models import Chain, Metagraph
from engine.clock import Clock
from engine.errors import ChainRefused, ChainUnavailable
from engine.events import ChainFailed, EventSink, MetagraphRead

log = structlog.get_logger()

LoadValue = Callable[[], Awaitable[object | None]]
SaveValue = Callable[[object], Awaitable[None]]

# A stored reading from the future means that the wall clock was moved back: its age is unknown.
_FUTURE_TOLERANCE_S = 60.0


class MetagraphCache:
    """Keeps one subnet's metagraph. ``load`` and ``save`` persist JSON-native values, for instance in the store.

    Ages are counted by the monotonic clock; only across a restart the wall clock has to do.
    """

    def __init__(
        self,
        chain: Chain,
        *,
        clock: Clock,
        max_age_s: float,
        emit: EventSink,
        load: LoadValue | None = None,
        save: SaveValue | None = None,
        own_hotkey: str | None = None,
        netuid: int | None = None,
    ) -> None:
        self._chain = chain
        self._clock = clock
        self._max_age_s = max_age_s
        self._emit = emit
        self._load = load
        self._save = save
        self._own_hotkey = own_hotkey
        self._netuid = netuid
        self._metagraph: Metagraph | None = None
        self._read_at = 0.0
        self._flight: asyncio.Task[Metagraph] | None = None

    @property
    def age_s(self) -> float | None:
        """Age of the reading that is held, however old; None when there is none."""
        return None if self._metagraph is None else max(0.0, self._clock.monotonic() - self._read_at)

    def current(self) -> tuple[Metagraph, float]:
        """The last good metagraph and its age in seconds; raises ``ChainUnavailable`` if none is fresh enough."""
        age_s = self.age_s
        if self._metagraph is None or age_s is None:
            raise ChainUnavailable("the metagraph was never read", hint="Check the connection to the chain.")
        if age_s > self._max_age_s:
            raise ChainUnavailable(
                f"the metagraph is {age_s:.0f} s old, more than {self._max_age_s:.0f} s",
                hint="The chain has not answered for a while; check the connection to it.",
            )
        return self._metagraph, age_s

    async def refresh(self) -> Metagraph:
        """Read the chain now, or join the read that is already under way.

        Raises ``ChainUnavailable`` (or ``ChainRefused``) when it fails; the old reading stays.
        """
        flight = self._flight
        if flight is None:
            flight = self._flight = asyncio.create_task(self._read())
            flight.add_done_callback(self._landed)
        await asyncio.wait({flight})  # not "await flight": a caller that gives up must not end it for the others
        if flight.cancelled():
            raise ChainUnavailable("reading the metagraph was given up: the engine closes the chain")
        return flight.result()

    async def restore(self) -> Metagraph | None:
        """Take up the persisted reading with its true age, unless a newer one is held; call once at start."""
        if self._load is None or self._metagraph is not None:
            return None
        saved = await self._load()
        if saved is None:
            return None
        try:
            metagraph, age_s = self._parse_saved(saved)
        except ValueError as error:
            log.warning("chain.saved_metagraph_unusable", reason=str(error))
            return None
        if self._metagraph is None:
            self._metagraph = metagraph
            self._read_at = self._clock.monotonic() - age_s
        return metagraph

    async def close(self) -> None:
        """End a read that is under way."""
        flight = self._flight
        if flight is not None:
            flight.cancel()
            await asyncio.wait({flight})

    async def _read(self) -> Metagraph:
        try:
            metagraph = await self._chain.metagraph()
        except (ChainUnavailable, ChainRefused) as error:
            self._emit(
                ChainFailed(at=self._clock.now(), operation="metagraph", error=str(error), metagraph_age_s=self.age_s)
            )
            raise
        self._metagraph = metagraph
        self._read_at = self._clock.monotonic()
        own = metagraph.by_hotkey(self._own_hotkey) if self._own_hotkey else None
        self._emit(
            MetagraphRead(
                at=self._clock.now(),
                netuid=metagraph.netuid,
                block=metagraph.block,
                neurons=len(metagraph.neurons),
                validators=len(metagraph.validators()),
                own_uid=own.uid if own else None,
                own_stake_tao=own.stake_tao if own else None,
                own_incentive=own.incentive if own else None,
                own_emission=own.emission_tao if own else None,
            )
        )
        if self._save is not None:
            await self._save({"read_at": self._clock.now(), "metagraph": metagraph_to_json(metagraph)})
        return metagraph

    def _landed(self, flight: asyncio.Task[Metagraph]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # read here too, in case every caller gave up

    def _parse_saved(self, saved: object) -> tuple[Metagraph, float]:
        if not isinstance(saved, Mapping) or not isinstance(saved.get("read_at"), int | float):
            raise ValueError("not a saved metagraph")
        metagraph = metagraph_from_json(saved.get("metagraph"))
        if self._netuid is not None and metagraph.netuid != self._netuid:
            raise ValueError(f"it is of subnet {metagraph.netuid}")
        age_s = self._clock.now() - float(saved["read_at"])
        if age_s < -_FUTURE_TOLERANCE_S:
            raise ValueError("it was read in the future")
        return metagraph, max(0.0, age_s)
