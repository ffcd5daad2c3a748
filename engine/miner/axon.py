"""The axon on chain: what it should say, what it says, and serving it only when the two differ."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from engine.chain import Chain, Metagraph
from engine.clock import Clock
from engine.config.miner import MinerConfig
from engine.errors import ChainRateLimited, ChainRefused, ChainUnavailable
from engine.events import AxonChecked, AxonServed, ChainFailed, EventSink

log = structlog.get_logger()

FIRST_PAUSE_S = 600.0
LONGEST_PAUSE_S = 4 * 3600.0
"""After the chain's serving rate limit refused us: first one discovery turn, then twice as long each time."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An IP and port as the chain stores them."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


def outgoing_address() -> str | None:
    """The address this host would use towards the internet, if it is a public one; asks nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a datagram socket sends nothing on connect
            ip = str(probe.getsockname()[0])
        except OSError:
            return None
    return ip if ipaddress.ip_address(ip).is_global else None


def advertised_endpoint(config: MinerConfig) -> Endpoint | None:
    """What the chain should say: the configured external IP, loopback on a local chain, else this host's own."""
    ip = config.bittensor.external_ip
    if ip is None and config.bittensor.network == "local":
        ip = "127.0.0.1"
    elif ip is None:
        ip = outgoing_address()
        if ip is None:
            log.info("No interface has a public IP: asking the nodes where our logins come from")
        else:
            log.info("Auto-detected public IP", ip=ip)
    return None if ip is None else Endpoint(ip, config.bittensor.axon_port)


class AxonPublisher:
    """Keeps the chain's entry equal to the endpoint that validators should dial.

    Where ``wanted`` is None, ``find`` is asked at each check: a router may be given another address at any time.
    """

    def __init__(
        self,
        chain: Chain,
        hotkey: str,
        wanted: Endpoint | None,
        bound: str,
        *,
        clock: Clock,
        emit: EventSink,
        find: Callable[[], Awaitable[Endpoint | None]] | None = None,
    ) -> None:
        self._find = find if wanted is None else None
        self._chain = chain
        self._hotkey = hotkey
        self._wanted = wanted
        self._bound = bound
        self._clock = clock
        self._emit = emit
        self._not_before = 0.0
        self._refusals = 0

    async def check(self, metagraph: Metagraph) -> str:
        """Compare and serve if needed; what came of it in words. A refusal is an event, tried again at a later turn."""
        neuron = metagraph.by_hotkey(self._hotkey)
        axon = None if neuron is None else neuron.axon
        on_chain = "" if axon is None else axon.endpoint
        endpoint = await self._endpoint()
        if endpoint is None:
            self._report(on_chain, "")
            return "this host's public address is not known, and no node outside sees it: set bittensor.external_ip"
        wanted = str(endpoint)
        if axon is not None and axon.is_at(endpoint.ip, endpoint.port):
            self._report(wanted, wanted)
            return f"the chain says {wanted} already"
        wait_s = self._not_before - self._clock.monotonic()
        if neuron is None or wait_s > 0:
            self._report(on_chain, wanted)
            if neuron is None:
                return f"this hotkey has no uid on subnet {metagraph.netuid}: register it first"
            return f"the chain takes an axon only now and then; tried again in {wait_s:.0f} s"
        try:
            await self._chain.serve_axon(endpoint.ip, endpoint.port)
        except (ChainRefused, ChainUnavailable) as error:
            if isinstance(error, ChainRateLimited):
                pause_s = min(FIRST_PAUSE_S * 2.0**self._refusals, LONGEST_PAUSE_S)
                self._refusals += 1
                self._not_before = self._clock.monotonic() + pause_s
            self._emit(
                ChainFailed(at=self._clock.now(), operation="serve_axon", error=str(error), metagraph_age_s=None)
            )
            self._report(on_chain, wanted)
            return f"not published: {error}"
        self._refusals = 0
        self._emit(AxonServed(at=self._clock.now(), endpoint=wanted))
        self._report(wanted, wanted)
        return f"published {wanted}"

    @property
    def is_known(self) -> bool:
        """Whether it is known what should be published."""
        return self._wanted is not None

    async def _endpoint(self) -> Endpoint | None:
        """What should be published; the last finding stands while nobody can be asked."""
        found = None if self._find is None else await self._find()
        if found is not None and found != self._wanted:
            log.info("Auto-detected public IP", ip=found.ip, source="nodes")
            self._wanted = found
        return self._wanted

    def _report(self, on_chain: str, wanted: str) -> None:
        self._emit(AxonChecked(at=self._clock.now(), on_chain=on_chain, bound=self._bound, advertised=wanted))
