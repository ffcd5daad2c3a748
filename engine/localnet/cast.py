"""Nodes that are not what a miner promises, for showing that they are caught: who they are and what gives them away."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from engine.errors import LocalnetFailed
from engine.localnet.gpu_model import GpuModel

Part = Literal["liar", "twins", "flapping", "slow"]
PARTS: tuple[Part, ...] = ("liar", "twins", "flapping", "slow")
SLOW_S = 45
"""A slow node's tool takes so long for each answer."""

_NAMESPACE = uuid.UUID("0b6f4f0a-5c0e-4a9e-8a37-3c0f2c1f6e11")
_CONSUMER = GpuModel(model="NVIDIA GeForce RTX 4090", memory_mib=24564, uuids=(), compute_cap="8.9", power_limit_w=450)


@dataclass(frozen=True, slots=True)
class Player:
    """One such node. ``is_flapping``: its SSH server comes and goes."""

    name: str
    part: Part
    gpu: GpuModel
    is_flapping: bool = False


def parse_cast(text: str) -> tuple[Part, ...]:
    """``all``, ``none`` or a comma-separated list of parts. Raises LocalnetFailed."""
    if text == "all":
        return PARTS
    if text in ("none", ""):
        return ()
    wanted = [word.strip() for word in text.split(",")]
    unknown = [word for word in wanted if word not in PARTS]
    if unknown:
        raise LocalnetFailed(
            f"there is no part called {', '.join(unknown)}", hint=f"use all, none, or some of {', '.join(PARTS)}"
        )
    return tuple(part for part in PARTS if part in wanted)


def players(parts: Sequence[Part], seed: str) -> tuple[Player, ...]:
    """The nodes of these parts; the same seed gives the same GPUs."""
    found: list[Player] = []
    for part in parts:
        match part:
            case "liar":
                # Its owner has a consumer card and forged the tool for the questions that validators were seen to ask.
                true = replace(_CONSUMER, uuids=_uuids(seed, part, 8))
                found.append(Player("liar", part, replace(true, claims=GpuModel(uuids=true.uuids))))
            case "twins":
                shared = GpuModel(uuids=_uuids(seed, part, 4))
                found += [Player(f"twin-{number}", part, shared) for number in (1, 2)]
            case "flapping":
                found.append(Player("flapping", part, GpuModel(uuids=_uuids(seed, part, 8)), is_flapping=True))
            case "slow":
                found.append(Player("slow", part, GpuModel(uuids=_uuids(seed, part, 8), delay_s=SLOW_S)))
    return tuple(found)


def _uuids(seed: str, part: str, count: int) -> tuple[str, ...]:
    return tuple(f"GPU-{uuid.uuid5(_NAMESPACE, f'{seed}/{part}/{number}')}" for number in range(count))
