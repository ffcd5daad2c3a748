from engine.wire.basilca.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ValidatorAuthRequest(_message.Message):
    __slots__ = ("validator_hotkey", "signature", "nonce", "timestamp", "target_miner_hotkey", "validator_public_key")
    VALIDATOR_HOTKEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TARGET_MINER_HOTKEY_FIELD_NUMBER: _ClassVar[int]
    VALIDATOR_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    validator_hotkey: str
    signature: str
    nonce: str
    timestamp: _common_pb2.Timestamp
    target_miner_hotkey: str
    validator_public_key: str
    def __init__(self, validator_hotkey: _Optional[str] = ..., signature: _Optional[str] = ..., nonce: _Optional[str] = ..., timestamp: _Optional[_Union[_common_pb2.Timestamp, _Mapping]] = ..., target_miner_hotkey: _Optional[str] = ..., validator_public_key: _Optional[str] = ...) -> None: ...

class MinerAuthResponse(_message.Message):
    __slots__ = ("authenticated", "session_token", "expires_at", "error", "miner_hotkey", "miner_signature", "response_nonce", "ssh_host_authority", "ssh_host_authority_signature")
    AUTHENTICATED_FIELD_NUMBER: _ClassVar[int]
    SESSION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MINER_HOTKEY_FIELD_NUMBER: _ClassVar[int]
    MINER_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_NONCE_FIELD_NUMBER: _ClassVar[int]
    SSH_HOST_AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    SSH_HOST_AUTHORITY_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    authenticated: bool
    session_token: str
    expires_at: _common_pb2.Timestamp
    error: _common_pb2.ErrorInfo
    miner_hotkey: str
    miner_signature: str
    response_nonce: str
    ssh_host_authority: str
    ssh_host_authority_signature: str
    def __init__(self, authenticated: _Optional[bool] = ..., session_token: _Optional[str] = ..., expires_at: _Optional[_Union[_common_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.ErrorInfo, _Mapping]] = ..., miner_hotkey: _Optional[str] = ..., miner_signature: _Optional[str] = ..., response_nonce: _Optional[str] = ..., ssh_host_authority: _Optional[str] = ..., ssh_host_authority_signature: _Optional[str] = ...) -> None: ...

class DiscoverNodesRequest(_message.Message):
    __slots__ = ("validator_hotkey", "signature", "nonce", "validator_public_key", "timestamp", "target_miner_hotkey", "session_token", "accepts_ssh_certificates")
    VALIDATOR_HOTKEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    VALIDATOR_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TARGET_MINER_HOTKEY_FIELD_NUMBER: _ClassVar[int]
    SESSION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ACCEPTS_SSH_CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    validator_hotkey: str
    signature: str
    nonce: str
    validator_public_key: str
    timestamp: _common_pb2.Timestamp
    target_miner_hotkey: str
    session_token: str
    accepts_ssh_certificates: bool
    def __init__(self, validator_hotkey: _Optional[str] = ..., signature: _Optional[str] = ..., nonce: _Optional[str] = ..., validator_public_key: _Optional[str] = ..., timestamp: _Optional[_Union[_common_pb2.Timestamp, _Mapping]] = ..., target_miner_hotkey: _Optional[str] = ..., session_token: _Optional[str] = ..., accepts_ssh_certificates: _Optional[bool] = ...) -> None: ...

class NodeConnectionDetails(_message.Message):
    __slots__ = ("node_id", "host", "port", "username", "additional_opts", "gpu_spec", "status", "hourly_rate_cents", "ssh_certificate", "ssh_host_certificate")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    ADDITIONAL_OPTS_FIELD_NUMBER: _ClassVar[int]
    GPU_SPEC_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    HOURLY_RATE_CENTS_FIELD_NUMBER: _ClassVar[int]
    SSH_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    SSH_HOST_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    host: str
    port: str
    username: str
    additional_opts: str
    gpu_spec: _common_pb2.GpuSpec
    status: str
    hourly_rate_cents: int
    ssh_certificate: str
    ssh_host_certificate: str
    def __init__(self, node_id: _Optional[str] = ..., host: _Optional[str] = ..., port: _Optional[str] = ..., username: _Optional[str] = ..., additional_opts: _Optional[str] = ..., gpu_spec: _Optional[_Union[_common_pb2.GpuSpec, _Mapping]] = ..., status: _Optional[str] = ..., hourly_rate_cents: _Optional[int] = ..., ssh_certificate: _Optional[str] = ..., ssh_host_certificate: _Optional[str] = ...) -> None: ...

class NodeConnectionDetailsList(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeConnectionDetails]
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeConnectionDetails, _Mapping]]] = ...) -> None: ...
