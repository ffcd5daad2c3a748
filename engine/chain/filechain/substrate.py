"""The embedded chain behind the SDK's ``Substrate`` protocol: ``Client("local", substrate=FileSubstrate(path))``.

It answers what ``subnets.metagraph``, ``ServeAxon``, ``SetWeights`` and the block number ask for. Everything else
raises: no value is made up. Only the latest state is kept; a read pinned to a recent block gets it with the block it
is of, and one pinned further back than the last change is refused, as a pruned node would.
"""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from time import time
from typing import Any, TypeVar

import bittensor as bt

from engine.chain.filechain import calls, extrinsics, items, ledger, storage
from engine.chain.filechain.unimplemented import Unimplemented, unsupported

T = TypeVar("T")

# The SDK reads the head's number first and then pins its reads to it; meanwhile blocks go by.
_RECENT_BLOCKS = 64
# Each failed attempt means that another process got its call in, so there is progress; this only ends a livelock.
_NONCE_ATTEMPTS = 100
_EMPTY_MAPS = frozenset({("Commitments", "CommitmentOf"), ("Commitments", "RevealedCommitments")})


@dataclass(frozen=True)
class ComposedCall:
    """A call on its way to a signature; carries the names by which the SDK's fee rules look at a call."""

    module: str
    function: str
    params: Mapping[str, object]

    @property
    def name(self) -> str:
        return f"{self.module}.{self.function}"

    @property
    def data(self) -> bytes:
        """The call's bytes, for whoever identifies it by hash."""
        return repr((self.name, sorted(self.params.items()))).encode()

    @property
    def call_hash(self) -> bytes:
        return blake2b(self.data, digest_size=32).digest()


