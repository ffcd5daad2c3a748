"""Alerts as a service: looks at the rules, says what began and ended, remembers it, and has it delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import structlog

from engine.clock import Clock, sleep_or_wake
from engine.config.common import AlertsConfig
from engine.control.state import LiveState
from engine.errors import StoreUnusable
from engine.events import (
    AlertAcknowledged,
    AlertCleared,
    AlertMuted,
    AlertRaised,
    AlertRestored,
    AlertSilenced,
    Event,
    EventSink,
    ServiceCrashed,
    ServiceStarted,
)
from engine.observe.alerts_book import LEVELS, AlertBook, Key
from engine.observe.alerts_facts import Facts, HostFacts
from engine.observe.alerts_memory import memory_from_json, memory_to_json
from engine.observe.alerts_mute import Muted, muted_by
from engine.observe.alerts_probe import HostProbe
from engine.observe.alerts_rules import patience, readings
from engine.observe.alerts_sense import AlertSense
from engine.observe.delivery import Delivery
from engine.observe.delivery_digest import Note
from engine.observe.threads import in_daemon_thread
from engine.store import Store
from engine.store.records import AlertRecord

log = structlog.get_logger()

MEMORY_KEY = "alerts.memory"
PROBE_EVERY_S = 60.0
PROBE_TIMEOUT_S = 10.0
SAVE_EVERY_S = 60.0
SHORTEST_PAUSE_S = 0.5
RETENTION_S = 90 * 86_400.0
FAULT_EVERY_S = 60.0
MAX_FAULT = 200
"""Characters of an error that nobody foresaw."""

StuckKeys = Callable[[float], Awaitable[Mapping[str, int]]]
"""How many keys per node should have been gone at this time and are not."""


async def no_keys(_: float) -> Mapping[str, int]:
    """For a role that puts no keys anywhere."""
    return {}


class AlertService:
    """The alerts of one engine. ``listen`` is subscribed to the bus after the live state."""

    def __init__(
        self,
        state: LiveState,
        store: Store,
        delivery: Delivery,
        probe: HostProbe,
        *,
        config: AlertsConfig,
        clock: Clock,
        emit: EventSink,
        stuck_keys: StuckKeys = no_keys,
        chain_interval_s: float = 0.0,
    ) -> None:
        self._state = state
        self._store = store
        self.delivery = delivery
        self._probe = probe
        self._config = config
        self._clock = clock
        self._emit = emit
        self._stuck_keys = stuck_keys
        self._chain_interval_s = chain_interval_s
        self._book = AlertBook()
        self._sense = AlertSense()
        self._wake = asyncio.Event()
        self._host = HostFacts()
        self._probed_at: float | None = None
        self._saved_at: float | None = None
        self._stuck: Mapping[str, int] = {}
        self._unsaved: dict[str, AlertRecord] = {}
        self._is_memory_unsaved = False
        self._muted: dict[Key, Muted] = {}
        self._faults_said_at: dict[str, float] = {}
        self._untold: set[Key] = set()
        """What was raised while nobody was to be told; told when that ends."""

    def listen(self, event: Event) -> None:
        """Count one event; never waits."""
        if self._sense.listen(event):
            self._wake.set()

    def configure(self, config: AlertsConfig) -> None:
        """Take up new thresholds and receivers."""
        self._config = config
        self.delivery.configure(config)
        self._sense.forget_target(frozenset(self.delivery.target_names))
        self._wake.set()

    async def restore(self) -> None:
        """Take over what the last run knew, so that nothing is told twice and no end is missed."""
        saved = memory_from_json(await self._store.keyvalue.get(MEMORY_KEY))
        self._book.wrong_since, self._book.silences = saved.wrong_since, saved.silences
        self._book.acknowledged = dict(saved.acknowledged)
        self._sense.key_changes = {change.hotkey: change for change in saved.key_changes}
        for record in await self._store.alerts.recent():
            if record.ended_at is None:
                self._book.active[(record.rule, record.subject)] = record
                if record.acknowledged_at is not None:
                    self._book.acknowledged[(record.rule, record.subject)] = record.acknowledged_at
            self._emit(_restored(record, self._clock.now()))
        self._untold = {key for key in saved.untold if key in self._book.active}
        for key, record in self._book.active.items():
            if key not in self._untold and self._is_high(record):
                self.delivery.remember(key)
        for (rule, subject), until in self._book.silences.items():
            self._emit(AlertSilenced(at=self._clock.now(), rule=rule, subject=subject, until=until))

    async def run(self) -> None:
        """Look at the rules at the interval and soon after urgent events, for ever."""
        while True:
            if self._config.enabled:
                await self.look()
            await sleep_or_wake(self._clock, self._config.check_interval, self._wake)
            await self._clock.sleep(SHORTEST_PAUSE_S)

    async def look(self) -> None:
        """One round: facts, judgements, changes."""
        await self._gather()
        now = self._clock.now()
        changes = self._book.step(readings(self._facts(now), self._say_fault), patience(self._config), now)
        for change in changes:
            self._say(change.record)
            self._unsaved[change.record.id] = change.record
            self._is_memory_unsaved = True
        self._tell([change.record for change in changes], now)
        await self._save()

    # --- what a person does -----------------------------------------------------------------------------------

    @property
    def book(self) -> AlertBook:
        """What is active and silenced."""
        return self._book

    async def acknowledge(self, alert_id: str) -> AlertRecord | None:
        """Note that a person knows of an active alert; None when it is not active."""
        record = self._book.acknowledge(alert_id, self._clock.now())
        if record is not None:
            self._emit(AlertAcknowledged(at=self._clock.now(), alert_id=alert_id))
            self._unsaved[record.id] = record
            self._is_memory_unsaved = True
            await self._save()
            self._wake.set()
        return record

    async def silence(self, key: Key, seconds: float) -> float:
        """Do not tell about this rule and subject for so long; zero ends a silence. Returns until when."""
        now = self._clock.now()
        until = now + seconds
        if seconds > 0:
            self._book.silences[key] = until
        else:
            self._book.silences.pop(key, None)
        self._emit(AlertSilenced(at=now, rule=key[0], subject=key[1], until=until))
        self._wake.set()
        self._is_memory_unsaved, self._saved_at = True, None
        await self._save()
        return until

    async def test(self) -> dict[str, str]:
        """Send a test to every receiver: its name, and why it failed or nothing."""
        now = self._clock.now()
        note = Note("test", "test", "", "test", "info", "This is a test: alerts reach you here.", "", "", now)
        return await self.delivery.test(note)

    # --- inside -----------------------------------------------------------------------------------------------

    async def _gather(self) -> None:
        at = self._clock.monotonic()
        if self._probed_at is None or at - self._probed_at >= PROBE_EVERY_S:
            self._probed_at = at
            try:
                self._host = await in_daemon_thread(self._probe.look, name="alert-probe", timeout_s=PROBE_TIMEOUT_S)
            except TimeoutError:
                self._host = replace(self._host, disk_free_bytes=None)
                log.warning("alerts.host_not_answering", hint="a file system of this host hangs")
            except Exception as fault:  # noqa: BLE001 - what is odd about this host must not end the watch over nodes
                self._host = replace(self._host, disk_free_bytes=None)
                self._say_fault("this host", fault)
        try:
            self._stuck = await self._stuck_keys(self._clock.now() - self._config.key_stuck_after)
        except StoreUnusable as error:
            log.warning("alerts.store_unusable", error=str(error))

    def _say_fault(self, what: str, fault: Exception) -> None:
        """A rule that nobody foresaw to fail: said like a service's crash, so that it becomes an alert itself."""
        at = self._clock.monotonic()
        said_at = self._faults_said_at.get(what)
        if said_at is not None and at - said_at < FAULT_EVERY_S:
            return
        self._faults_said_at[what] = at
        log.error("alerts.unexpected", rule=what, exc_info=fault)
        now, error = self._clock.now(), f"judging {what}: {type(fault).__name__}: {str(fault)[:MAX_FAULT]}"
        self._emit(ServiceCrashed(at=now, service="alerts", error=error, retry_in_s=self._config.check_interval))
        self._emit(ServiceStarted(at=now, service="alerts"))  # the other rules go on

    def _facts(self, now: float) -> Facts:
        book, sense, config = self._book, self._sense, self._config
        return Facts(
            now=now,
            state=self._state,
            limits=config,
            active={key: record.began_at for key, record in book.active.items()},
            acknowledged=book.acknowledged,
            authentications=sense.authentications(now, config.auth_window),
            crashes=sense.crashes(now, config.restarts_window),
            key_changes=sense.recent_key_changes(now),
            stuck_keys=self._stuck,
            host=self._host,
            failed_targets=sense.failed_targets(),
            chain_interval_s=self._chain_interval_s,
        )

    def _say(self, record: AlertRecord) -> None:
        at = self._clock.now()
        if record.ended_at is None:
            self._emit(
                AlertRaised(
                    at=at,
                    alert_id=record.id,
                    level=record.level,
                    subject=record.subject,
                    message=record.message,
                    hint=record.hint,
                    rule=record.rule,
                    impact=record.impact,
                )
            )
        else:
            self._emit(AlertCleared(at=at, alert_id=record.id, rule=record.rule, subject=record.subject))

    def _tell(self, changed: Sequence[AlertRecord], now: float) -> None:
        """Hand on what began and ended, and what is not muted any more; say which are muted."""
        active, before = self._book.active, self._muted
        every = {key: muted_by(key, self._book, self._state.nodes, now) for key in active}
        self._muted = {key: by for key, by in every.items() if by}
        for key, by in every.items():
            if by != before.get(key, ""):
                self._emit(AlertMuted(at=now, alert_id=active[key].id, by=by))
        self._untold = {key for key in self._untold if key in active}
        for record in changed:
            key = (record.rule, record.subject)
            if record.ended_at is not None:
                self._offer(record)  # who never heard of its beginning does not hear of its end: see Digest
            elif key in self._muted:
                self._untold.add(key)
            else:
                self._offer(record)
        for key in self._untold - self._muted.keys():
            self._untold.discard(key)
            self._offer(active[key])

    def _offer(self, record: AlertRecord) -> None:
        if self._is_high(record):
            self.delivery.offer(_note(record))

    def _is_high(self, record: AlertRecord) -> bool:
        return LEVELS.index(record.level) >= LEVELS.index(self._config.min_level)

    async def _save(self) -> None:
        """Store what changed. A store that fails is tried again at the next round: alerts go on without it."""
        at = self._clock.monotonic()
        is_due = self._saved_at is None or at - self._saved_at >= SAVE_EVERY_S
        try:
            if self._unsaved:
                batch = dict(self._unsaved)
                await self._store.alerts.put_many(batch.values())
                self._unsaved = {k: v for k, v in self._unsaved.items() if batch.get(k) != v}
            if self._is_memory_unsaved or is_due:
                memory = memory_to_json(self._book, self._untold, self._sense.recent_key_changes(self._clock.now()))
                await self._store.keyvalue.put(MEMORY_KEY, memory)
                self._is_memory_unsaved = False
            if is_due:
                self._saved_at = at
                await self._store.alerts.prune(self._clock.now() - RETENTION_S)
        except StoreUnusable as error:
            log.warning("alerts.not_stored", error=str(error))


