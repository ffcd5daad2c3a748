"""``Chain`` over the public surface of the ``bittensor`` SDK 11, for RPC endpoints and for the embedded chain alike.

Every wait is bounded by running the SDK's coroutine in its own task: cancelling is not enough there, because the
SDK's transport can swallow a cancellation on Python 3.11 and would then hold its caller for ever.
"""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import structlog

from engine.chain.decode import decode_metagraph, decode_weights
from engine.chain.models import ChainWallet, Metagraph
from engine.chain.translate import OUTCOME_OPEN_HINT, REACH_HINT, translate_read, translate_write
from engine.errors import BasilicaError, ChainRefused, ChainUnavailable

log = structlog.get_logger()

T = TypeVar("T")

# A response that arrives in the turn in which the client is closed makes Client.close() hang on 3.11; after this
# pause none of 25 closes did.
_PAUSE_BEFORE_CLOSE_S = 0.05
# What the deployed miner publishes with its address.
_AXON_PROTOCOL = 0
_AXON_VERSION = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTimeouts:
    """How long each kind of wait may last, in seconds. A block takes 12 s, an inclusion up to two."""

    connect_s: float = 30.0
    read_s: float = 20.0
    write_s: float = 60.0
    close_s: float = 3.0


class SdkChain:
    """One subnet through one SDK client, which is opened on first use and replaced after a failure.

    ``make_client`` gets the imported SDK and returns an unconnected ``Client``; ``endpoint`` is for messages.
    """

    def __init__(
        self,
        *,
        netuid: int,
        endpoint: str,
        make_client: Callable[[ModuleType], Any],
        wallet: ChainWallet | None = None,
        timeouts: ChainTimeouts | None = None,
    ) -> None:
        self.netuid = netuid
        self.endpoint = endpoint
        self._make_client = make_client
        self._wallet = wallet
        self._timeouts = timeouts or ChainTimeouts()
        self._client: Any = None
        self._connecting: asyncio.Task[Any] | None = None
        # One write at a time: two submissions by one hotkey at once would be signed with the same nonce.
        self._submitting = asyncio.Lock()
        self._background: set[asyncio.Task[Any]] = set()

    async def metagraph(self) -> Metagraph:
        """The subnet at the chain's head; raises ``ChainUnavailable``."""
        record = await self._read("metagraph", self._metagraph_record)
        if record is None:
            raise ChainUnavailable(
                f"subnet {self.netuid} does not exist at {self.endpoint}", hint="Check [bittensor] netuid and network."
            )
        try:
            return decode_metagraph(self.netuid, record)
        except ValueError as error:
            raise ChainUnavailable(f"metagraph: {self.endpoint} sent something else: {error}") from error

    async def block_number(self) -> int:
        """Height of the chain's head; raises ``ChainUnavailable``."""
        return int(await self._read("block number", lambda client: client.block()))

    async def weights(self) -> Mapping[int, Mapping[int, float]]:
        """Shares by setting uid; raises ``ChainUnavailable``."""
        rows = await self._read("weights", lambda client: client.read("weights", netuid=self.netuid))
        try:
            return decode_weights(rows)
        except ValueError as error:
            raise ChainUnavailable(f"weights: {self.endpoint} sent something else: {error}") from error

    async def serve_axon(self, ip: str, port: int) -> None:
        """Publish ``ip:port``; raises ``ChainRateLimited``, ``ChainRefused`` or ``ChainUnavailable``."""
        try:
            address = str(ipaddress.ip_address(ip))
        except ValueError:
            raise ChainRefused(
                f"serve axon: {ip!r} is not an IP address", hint="Set [bittensor] external_ip to the public address."
            ) from None
        if not 0 < port <= 65535:
            raise ChainRefused(f"serve axon: port {port} is not 1 to 65535", hint="Set [bittensor] axon_port.")

        def intent(sdk: ModuleType) -> object:
            return sdk.ServeAxon(
                netuid=self.netuid, ip=address, port=port, protocol=_AXON_PROTOCOL, version=_AXON_VERSION
            )

        await self._write("serve axon", intent)
        log.info("chain.axon_served", netuid=self.netuid, ip=address, port=port)

    async def set_weights(self, weights: Mapping[int, float], version_key: int = 0) -> None:
        """Set weights by uid; raises ``ChainRateLimited``, ``ChainRefused`` or ``ChainUnavailable``."""
        values = dict(weights)

        def intent(sdk: ModuleType) -> object:
            return sdk.SetWeights(netuid=self.netuid, weights=values, version_key=version_key)

        await self._write("set weights", intent)
        log.info("chain.weights_set", netuid=self.netuid, uids=len(values))

    async def close(self) -> None:
        """Close the client and whatever still runs; never raises. The object may be used again."""
        if self._connecting is not None:
            self._connecting.cancel()
        self._drop(self._client)
        for timeout_s in (self._timeouts.close_s + _PAUSE_BEFORE_CLOSE_S, self._timeouts.close_s):
            if self._background:
                await asyncio.wait(tuple(self._background), timeout=timeout_s)
            for task in tuple(self._background):
                task.cancel()

    # --- one way in for reads, one for writes -----------------------------------------------------------------

    async def _metagraph_record(self, client: Any) -> Mapping[str, object] | None:
        try:
            graph = await client.subnets.metagraph(self.netuid, commitments=False)
        except ValueError:
            # The SDK refuses the whole subnet when one neuron published an address that does not fit its type;
            # the untyped read carries the same record and our decoder skips only that one.
            return await client.read("metagraph", netuid=self.netuid)  # type: ignore[no-any-return]
        return None if graph is None else graph.raw

    async def _read(self, operation: str, call: Callable[[Any], Awaitable[T]]) -> T:
        client = await self._connected()
        try:
            return await self._bounded(operation, _as_coroutine(call(client)), self._timeouts.read_s)
        except Exception as error:
            self._drop(client)
            if isinstance(error, BasilicaError):
                raise
            raise translate_read(error, operation=operation, endpoint=self.endpoint) from error

    async def _write(self, operation: str, make_intent: Callable[[ModuleType], object]) -> None:
        if self._wallet is None:
            raise ChainRefused(f"{operation}: no wallet is open", hint="Set wallet_name and hotkey_name.")
        async with self._submitting:
            client = await self._connected()
            try:
                intent = make_intent(await _sdk())
                # Inclusion, not finality: the outcome is known with the block, finality only adds half a minute.
                execution = client.execute(intent, self._wallet.sdk, wait_for_finalization=False, retries=1)
                result = await self._bounded(operation, execution, self._timeouts.write_s, OUTCOME_OPEN_HINT)
                result.raise_for_failure()
            except ChainUnavailable:
                self._drop(client)
                raise
            except Exception as error:
                translated = translate_write(error, operation=operation, endpoint=self.endpoint, netuid=self.netuid)
                if isinstance(translated, ChainUnavailable):
                    self._drop(client)
                raise translated from error

    # --- the client -------------------------------------------------------------------------------------------

    async def _connected(self) -> Any:
        """The client, opened if need be; callers that come meanwhile share the attempt and its failure."""
        if self._client is not None:
            return self._client
        attempt = self._connecting
        if attempt is None:
            attempt = self._connecting = self._in_background(self._connect())
        await asyncio.wait({attempt})  # not "await attempt": a caller that gives up must not end it for the others
        if attempt.cancelled():
            raise ChainUnavailable(f"connecting to {self.endpoint} was given up: the engine closes the chain")
        return attempt.result()

    async def _connect(self) -> Any:
        client = None
        try:
            client = self._make_client(await _sdk())
            await self._bounded("connecting", client.connect(), self._timeouts.connect_s)
        except BaseException as error:
            if client is not None:
                self._in_background(self._close_client(client))
            if isinstance(error, BasilicaError) or not isinstance(error, Exception):
                raise
            raise translate_read(error, operation="connecting", endpoint=self.endpoint) from error
        else:
            self._client = client
            return client
        finally:
            self._connecting = None

    def _drop(self, client: Any) -> None:
        """Forget a client that failed; a concurrent call may have replaced it already."""
        if client is not None and self._client is client:
            self._client = None
            self._in_background(self._close_client(client))

    # --- bounded waits ----------------------------------------------------------------------------------------

    async def _bounded(
        self, operation: str, work: Coroutine[Any, Any, T], timeout_s: float, hint: str = REACH_HINT
    ) -> T:
        task = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout_s)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if not done:
            self._abandon(task)
            raise ChainUnavailable(f"{operation}: {self.endpoint} did not answer within {timeout_s:g} s", hint=hint)
        if task.cancelled():
            # The SDK cancels what waits on a connection that another call found dead; nobody cancelled us.
            raise ChainUnavailable(f"{operation}: the connection to {self.endpoint} was closed", hint=hint)
        return task.result()

    async def _close_client(self, client: Any) -> None:
        await asyncio.sleep(_PAUSE_BEFORE_CLOSE_S)
        try:
            await self._bounded("close", client.close(), self._timeouts.close_s)
        except Exception as error:  # noqa: BLE001 - nothing can be done about a connection that will not close
            log.debug("chain.close_failed", endpoint=self.endpoint, error=str(error))

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        """Cancel without waiting; the task is held until it ends so that its exception is read."""
        task.cancel()
        self._hold(task)

    def _in_background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._hold(task)
        return task

    def _hold(self, task: asyncio.Task[Any]) -> None:
        self._background.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()


async def _sdk() -> ModuleType:
    """The SDK, imported on first use and off the event loop: it takes most of a second."""
    return await asyncio.to_thread(importlib.import_module, "bittensor")


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work
