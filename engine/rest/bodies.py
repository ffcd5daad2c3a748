"""The bodies of the answers, with the deployed field names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.responses import Response


class Body(BaseModel):
    """Base of every body."""

    model_config = ConfigDict(frozen=True)


class Health(Body):
    status: str
    timestamp: str
    version: str
    checks: dict[str, str]


class Miner(Body):
    miner_id: str
    hotkey: str
    endpoint: str
    status: str
    node_count: int
    total_gpu_count: int
    verification_score: float
    uptime_percentage: float
    last_seen: str | None
    registered_at: str | None


class Miners(Body):
    miners: list[Miner]
    total_count: int
    page: int
    page_size: int


class GpuSpec(Body):
    name: str
    memory_gb: int
    compute_capability: str
    uuid: str


class CpuSpec(Body):
    cores: int
    model: str
    memory_gb: int


class Node(Body):
    id: str
    miner_id: str
    status: str
    gpu_specs: list[GpuSpec]
    cpu_specs: CpuSpec
    location: str | None = None
    ramp_minutes: int
    ramp_multiplier: float
    last_full_validation: str | None
    last_check: str | None
    rented: bool = False


class NodeEntry(Body):
    node: Node
    availability: dict[str, str | None]


class Nodes(Body):
    available_nodes: list[NodeEntry]
    total_count: int
    page: int
    page_size: int


class NodeHealth(Body):
    node_id: str
    status: str
    last_health_check: str | None


class MinerHealth(Body):
    miner_id: str
    overall_status: str
    last_health_check: str | None
    node_health: list[NodeHealth]
    response_time_ms: float | None


class GpuProfile(Body):
    miner_uid: int
    gpu_counts: dict[str, int]
    total_score: float
    verification_count: int
    last_updated: str
    last_successful_validation: str | None


class Step(Body):
    step: str
    verdict: str
    evidence: str
    duration_ms: float


class VerificationLog(Body):
    id: str
    node_id: str
    miner_hotkey: str
    validator_hotkey: str
    verification_type: str
    timestamp: str
    success: bool
    duration_ms: float
    score: float
    error_message: str | None
    details: dict[str, str | list[str]]
    created_at: str
    updated_at: str
    steps: list[Step] = []


class Verifying(Body):
    node_id: str
    miner_hotkey: str
    tier: str
    phase: str
    since: str | None
    reason: str
    progress: float


class Active(Body):
    in_progress: list[Verifying]
    recent_failures: list[VerificationLog]
    total_count: int
    page: int
    page_size: int


class RentalItem(Body):
    rental_id: str
    node_id: str
    state: str
    created_at: str
    ended_at: str | None
    miner_id: str | None
    miner_hotkey: str
    gpu_specs: list[GpuSpec]


class Rentals(Body):
    rentals: list[RentalItem]
    total_count: int
    page: int
    page_size: int


class RentalStatus(Body):
    rental_id: str
    status: str
    node: Node | None
    miner_uid: int | None
    miner_hotkey: str
    created_at: str
    updated_at: str


class RentalWanted(Body):
    """A rental to enter. What a container would need has no place here: nothing is deployed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    node_id: str = Field(min_length=1, max_length=128)
    miner_hotkey: str = Field("", max_length=64, description="Whose, where several miners have a node of that id.")
    rental_id: str = Field("", pattern=r"^[A-Za-z0-9._:-]{0,64}$", description="Your own id; without one, one is made.")


class RentalOver(Body):
    """Why a rental ends, for the record."""

    reason: str = Field("", max_length=128)


class Problem(Body):
    """RFC 9457; ``hint`` is ours: what to do instead, where there is something."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    hint: str | None = None


_LISTS: dict[type[BaseModel], TypeAdapter[list[Any]]] = {}


def json_answer(body: BaseModel, headers: Mapping[str, str] | None = None, *, status: int = 200) -> Response:
    """The body as it is: the framework would copy and check once more what was just made."""
    return Response(body.model_dump_json(), status, headers=headers, media_type="application/json")


def json_list(kind: type[BaseModel], bodies: Sequence[BaseModel], headers: Mapping[str, str] | None = None) -> Response:
    """A list of bodies of one kind."""
    if kind not in _LISTS:
        _LISTS[kind] = TypeAdapter(list[kind])  # type: ignore[valid-type]  # known at run time only
    return Response(_LISTS[kind].dump_json(list(bodies)), headers=headers, media_type="application/json")


def stamp(at: float | None) -> str | None:
    """RFC 3339, None for never."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
