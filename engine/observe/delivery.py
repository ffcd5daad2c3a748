"""Delivery of alerts: one outbox per receiver, each with its own memory, so that a dead one delays nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from engine.clock import Clock, sleep_or_wake
from engine.config.common import AlertsConfig
from engine.errors import DeliveryFailed
from engine.events import AlertDelivered, AlertDeliveryFailed, EventSink
from engine.observe.delivery_digest import Digest, Message, Note, compose, is_quiet_at
from engine.observe.delivery_targets import AppriseTarget, CommandTarget, Target

ATTEMPTS = 4
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
IDLE_S = 60.0
"""An outbox looks up at least this often, for the end of quiet hours."""


class Outbox:
    """Messages for one receiver: grouped, rate limited, tried again, given up in the open."""

    def __init__(self, target: Target, config: AlertsConfig, sender: str, *, clock: Clock, emit: EventSink) -> None:
        self.target = target
        self._config = config
        self._sender = sender
        self._clock = clock
        self._emit = emit
        self._digest = Digest(notify_interval_s=config.notify_interval, group_delay_s=config.group_delay)
        self._arrived = asyncio.Event()

    def remember(self, key: tuple[str, str]) -> None:
        """See ``Digest.remember``."""
        self._digest.remember(key, self._clock.monotonic())

    def offer(self, note: Note) -> None:
        """Take one note; never waits."""
        self._digest.offer(note, self._clock.monotonic())
        self._arrived.set()

    async def run(self) -> None:
        """Tell what is due, for ever."""
        try:
            await self.target.prepare()
        except DeliveryFailed as error:
            self._say_failed(error, 0)
        while True:
            is_quiet = is_quiet_at(self._config.quiet_hours, datetime.fromtimestamp(self._clock.now()).astimezone())
            notes = self._digest.take(self._clock.monotonic(), is_quiet=is_quiet)
            if notes:
                dropped, self._digest.dropped = self._digest.dropped, 0
                await self.tell(compose(notes, self._sender, dropped=dropped))
                continue
            next_at = self._digest.next_at(is_quiet=is_quiet)
            wait_s = IDLE_S if next_at is None else min(IDLE_S, max(0.05, next_at - self._clock.monotonic()))
            await sleep_or_wake(self._clock, wait_s, self._arrived)

    async def tell(self, message: Message) -> bool:
        """Send one message, several times if need be; the outcome is an event."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential_jitter(initial=FIRST_PAUSE_S, max=LONGEST_PAUSE_S),
            retry=retry_if_exception_type(DeliveryFailed),
            sleep=self._clock.sleep,
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    await self.target.send(message)
        except DeliveryFailed as error:
            self._say_failed(error, len(message.notes))
            return False
        self._emit(AlertDelivered(at=self._clock.now(), target=self.target.name, alerts=len(message.notes)))
        return True

    async def test(self, message: Message) -> str:
        """Send a message once; why it failed, or nothing."""
        try:
            await self.target.send(message)
        except DeliveryFailed as error:
            self._say_failed(error, len(message.notes))
            return error.message
        self._emit(AlertDelivered(at=self._clock.now(), target=self.target.name, alerts=0))
        return ""

    def _say_failed(self, error: DeliveryFailed, alerts: int) -> None:
        self._emit(
            AlertDeliveryFailed(at=self._clock.now(), target=self.target.name, error=error.message, alerts=alerts)
        )


class Delivery:
    """All outboxes. ``offer`` never waits; ``run`` is a service; ``configure`` may be called at any time."""

    def __init__(self, config: AlertsConfig, sender: Mapping[str, str], *, clock: Clock, emit: EventSink) -> None:
        self._sender = dict(sender)
        self._clock = clock
        self._emit = emit
        self._changed = asyncio.Event()
        self._outboxes: list[Outbox] = []
        self._config = config
        self._build(config)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The receivers, in the order of the configuration."""
        return tuple(box.target.name for box in self._outboxes)

    def configure(self, config: AlertsConfig) -> None:
        """Take up new receivers and intervals; what an old outbox still held is dropped."""
        if config == self._config:
            return
        self._config = config
        self._build(config)
        self._changed.set()

    def offer(self, note: Note) -> None:
        """Hand one note to every outbox."""
        for box in self._outboxes:
            box.offer(note)

    def remember(self, key: tuple[str, str]) -> None:
        """An alert that an earlier run told."""
        for box in self._outboxes:
            box.remember(key)

    async def run(self) -> None:
        """Serve all outboxes for ever."""
        while True:
            self._changed.clear()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(box.run(), name=f"outbox:{box.target.name}") for box in self._outboxes]
                await self._changed.wait()
                for task in tasks:
                    task.cancel()

    async def test(self, note: Note) -> dict[str, str]:
        """Send a test to every receiver at once, past all limits: its name and why it failed, or nothing."""
        message = compose([note], self._title())
        results = await asyncio.gather(*(box.test(message) for box in self._outboxes))
        return dict(zip(self.target_names, results, strict=True))

    def _build(self, config: AlertsConfig) -> None:
        targets: list[Target] = [AppriseTarget(url, number) for number, url in enumerate(config.urls)]
        if config.command:
            targets.append(CommandTarget(config.command, self._sender))
        self._outboxes = [
            Outbox(target, config, self._title(), clock=self._clock, emit=self._emit) for target in targets
        ]

    def _title(self) -> str:
        return f"basilica {self._sender.get('name', '')}".strip()
