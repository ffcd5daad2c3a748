"""A validator's calls to one miner: authenticate both ways, then ask for nodes; dialect B first, A if need be."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import grpc
import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from engine.clock import Clock
from engine.errors import HotkeyInvalid, MinerRefused, MinerUnreachable, MinerUntrusted, WireMalformed
from engine.identity import payloads
from engine.identity.public_keys import parse_public_key
from engine.identity.signatures import Signer, hotkey_bytes, verify
from engine.identity.tokens import new_nonce
from engine.validator.miner_nodes import MOST_NODES, OfferedNode, printable, usable_nodes
from engine.wire import convert
from engine.wire.messages import SERVICES, AuthAnswer, AuthCall, Dialect, DiscoverCall, WireNode

__all__ = ["ClientTimeouts", "MinerClient", "MinerNodes", "OfferedNode"]

ATTEMPTS = 3
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 10.0
"""As a deployed validator retries its authentication (protocol.md §3)."""
SAME_BYTES_S = 25.0
"""So long the same bytes are sent again; a miner of this project repeats an accepted answer for 30 s."""
LONGEST_TOKEN = 1024
LONGEST_ANSWER_BYTES = 1024 * 1024

_RETRIED = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "ABORTED", "RESOURCE_EXHAUSTED"})
_OPTIONS = [
    ("grpc.max_receive_message_length", LONGEST_ANSWER_BYTES),
    ("grpc.max_metadata_size", 8192),
    ("grpc.absolute_max_metadata_size", 16384),
    # A miner's address comes from the chain; a proxy of this host's environment has no business there.
    ("grpc.enable_http_proxy", 0),
    # Each client has its own connection, so that closing one closes it.
    ("grpc.use_local_subchannel_pool", 1),
]

log = structlog.get_logger()
T = TypeVar("T")
_Unary: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
_Stream: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class ClientTimeouts:
    """Seconds. A discovery waits for keys to be written on all of a miner's nodes."""

    connect_s: float = 10.0
    authenticate_s: float = 20.0
    discover_s: float = 120.0


@dataclass(frozen=True, slots=True)
class MinerNodes:
    """A trusted miner's answer. ``dropped`` counts nodes that no login could be tried with."""

    dialect: Dialect
    nodes: tuple[OfferedNode, ...]
    session_expires_at: float
    dropped: int = 0
    host_authority: str = ""
    """The OpenSSH line of the key that signs host keys, as the miner's hotkey has signed for; empty without one."""


