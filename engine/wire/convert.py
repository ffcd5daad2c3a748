"""The one place that knows the generated messages: bytes of the wire in, frozen values out, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError, Message

from engine.errors import WireMalformed
from engine.wire.basilca.common.v1 import common_pb2
from engine.wire.basilca.miner.v1 import miner_discovery_pb2 as wire_a
from engine.wire.basilica.miner.v1 import miner_discovery_pb2 as wire_b
from engine.wire.messages import AuthAnswer, AuthCall, Dialect, DiscoverCall, WireNode

_WIRE: dict[Dialect, Any] = {"A": wire_a, "B": wire_b}


# --- what a miner does ----------------------------------------------------------------------------------------


def read_auth_call(dialect: Dialect, data: bytes) -> AuthCall:
    """Unknown fields are ignored; raises WireMalformed."""
    message = _parse(_WIRE[dialect].ValidatorAuthRequest(), data)
    return AuthCall(
        dialect=dialect,
        validator_hotkey=message.validator_hotkey,
        signature=message.signature,
        nonce=message.nonce,
        timestamp=_seconds(message, "timestamp"),
        target_miner_hotkey=message.target_miner_hotkey,
        public_key=message.validator_public_key if dialect == "B" else "",
    )


def read_discover_call(dialect: Dialect, data: bytes) -> DiscoverCall:
    """Unknown fields are ignored; raises WireMalformed."""
    message = _parse(_WIRE[dialect].DiscoverNodesRequest(), data)
    return DiscoverCall(
        dialect=dialect,
        validator_hotkey=message.validator_hotkey,
        signature=message.signature,
        nonce=message.nonce,
        timestamp=_seconds(message, "timestamp"),
        target_miner_hotkey=message.target_miner_hotkey,
        public_key=message.validator_public_key,
        session_token=message.session_token if dialect == "B" else "",
        accepts_certificates=dialect == "B" and message.accepts_ssh_certificates,
    )


def write_auth_answer(dialect: Dialect, answer: AuthAnswer) -> bytes:
    """The serialised MinerAuthResponse."""
    message = _WIRE[dialect].MinerAuthResponse(
        authenticated=answer.authenticated,
        session_token=answer.session_token,
        miner_hotkey=answer.miner_hotkey,
        miner_signature=answer.miner_signature,
        response_nonce=answer.response_nonce,
    )
    if answer.expires_at is not None:
        message.expires_at.value.seconds = answer.expires_at
    if answer.error:
        message.error.message = answer.error
    if dialect == "B" and answer.host_authority:
        message.ssh_host_authority = answer.host_authority
        message.ssh_host_authority_signature = answer.host_authority_signature
    return bytes(message.SerializeToString())


def write_nodes(dialect: Dialect, nodes: Iterable[WireNode]) -> bytes:
    """The serialised list: dialect A's answer; dialect B streams the parts that ``split_nodes`` finds in it."""
    if dialect == "A":
        listed: Any = wire_a.ListNodeConnectionDetailsResponse(nodes=[_node(wire_a, node) for node in nodes])
    else:
        listed = wire_b.NodeConnectionDetailsList(nodes=[_node(wire_b, node) for node in nodes])
    return bytes(listed.SerializeToString())


def split_nodes(listed: bytes) -> list[bytes]:
    """The messages of dialect B's stream in what ``write_nodes`` made for it."""
    message = _parse(wire_b.NodeConnectionDetailsList(), listed)
    return [bytes(node.SerializeToString()) for node in message.nodes]


# --- what a validator does ------------------------------------------------------------------------------------


def write_auth_call(call: AuthCall) -> bytes:
    """The serialised ValidatorAuthRequest of the call's dialect."""
    message = _WIRE[call.dialect].ValidatorAuthRequest(
        validator_hotkey=call.validator_hotkey,
        signature=call.signature,
        nonce=call.nonce,
        target_miner_hotkey=call.target_miner_hotkey,
    )
    if call.dialect == "B":
        message.validator_public_key = call.public_key
    return _with_timestamp(message, call.timestamp)


def write_discover_call(call: DiscoverCall) -> bytes:
    """The serialised DiscoverNodesRequest of the call's dialect."""
    message = _WIRE[call.dialect].DiscoverNodesRequest(
        validator_hotkey=call.validator_hotkey,
        signature=call.signature,
        nonce=call.nonce,
        validator_public_key=call.public_key,
        target_miner_hotkey=call.target_miner_hotkey,
    )
    if call.dialect == "B":
        message.session_token = call.session_token
        message.accepts_ssh_certificates = call.accepts_certificates
    return _with_timestamp(message, call.timestamp)


def read_auth_answer(dialect: Dialect, data: bytes) -> AuthAnswer:
    """Raises WireMalformed."""
    message = _parse(_WIRE[dialect].MinerAuthResponse(), data)
    return AuthAnswer(
        authenticated=message.authenticated,
        session_token=message.session_token,
        expires_at=_seconds(message, "expires_at"),
        miner_hotkey=message.miner_hotkey,
        miner_signature=message.miner_signature,
        response_nonce=message.response_nonce,
        error=message.error.message,
        host_authority=message.ssh_host_authority if dialect == "B" else "",
        host_authority_signature=message.ssh_host_authority_signature if dialect == "B" else "",
    )


def read_nodes(data: bytes, limit: int) -> list[WireNode]:
    """At most ``limit`` nodes of dialect A's list; raises WireMalformed."""
    message = _parse(wire_a.ListNodeConnectionDetailsResponse(), data)
    return [_wire_node("A", node) for node in message.nodes[:limit]]


def read_node(data: bytes) -> WireNode:
    """One node of dialect B's stream; raises WireMalformed."""
    return _wire_node("B", _parse(wire_b.NodeConnectionDetails(), data))


# --- parts ----------------------------------------------------------------------------------------------------


def _parse(message: Any, data: bytes) -> Any:
    try:
        message.ParseFromString(data)
    except (DecodeError, RecursionError) as error:
        raise WireMalformed("Malformed request: not a protobuf message of this call") from error
    return message


def _seconds(message: Message, field: str) -> int | None:
    """The seconds two levels down; None when either level is absent."""
    wrapper = getattr(message, field)
    return int(wrapper.value.seconds) if wrapper.HasField("value") else None


def _with_timestamp(message: Any, seconds: int | None) -> bytes:
    if seconds is not None:
        wrapper = common_pb2.Timestamp()
        wrapper.value.seconds = seconds
        message.timestamp.CopyFrom(wrapper)
    return bytes(message.SerializeToString())


def _node(wire: Any, node: WireNode) -> Any:
    message = wire.NodeConnectionDetails(
        node_id=node.node_id,
        host=node.host,
        port=node.port,
        username=node.username,
        additional_opts=node.additional_opts,
        status=node.status,
    )
    if node.hourly_rate_cents is not None:
        message.hourly_rate_cents = node.hourly_rate_cents
    if wire is wire_b:
        message.ssh_certificate, message.ssh_host_certificate = node.certificate, node.host_certificate
    return message


def _wire_node(dialect: Dialect, message: Any) -> WireNode:
    return WireNode(
        node_id=message.node_id,
        host=message.host,
        port=message.port,
        username=message.username,
        additional_opts=message.additional_opts,
        status=message.status,
        hourly_rate_cents=message.hourly_rate_cents if message.HasField("hourly_rate_cents") else None,
        certificate=message.ssh_certificate if dialect == "B" else "",
        host_certificate=message.ssh_host_certificate if dialect == "B" else "",
    )
