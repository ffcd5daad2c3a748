"""The miner's door: a gRPC server with both dialects of MinerDiscovery and grpc.health.v1.Health on one port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from engine.clock import Clock
from engine.errors import PortTaken
from engine.events import EventSink
from engine.identity.signatures import Signer
from engine.miner.door_calls import DoorCalls
from engine.miner.door_front import Front, FrontLimits, Health
from engine.miner.door_ledger import Ledger
from engine.miner.door_limits import DoorLimits
from engine.miner.door_quota import SessionLimits
from engine.miner.door_request import AUTHENTICATE, DISCOVER, Refused
from engine.miner.door_rules import peer_ip
from engine.miner.door_tls import TlsFiles, load_credentials
from engine.miner.ports import Admission
from engine.store import Store
from engine.wire.convert import split_nodes
from engine.wire.messages import SERVICES, Dialect

log = structlog.get_logger()

_OPTIONS: dict[str, int] = {
    # Two engines on one port must fail, not share the callers.
    "grpc.so_reuseport": 0,
    "grpc.max_receive_message_length": 64 * 1024,
    "grpc.max_metadata_size": 4096,
    "grpc.absolute_max_metadata_size": 8192,
    "grpc.max_concurrent_streams": 8,
    # Otherwise streams that are answered but not yet torn down here count too, and an honest caller that keeps its
    # eight busy is now and then refused with UNAVAILABLE (seen with 64 callers on 8 connections).
    "grpc.http.overload_protection": 0,
    "grpc.server_handshake_timeout_ms": 3000,
    "grpc.max_connection_idle_ms": 10_000,
    "grpc.max_connection_age_ms": 30_000,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 4000,
}
"""Measured against silent connections, half-sent requests and large messages. There is no
``maximum_concurrent_rpcs``: half-sent requests would fill it and lock honest callers out."""


ABSTRACT = "unix-abstract"
"""What gRPC calls Linux's abstract sockets, in addresses and in the names of peers."""


class Door:
    """Serves validators until stopped.

    ``answer_within_s`` is how long a discovery may take: a connection past its age is closed only so much later.
    """

    def __init__(
        self,
        bind_host: str,
        bind_port: int,
        signer: Signer,
        admission: Admission,
        *,
        store: Store,
        clock: Clock,
        emit: EventSink,
        verify_signatures: bool = True,
        limits: DoorLimits | None = None,
        tls: TlsFiles | None = None,
        health_on_port: Health | None = None,
        front_limits: FrontLimits | None = None,
        session_limits: SessionLimits | None = None,
        answer_within_s: float = 60.0,
    ) -> None:
        self._host = bind_host
        self._port = bind_port
        self._answer_within_s = answer_within_s
        self._clock = clock
        self._tls = tls
        self._front = None if health_on_port is None else Front(health_on_port, front_limits)
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()
        self._calls = DoorCalls(
            signer,
            admission,
            Ledger(store),
            clock=clock,
            emit=emit,
            verify_signatures=verify_signatures,
            limits=limits or DoorLimits(),
            session_limits=session_limits or SessionLimits(),
        )

    async def start(self) -> int:
        """Bind and serve; returns the bound port, which is the configured one unless that is 0.

        Raises:
            PortTaken: the address cannot be bound.
            ConfigInvalid: the TLS files cannot be used.
        """
        credentials = None if self._tls is None else load_credentials(self._tls, self._clock.now())
        options = [*_OPTIONS.items(), ("grpc.max_connection_age_grace_ms", int((self._answer_within_s + 5) * 1000))]
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers([self._handlers("A"), self._handlers("B")])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        for service in SERVICES.values():
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        try:
            port = await self._bind(server, credentials)
        except (RuntimeError, PortTaken) as error:
            await server.stop(None)
            raise PortTaken(
                f"cannot listen for validators on {self._host}:{self._port}",
                hint=f"see who has port {self._port} with 'ss -ltnp', or change validator_comms.port (and axon_port)",
            ) from error
        self._server = server
        log.info(f"Starting validator communications server on {self._host}:{port}", host=self._host, port=port)
        return port

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and give those under way so long to end."""
        server, self._server = self._server, None
        if server is None:
            return
        if self._front is not None:
            await self._front.stop()
        await self._health.enter_graceful_shutdown()
        await server.stop(grace_s)
        if self._front is not None:
            self._front.close_all()
        await self._calls.drain(grace_s)

    async def _bind(self, server: grpc.aio.Server, credentials: grpc.ServerCredentials | None) -> int:
        if self._front is None:
            address = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        else:
            address = f"{ABSTRACT}:{self._front.inner}"
        if credentials is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, credentials)
        await server.start()
        return bound if self._front is None else await self._front.start(self._host, self._port)

    def _peer(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> str:
        """The caller's address, also when its connection comes through the front."""
        peer = context.peer()
        if self._front is not None:
            family, _, name = peer.partition(":")
            behind = self._front.address_of(name) if family == ABSTRACT else None
            if behind is not None:
                return behind
        return peer_ip(peer)

    def _handlers(self, dialect: Dialect) -> grpc.GenericRpcHandler:
        """Handlers over raw bytes: limits come before parsing, and a retry is recognised by its exact bytes."""
        authenticate: Any = grpc.unary_unary_rpc_method_handler(self._authenticate(dialect))
        discover: Any
        if dialect == "A":
            discover = grpc.unary_unary_rpc_method_handler(self._discover_list)
        else:
            discover = grpc.unary_stream_rpc_method_handler(self._discover_stream)
        return grpc.method_handlers_generic_handler(SERVICES[dialect], {AUTHENTICATE: authenticate, DISCOVER: discover})

    def _authenticate(self, dialect: Dialect) -> Any:
        async def authenticate(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            try:
                return await self._calls.authenticate(dialect, body, self._peer(context))
            except Refused as refused:
                await _refuse(context, refused)

        return authenticate

    async def _discover_list(self, body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        try:
            return await self._calls.discover("A", body, self._peer(context))
        except Refused as refused:
            await _refuse(context, refused)

    async def _discover_stream(
        self, body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        try:
            listed = await self._calls.discover("B", body, self._peer(context))
        except Refused as refused:
            await _refuse(context, refused)
        for node in split_nodes(listed):
            yield node


async def _refuse(context: grpc.aio.ServicerContext[bytes, bytes], refused: Refused) -> NoReturn:
    refusal = refused.refusal
    metadata = () if refusal.retry_after_s is None else (("retry-after-s", f"{refusal.retry_after_s:.3f}"),)
    await context.abort(grpc.StatusCode[refusal.status], refusal.message, metadata)
