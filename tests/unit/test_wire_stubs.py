"""The generated stubs are those of the sources, and the sources are the network's."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.wire import generate
from engine.wire.basilca.common.v1 import common_pb2
from engine.wire.basilca.miner.v1 import miner_discovery_pb2 as pb_a
from engine.wire.basilica.miner.v1 import miner_discovery_pb2 as pb_b

STRING, BOOL, DOUBLE, UINT32, UINT64, MESSAGE = 9, 8, 1, 13, 4, 11

FIELDS = {
    "ValidatorAuthRequest": "validator_hotkey signature nonce timestamp* target_miner_hotkey",
    "MinerAuthResponse": ("authenticated session_token expires_at* error* miner_hotkey miner_signature response_nonce"),
    "DiscoverNodesRequest": ("validator_hotkey signature nonce validator_public_key timestamp* target_miner_hotkey"),
    "NodeConnectionDetails": "node_id host port username additional_opts gpu_spec* status hourly_rate_cents",
}
TYPES = {"authenticated": BOOL, "accepts_ssh_certificates": BOOL, "hourly_rate_cents": UINT32}


def test_stubs_are_not_stale(tmp_path: Path) -> None:
    """Generating again gives the same files with the same bytes."""
    pytest.importorskip("grpc_tools", reason="grpcio-tools is a development tool")
    fresh = {path.relative_to(tmp_path): path.read_bytes() for path in generate.generate(tmp_path)}
    here = generate.TARGET
    kept = {
        path.relative_to(here): path.read_bytes()
        for package in generate.PACKAGES
        for path in (here / package).rglob("*.py*")
        if "__pycache__" not in path.parts
    }
    assert fresh == kept


def test_sources_are_no_package() -> None:
    """``proto`` as an import package would shadow Google's, so it holds sources only."""
    assert sorted({path.suffix for path in generate.SOURCES.rglob("*") if path.is_file()}) == [".proto"]


@pytest.mark.parametrize("message", FIELDS)
def test_dialect_a_has_the_deployed_numbers(message: str) -> None:
    """Names, numbers from 1 upwards and types as on the wire."""
    _check_fields(pb_a.DESCRIPTOR.message_types_by_name[message], FIELDS[message].split())


@pytest.mark.parametrize(
    ("message", "added"),
    [
        ("ValidatorAuthRequest", ["validator_public_key"]),
        ("MinerAuthResponse", ["ssh_host_authority", "ssh_host_authority_signature"]),
        ("DiscoverNodesRequest", ["session_token", "accepts_ssh_certificates"]),
        ("NodeConnectionDetails", ["ssh_certificate", "ssh_host_certificate"]),
    ],
)
def test_dialect_b_adds_at_the_end(message: str, added: list[str]) -> None:
    """Fields that both dialects have keep their numbers."""
    _check_fields(pb_b.DESCRIPTOR.message_types_by_name[message], [*FIELDS[message].split(), *added])


def test_packages_are_spelled_as_on_the_wire() -> None:
    """Dialect A lacks the second i, dialect B has it, and both use dialect A's common messages."""
    assert pb_a.DESCRIPTOR.package == "basilca.miner.v1"
    assert pb_b.DESCRIPTOR.package == "basilica.miner.v1"
    assert common_pb2.DESCRIPTOR.package == "basilca.common.v1"


def test_calls_of_both_dialects() -> None:
    """Discovery is one answer in A and a stream in B."""
    for module, is_streaming, answer in (
        (pb_a, False, "ListNodeConnectionDetailsResponse"),
        (pb_b, True, "NodeConnectionDetails"),
    ):
        service = module.DESCRIPTOR.services_by_name["MinerDiscovery"]
        assert [method.name for method in service.methods] == ["AuthenticateValidator", "DiscoverNodes"]
        discover = service.methods_by_name["DiscoverNodes"]
        assert (discover.server_streaming, discover.output_type.name) == (is_streaming, answer)


def test_common_messages() -> None:
    """The wrapper, the error and the GPU description have the documented fields."""
    by_name = common_pb2.DESCRIPTOR.message_types_by_name
    assert [(f.name, f.number) for f in by_name["Timestamp"].fields] == [("value", 1)]
    assert [f.name for f in by_name["ErrorInfo"].fields] == ["code", "message", "details", "timestamp", "stack_trace"]
    gpu = by_name["GpuSpec"].fields
    assert [f.number for f in gpu] == list(range(1, 13))
    assert [f.type for f in gpu] == [STRING, UINT64, *[STRING] * 3, *[DOUBLE] * 4, UINT32, UINT32, STRING]


def test_a_timestamp_on_the_wire() -> None:
    """The seconds are two levels down: the documented bytes."""
    request = pb_a.ValidatorAuthRequest()
    request.timestamp.value.seconds = 1704067200
    assert request.SerializeToString().hex() == "22080a06088081c8ac06"


def _check_fields(descriptor: object, expected: list[str]) -> None:
    fields = descriptor.fields  # type: ignore[attr-defined]  # descriptors have no stubs of their own
    assert [(f.number, f.name) for f in fields] == [
        (number, name.rstrip("*")) for number, name in enumerate(expected, 1)
    ]
    for field, name in zip(fields, expected, strict=True):
        assert field.type == (MESSAGE if name.endswith("*") else TYPES.get(name, STRING)), name
