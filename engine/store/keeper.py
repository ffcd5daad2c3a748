"""What one kind of database needs beside its tables, as the store sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.store.database import Database


class Keeper(Protocol):
    """Keeps other engines out and looks after the place where the data lies."""

    check_every_s: float

    async def check(self) -> None:
        """Raise StoreUnusable when what is written would be lost or is not ours to write; StoreStrained for a while."""

    async def settle(self) -> None:
        """Leave everything tidy before the connections close. Raises StoreUnusable."""

    async def release(self) -> None:
        """Let another engine in."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open store's parts."""

    state: Database
    events: Database
    keeper: Keeper