class FileSubstrate(Unimplemented):
    """One chain file. A damaged or missing file raises ``ChainUnavailable`` straight through the SDK."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time) -> None:
        self.path = path
        self.token_symbols: dict[int, str] = {}
        self._now = now

    def balance(self, rao: int, netuid: int = 0) -> Any:
        """An amount with the connection's token symbol."""
        return bt.Balance(int(rao), netuid, self.token_symbols.get(netuid) if netuid else None)

    async def connect(self) -> None:
        """Check that the file is a chain."""
        await self._reading(lambda connection, head: None)

    async def close(self) -> None:
        """Nothing stays open between calls."""

    # --- reads ------------------------------------------------------------------------------------------------

    async def block_number(self) -> int:
        return await self._reading(lambda connection, head: head.number)

    async def finalized_block_number(self) -> int:
        """The head: nothing is ever undone here."""
        return await self.block_number()

    async def block_hash(self, block: int | None = None) -> str:
        def read(connection: sqlite3.Connection, head: ledger.Head) -> str:
            number = head.number if block is None else block
            if not 0 <= number <= head.number:
                raise bt.ChainError(f"block {number} does not exist; the head is {head.number}")
            return f"0x{head.genesis}{number:032x}"

        return await self._reading(read)

    async def block_time(self) -> float:
        return await self._reading(lambda connection, head: head.block_time_s)

    async def query(
        self, module: str, storage_function: str, params: list[Any] | None = None, block_hash: str | None = None
    ) -> Any:
        item = f"{module}.{storage_function}"
        reader = items.STORAGE.get(item)
        if reader is None:
            unsupported(f"storage {item}")
        return await self._reading(lambda connection, head: reader(connection, *(params or [])), block_hash)

    async def query_batch(
        self, module: str, storage_function: str, param_sets: list[list[Any]], block_hash: str | None = None
    ) -> list[Any]:
        return [await self.query(module, storage_function, params, block_hash) for params in param_sets]

    async def query_map(
        self, module: str, storage_function: str, params: list[Any] | None = None, block_hash: str | None = None
    ) -> list[tuple[Any, Any]]:
        """The weights; and the commitment maps, which are truly empty: nothing can be committed on this chain."""
        if (module, storage_function) == ("SubtensorModule", "Weights"):
            netuid = int((params or [])[0])

            def rows(connection: sqlite3.Connection, head: ledger.Head) -> list[tuple[Any, Any]]:
                return [(uid, list(row.items())) for uid, row in ledger.weights_of(connection, netuid).items()]

            return await self._reading(rows, block_hash)
        if (module, storage_function) not in _EMPTY_MAPS:
            unsupported(f"storage map {module}.{storage_function}")
        return await self._reading(lambda connection, head: [], block_hash)

    async def runtime_call(self, api: str, method: str, params: list[Any], block_hash: str | None = None) -> Any:
        if (api, method) != ("SubnetInfoRuntimeApi", "get_metagraph"):
            unsupported(f"runtime API {api}.{method}")
        netuid = int(params[0])
        return await self._reading(
            lambda connection, head: ledger.metagraph_record(connection, netuid, head), block_hash
        )

    async def constant(self, module: str, name: str) -> Any:
        if (module, name) != ("Aura", "SlotDuration"):
            unsupported(f"constant {module}.{name}")
        return round(await self.block_time() * 1000)

    # --- writes -----------------------------------------------------------------------------------------------

    async def compose(self, call: Any) -> ComposedCall:
        if isinstance(call, ComposedCall):
            return call
        module, function, params = call
        composed = ComposedCall(module, function, dict(params))
        if not calls.implements(composed.name):
            unsupported(f"call {composed.name}")
        return composed

    async def estimate_fee(self, call: Any, keypair: Any) -> Any:
        """Nothing: this chain takes no fees."""
        return bt.Balance.from_rao(0)

    async def account_next_index(self, address: str) -> int:
        return await self._reading(lambda connection, head: extrinsics.next_nonce(connection, address))

    async def submit(
        self,
        call: ComposedCall,
        keypair: Any,
        *,
        nonce: int | None = None,
        period: int | None = 128,
        wait_for_inclusion: bool = True,
        wait_for_finalization: bool = True,
    ) -> Any:
        """Sign and execute in the head block, which is final at once; returns an ``ExtrinsicResult``.

        Two processes may sign with one hotkey at the same time; the one that comes second signs again.
        """
        del wait_for_inclusion, wait_for_finalization
        attempts = _NONCE_ATTEMPTS if nonce is None else 1
        while True:
            attempts -= 1
            try:
                return await self._submit_once(call, keypair, nonce, period)
            except extrinsics.ExtrinsicRefused as refusal:
                if refusal.name != "Stale" or not attempts:
                    error = bt.ChainError(refusal.message, refusal.name)
                    return bt.ExtrinsicResult(success=False, message=refusal.message, error=error)

    async def _submit_once(self, call: ComposedCall, keypair: Any, nonce: int | None, period: int | None) -> Any:
        signer = str(keypair.ss58_address)

        def prepare(connection: sqlite3.Connection, head: ledger.Head) -> bytes:
            return extrinsics.payload_for(
                genesis=head.genesis,
                name=call.name,
                params=call.params,
                signer=signer,
                nonce=extrinsics.next_nonce(connection, signer) if nonce is None else nonce,
                block=head.number,
                period=period,
            )

        payload = await self._reading(prepare)
        signature = keypair.sign(payload)
        if inspect.isawaitable(signature):
            signature = await signature

        def apply() -> tuple[extrinsics.Outcome, str]:
            with storage.writing(self.path) as connection:
                head = ledger.read_head(connection, self._now())
                outcome = extrinsics.apply(
                    connection,
                    head,
                    signer=signer,
                    crypto_type=int(keypair.crypto_type),
                    payload=payload,
                    signature=bytes(signature),
                )
                return outcome, head.genesis

        outcome, genesis = await asyncio.to_thread(apply)
        return bt.ExtrinsicResult(
            success=not outcome.error,
            message=outcome.message or "Success",
            block_hash=f"0x{genesis}{outcome.block:032x}",
            extrinsic_id=f"{outcome.block}-{outcome.position:04d}",
            fee=bt.Balance.from_rao(0),
            error=bt.ChainError(outcome.message, outcome.error) if outcome.error else None,
        )

    # --- the file ---------------------------------------------------------------------------------------------

    async def _reading(self, read: Callable[[sqlite3.Connection, ledger.Head], T], block_hash: str | None = None) -> T:
        def work() -> T:
            with storage.reading(self.path) as connection:
                head = ledger.read_head(connection, self._now())
                _check_pinned(head, block_hash)
                return read(connection, head)

        return await asyncio.to_thread(work)


def _check_pinned(head: ledger.Head, block_hash: str | None) -> None:
    if block_hash is None:
        return
    prefix = f"0x{head.genesis}"
    if not block_hash.startswith(prefix):
        raise bt.ChainError(f"block {block_hash} is not of this chain")
    number = int(block_hash.removeprefix(prefix), 16)
    if number < head.changed_block and head.number - number > _RECENT_BLOCKS:
        raise bt.ChainError(f"the state of block {number} is not kept; the last change was in {head.changed_block}")
