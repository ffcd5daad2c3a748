"""The two sets of scoring rules that a validator can follow."""

from __future__ import annotations

from typing import Final, Literal

Profile = Literal["documented", "deployed-2025-10"]
PROFILES: Final[tuple[Profile, ...]] = ("documented", "deployed-2025-10")
