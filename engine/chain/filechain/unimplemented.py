"""The rest of the SDK's ``Substrate`` protocol: refused in words, because an invented answer would be believed."""

from __future__ import annotations

from typing import Any, NoReturn

import bittensor as bt


def unsupported(what: str) -> NoReturn:
    """Raise the SDK's error for something that is not on this chain."""
    raise bt.ChainError(f"the embedded chain does not implement {what}")


class Unimplemented:
    """What the embedded chain does not do."""

    async def spec_version(self) -> int:
        unsupported("a runtime version")

    async def get_block(self, block_number: int | None = None, block_hash: str | None = None) -> dict[str, Any] | None:
        unsupported("block contents")

    async def map_has_entries(self, *args: Any, **kwargs: Any) -> bool:
        unsupported("storage maps")

    async def decode_scale(self, type_string: str, data: Any) -> Any:
        unsupported("SCALE types")

    def blocks(self, *, finalized: bool = False) -> Any:
        unsupported("block subscriptions")

    async def events(self, block_hash: str | None = None) -> list[dict[str, Any]]:
        unsupported("events")

    async def estimate_weight(self, call: Any, keypair: Any) -> dict[str, Any]:
        unsupported("dispatch weights")

    async def mev_next_key(self) -> bytes | None:
        unsupported("shielded submission")

    async def sign_extrinsic(self, *args: Any, **kwargs: Any) -> tuple[bytes, str]:
        unsupported("detached extrinsics")

    async def find_extrinsic(self, extrinsic_hash: str, block_hash: str) -> Any:
        unsupported("extrinsics by hash")

    async def prepare(self, call: Any, **kwargs: Any) -> Any:
        unsupported("signing elsewhere")

    async def submit_signature(self, *args: Any, **kwargs: Any) -> Any:
        unsupported("signing elsewhere")

    async def submit_signed(self, *args: Any, **kwargs: Any) -> Any:
        unsupported("detached extrinsics")

    def multisig_account(self, signatories: list[str], threshold: int) -> Any:
        unsupported("multisig accounts")

    async def submit_multisig(self, *args: Any, **kwargs: Any) -> Any:
        unsupported("multisig accounts")
