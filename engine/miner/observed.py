"""What a validator publishes about this miner's nodes: its Prometheus text and its REST API, where configured.

These are the validator's own values. They are shown beside the miner's estimate and never mixed with it; when they
cannot be had, that is what is said.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

import structlog
from prometheus_client.parser import text_string_to_metric_families

from engine.clock import Clock
from engine.errors import ObservationUnavailable
from engine.events import (
    AssignmentChanged,
    Event,
    EventSink,
    MetagraphRead,
    NodeObserved,
    ObservationFailed,
    ObservationRead,
)
from engine.identity.signatures import Signer
from engine.identity.signed_requests import sign_request
from engine.miner.observed_fetch import fetch, target

log = structlog.get_logger()

MINUTES_METRIC = "basilica_node_uptime_minutes"
MULTIPLIER_METRIC = "basilica_node_uptime_multiplier"
MAX_TEXT = 64


@dataclass(frozen=True, slots=True)
class ObservedNode:
    """What the metrics say about one node."""

    uptime_minutes: float | None = None
    multiplier: float | None = None


@dataclass(frozen=True, slots=True)
class ObservedMiner:
    """What the REST API says about the miner, and the status of its nodes by node id."""

    score: float | None = None
    status: str = ""
    nodes: Mapping[str, str] = field(default_factory=dict)


def parse_metrics(text: str, node_ids: Collection[str]) -> dict[str, ObservedNode]:
    """Our nodes in a validator's Prometheus text. Raises ObservationUnavailable when its lines make no sense.

    Only the lines of the two metrics are read, so that somebody else's broken metric costs nothing.
    """
    wanted = [line for line in text.splitlines() if line.startswith((MINUTES_METRIC + "{", MULTIPLIER_METRIC + "{"))]
    found: dict[str, ObservedNode] = {}
    try:
        families = list(text_string_to_metric_families("\n".join(wanted) + "\n"))
    except (ValueError, KeyError, IndexError) as error:
        raise ObservationUnavailable("the metrics cannot be read") from error
    for sample in (sample for family in families for sample in family.samples):
        node_id = sample.labels.get("node_id", "")
        if node_id not in node_ids or not math.isfinite(sample.value) or sample.value < 0:
            continue
        known = found.get(node_id, ObservedNode())
        if sample.name == MINUTES_METRIC:
            known = ObservedNode(float(sample.value), known.multiplier)
        else:
            known = ObservedNode(known.uptime_minutes, float(sample.value))
        found[node_id] = known
    return found


def parse_miner(details: object, health: object, node_ids: Collection[str]) -> ObservedMiner:
    """The miner in the bodies of ``/miners/{id}`` and ``/miners/{id}/health``; what is not there is not known."""
    miner = details if isinstance(details, dict) else {}
    score, status = miner.get("verification_score"), miner.get("status")
    nodes = health.get("node_health") if isinstance(health, dict) else None
    value = float(score) if isinstance(score, int | float) and not isinstance(score, bool) else math.nan
    return ObservedMiner(
        score=value if math.isfinite(value) else None,
        status=_plain(status),
        nodes={
            str(entry["node_id"]): _plain(entry.get("status"))
            for entry in (nodes if isinstance(nodes, list) else [])
            if isinstance(entry, dict) and entry.get("node_id") in node_ids
        },
    )


class Observer:
    """Reads what is configured at its interval; a service and, for the own uid, a listener on the bus."""

    def __init__(
        self,
        *,
        metrics_url: str | None,
        rest_url: str | None,
        rest_hotkey: str | None,
        signer: Signer | None,
        interval_s: float,
        timeout_s: float,
        node_ids: Callable[[], Collection[str]],
        clock: Clock,
        emit: EventSink,
    ) -> None:
        """The REST API is asked with requests that ``signer`` signs for ``rest_hotkey``, the validator there.

        Without a ``rest_hotkey`` it is the assigned validator.
        """
        self._metrics_url = metrics_url
        self._rest_hotkey = rest_hotkey
        self._assigned = ""
        self._signer = signer
        self._rest_url = None if rest_url is None else rest_url.rstrip("/")
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._node_ids = node_ids
        self._clock = clock
        self._emit = emit
        self._uid: int | None = None

    @property
    def is_configured(self) -> bool:
        """Whether there is anything to read."""
        return self._metrics_url is not None or self._rest_url is not None

    def listen(self, event: Event) -> None:
        """Learn the own uid from the chain, and whom the miner serves; for the bus."""
        if isinstance(event, MetagraphRead):
            self._uid = event.own_uid
        elif isinstance(event, AssignmentChanged):
            self._assigned = event.validator_hotkey

    async def run(self) -> None:
        """Read for ever."""
        while True:
            await self.read()
            await self._clock.sleep(self._interval_s)

    async def read(self) -> None:
        """Read each source once; what fails is an event, not an error."""
        if self._metrics_url is not None:
            await self._try("metrics", self._metrics_url, self._read_metrics)
        if self._rest_url is not None:
            await self._try("rest", self._rest_url, self._read_rest)

    async def _try(self, source: str, url: str, read: Callable[[str], Awaitable[None]]) -> None:
        try:
            await read(url)
        except ObservationUnavailable as error:
            self._emit(ObservationFailed(at=self._clock.now(), source=source, url=url, error=error.message))
        except Exception as fault:  # another's document: the other source is read all the same
            log.error("observed.unexpected", source=source, exc_info=fault)
            error_text = f"not understood: {type(fault).__name__}: {str(fault)[:200]}"
            self._emit(ObservationFailed(at=self._clock.now(), source=source, url=url, error=error_text))

    async def _read_metrics(self, url: str) -> None:
        text = (await fetch(url, timeout_s=self._timeout_s)).decode("utf-8", "replace")
        found, now = parse_metrics(text, self._node_ids()), self._clock.now()
        for node_id, node in found.items():
            self._emit(
                NodeObserved(
                    at=now,
                    node_id=node_id,
                    source="metrics",
                    uptime_minutes=node.uptime_minutes,
                    multiplier=node.multiplier,
                )
            )
        self._emit(ObservationRead(at=now, source="metrics", url=url, nodes=len(found)))

    async def _read_rest(self, url: str) -> None:
        if self._uid is None:
            raise ObservationUnavailable("the own uid is not known yet, so there is nothing to ask for")
        miner_url = f"{url}/miners/miner_{self._uid}"
        details, health = await self._ask(miner_url), await self._ask(f"{miner_url}/health")
        found, now = parse_miner(details, health, self._node_ids()), self._clock.now()
        for node_id, status in found.nodes.items():
            self._emit(NodeObserved(at=now, node_id=node_id, source="rest", status=status))
        self._emit(
            ObservationRead(
                at=now,
                source="rest",
                url=url,
                nodes=len(found.nodes),
                miner_score=found.score,
                miner_status=found.status,
            )
        )

    async def _ask(self, url: str) -> object:
        """One document, signed for the validator where it is known: a miner may read its own scores so."""
        receiver, headers = self._rest_hotkey or self._assigned, None
        if self._signer is not None and receiver:
            headers = await asyncio.to_thread(sign_request, self._signer, path=target(url), receiver=receiver)
        return _json(await fetch(url, timeout_s=self._timeout_s, headers=headers))


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ObservationUnavailable("the answer is not JSON") from error


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(char for char in text[: MAX_TEXT * 4] if char.isprintable())[:MAX_TEXT]