async def stuck_keys_in(store: Store, before: float) -> Mapping[str, int]:
    """Keys that should have been gone since before this time and were never read back as gone, per node."""
    found: dict[str, int] = {}
    for grant in await store.grants.open():
        over_at = grant.expires_at if grant.ended_at is None else grant.ended_at
        found[grant.node_id] = found.get(grant.node_id, 0) + (over_at < before)
    return found


def stuck_keys_of(store: Store) -> StuckKeys:
    """``stuck_keys_in`` for one store."""
    return partial(stuck_keys_in, store)


def _note(record: AlertRecord) -> Note:
    return Note(
        alert_id=record.id,
        rule=record.rule,
        subject=record.subject,
        state="raised" if record.ended_at is None else "cleared",
        level=record.level,
        message=record.message,
        impact=record.impact,
        hint=record.hint,
        began_at=record.began_at,
        ended_at=record.ended_at,
    )


def _restored(record: AlertRecord, now: float) -> AlertRestored:
    return AlertRestored(
        at=now,
        alert_id=record.id,
        rule=record.rule,
        level=record.level,
        subject=record.subject,
        message=record.message,
        impact=record.impact,
        hint=record.hint,
        began_at=record.began_at,
        ended_at=record.ended_at,
        acknowledged_at=record.acknowledged_at,
    )