class MinerClient:
    """Talks to the miner that the chain names at this endpoint. One discovery at a time.

    ``dialects`` remembers, per endpoint, miners that do not know dialect B; share one mapping between clients.
    ``tls`` holds the PEM certificates to trust; None is plain text, as the deployed network speaks.
    """

    def __init__(
        self,
        endpoint: str,
        signer: Signer,
        expected_hotkey: str,
        *,
        clock: Clock,
        timeouts: ClientTimeouts | None = None,
        attempts: int = ATTEMPTS,
        dialect: Literal["A", "B", "auto"] = "auto",
        dialects: dict[str, Dialect] | None = None,
        tls: bytes | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._signer = signer
        self._expected_hotkey = expected_hotkey
        self._clock = clock
        self._timeouts = timeouts or ClientTimeouts()
        self._attempts = attempts
        self._dialect = dialect
        self._dialects = {} if dialects is None else dialects
        self._tls = tls

    async def discover(self, public_key_line: str) -> MinerNodes:
        """Authenticate and have this key put on the miner's nodes.

        Raises:
            MinerUnreachable: nothing answers at the endpoint, or the connection broke.
            MinerRefused: the miner answered with a refusal, or with something that is not an answer.
            MinerUntrusted: the answer is not signed by the hotkey that the chain names.
            PublicKeyRefused: ``public_key_line`` is no usable key.
        """
        parse_public_key(public_key_line)
        async with self._connected() as channel:
            dialect = self._first_dialect()
            try:
                return await self._discover(channel, dialect, public_key_line)
            except MinerRefused as error:
                if error.status != "UNIMPLEMENTED" or self._dialect != "auto" or dialect == "A":
                    raise
            self._dialects[self._endpoint] = "A"
            return await self._discover(channel, "A", public_key_line)

    def _first_dialect(self) -> Dialect:
        return self._dialects.get(self._endpoint, "B") if self._dialect == "auto" else self._dialect

    async def _discover(self, channel: grpc.aio.Channel, dialect: Dialect, public_key_line: str) -> MinerNodes:
        answer, expires_at = await self._authenticate(channel, dialect, public_key_line)
        offered = await self._ask_for_nodes(channel, dialect, public_key_line, answer.session_token)
        nodes, dropped = usable_nodes(offered)
        if dropped:
            log.warning("miner.nodes_dropped", endpoint=self._endpoint, hotkey=self._expected_hotkey, dropped=dropped)
        return MinerNodes(dialect, nodes, expires_at, dropped, answer.host_authority)

    # --- AuthenticateValidator --------------------------------------------------------------------------------

    async def _authenticate(
        self, channel: grpc.aio.Channel, dialect: Dialect, public_key_line: str
    ) -> tuple[AuthAnswer, float]:
        method: _Unary = channel.unary_unary(f"/{SERVICES[dialect]}/AuthenticateValidator")
        body, made_at = b"", -math.inf

        async def call() -> bytes:
            nonlocal body, made_at
            # The same bytes: a miner that accepted them and whose answer was lost gives the same answer again. Later
            # it takes them for a replay, so an attempt that comes late is a new request.
            if self._clock.monotonic() - made_at > SAME_BYTES_S:
                body = convert.write_auth_call(self._auth_call(dialect, public_key_line))
                made_at = self._clock.monotonic()
            return await self._called(channel, method(body, timeout=self._timeouts.authenticate_s))

        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_worth_a_retry),
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential(multiplier=FIRST_RETRY_S, max=LONGEST_RETRY_S),
            sleep=self._clock.sleep,
            reraise=True,
        )
        data: bytes = await retrying(call)
        try:
            answer = convert.read_auth_answer(dialect, data)
        except WireMalformed as error:
            raise self._not_an_answer() from error
        if not answer.authenticated:
            words = printable(answer.error) or "no reason given"
            raise MinerRefused(f"miner {self._expected_hotkey} did not authenticate us: {words}", status="OK")
        self._check_trust(answer)
        return answer, float(answer.expires_at or 0)

    def _auth_call(self, dialect: Dialect, public_key_line: str) -> AuthCall:
        nonce, target, now = new_nonce(), self._expected_hotkey, int(self._clock.now())
        if dialect == "A":
            payload = payloads.auth_v1(nonce, target, now)
        else:
            payload = payloads.auth_b(nonce, target, now, parse_public_key(public_key_line).sha256_hex)
        return AuthCall(
            dialect=dialect,
            validator_hotkey=self._signer.hotkey,
            signature=self._signer.sign(payload),
            nonce=nonce,
            timestamp=now,
            target_miner_hotkey=target,
            public_key=public_key_line if dialect == "B" else "",
        )

    def _check_trust(self, answer: AuthAnswer) -> None:
        hint = "the axon may point at somebody else's address, or somebody sits in between"
        who = self._expected_hotkey
        if not answer.miner_signature:
            raise MinerUntrusted(f"miner {who} did not sign its answer", hint=hint)
        if not _is_same_hotkey(answer.miner_hotkey, who):
            other = printable(answer.miner_hotkey, 64)
            raise MinerUntrusted(f"miner {who} answers as another hotkey, '{other}'", hint=hint)
        payload = payloads.miner_response(self._signer.hotkey, answer.response_nonce, answer.session_token)
        if not verify(who, payload, answer.miner_signature):
            raise MinerUntrusted(f"miner {who} signed its answer wrongly", hint=hint)
        if answer.host_authority:
            digest = hashlib.sha256(answer.host_authority.encode()).hexdigest()
            vouched = payloads.host_authority(self._signer.hotkey, answer.response_nonce, digest)
            if not verify(who, vouched, answer.host_authority_signature):
                raise MinerUntrusted(f"miner {who} did not sign for its host authority", hint=hint)
        if not 0 < len(answer.session_token) <= LONGEST_TOKEN:
            raise MinerUntrusted(f"miner {who} gave no usable session token", hint=hint)

    # --- DiscoverNodes ----------------------------------------------------------------------------------------

    async def _ask_for_nodes(
        self, channel: grpc.aio.Channel, dialect: Dialect, public_key_line: str, token: str
    ) -> list[WireNode]:
        nonce, target, now = new_nonce(), self._expected_hotkey, int(self._clock.now())
        hotkey = self._signer.hotkey
        if dialect == "A":
            payload = payloads.discover_v1(hotkey, nonce, now)
        else:
            payload = payloads.discover_v2(hotkey, target, nonce, now, token)
        body = convert.write_discover_call(
            DiscoverCall(
                dialect=dialect,
                validator_hotkey=hotkey,
                signature=self._signer.sign(payload),
                nonce=nonce,
                timestamp=now,
                target_miner_hotkey=target,
                public_key=public_key_line,
                session_token=token,
                accepts_certificates=dialect == "B",
            )
        )
        method = f"/{SERVICES[dialect]}/DiscoverNodes"
        try:
            if dialect == "A":
                listing: _Unary = channel.unary_unary(method)
                call = listing(body, timeout=self._timeouts.discover_s)
                return convert.read_nodes(await self._called(channel, call), MOST_NODES)
            streaming: _Stream = channel.unary_stream(method)
            stream = streaming(body, timeout=self._timeouts.discover_s)
            return [convert.read_node(data) for data in await self._called(channel, _collect(stream))]
        except WireMalformed as error:
            raise self._not_an_answer() from error

    # --- connection -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[grpc.aio.Channel]:
        async with self._open_channel() as channel:
            try:
                async with asyncio.timeout(self._timeouts.connect_s):
                    await self._first_attempt(channel)
            except TimeoutError:
                raise self._unreachable(f"no connection within {self._timeouts.connect_s:g} s") from None
            yield channel

    def _open_channel(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self._endpoint, options=_OPTIONS)
        credentials = grpc.ssl_channel_credentials(self._tls)
        return grpc.aio.secure_channel(self._endpoint, credentials, options=_OPTIONS)

    async def _first_attempt(self, channel: grpc.aio.Channel) -> None:
        """Wait until connected; a refused connection is an answer, not something to wait out."""
        state = channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                raise self._unreachable("the connection failed")
            await channel.wait_for_state_change(state)
            state = channel.get_state(try_to_connect=True)

    async def _called(self, channel: grpc.aio.Channel, call: Awaitable[T]) -> T:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            status, words = error.code().name, printable(error.details() or "")
            if status == "UNAVAILABLE" and channel.get_state() is not grpc.ChannelConnectivity.READY:
                raise self._unreachable("the connection broke") from error
            raise MinerRefused(
                f"miner {self._expected_hotkey} at {self._endpoint} refused: {status} {words}".rstrip(), status=status
            ) from error

    def _unreachable(self, what: str) -> MinerUnreachable:
        return MinerUnreachable(
            f"miner {self._expected_hotkey} at {self._endpoint}: {what}",
            hint="the miner is down, or a firewall is between; the endpoint is the one that its axon publishes",
        )

    def _not_an_answer(self) -> MinerRefused:
        return MinerRefused(f"miner {self._expected_hotkey} at {self._endpoint} sent no valid answer", status="OK")


async def _collect(stream: grpc.aio.UnaryStreamCall[bytes, bytes]) -> list[bytes]:
    """The first messages of a stream, which is cut when it does not end by itself."""
    collected: list[bytes] = []
    room = LONGEST_ANSWER_BYTES
    try:
        async for data in stream:
            room -= len(data)
            if room < 0 or len(collected) >= MOST_NODES:
                break
            collected.append(data)
    finally:
        stream.cancel()
    return collected


def _is_worth_a_retry(error: BaseException) -> bool:
    return isinstance(error, MinerUnreachable) or (isinstance(error, MinerRefused) and error.status in _RETRIED)


def _is_same_hotkey(text: str, other: str) -> bool:
    try:
        return hotkey_bytes(text) == hotkey_bytes(other)
    except HotkeyInvalid:
        return False
