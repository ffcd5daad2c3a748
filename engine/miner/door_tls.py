"""TLS for the door: the certificate and key from the configuration, refused in words before the port is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from engine.config.miner import ValidatorCommsConfig
from engine.errors import ConfigInvalid

_CERTIFICATE = "validator_comms.tls_cert_path"
_KEY = "validator_comms.tls_key_path"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the certificate with its chain, and its private key."""

    certificate: Path
    key: Path


def tls_files(config: ValidatorCommsConfig) -> TlsFiles | None:
    """What the configuration names; None for plain text. Raises ConfigInvalid when a file is not named."""
    if not config.tls_enabled:
        return None
    if config.tls_cert_path is None or config.tls_key_path is None:
        missing = _CERTIFICATE if config.tls_cert_path is None else _KEY
        raise ConfigInvalid(f"{missing} is not set, but validator_comms.tls_enabled needs it")
    return TlsFiles(config.tls_cert_path, config.tls_key_path)


def load_credentials(files: TlsFiles, now: float) -> grpc.ServerCredentials:
    """Check both files and make server credentials of them. Raises ConfigInvalid."""
    certificate_pem, key_pem = _read(_CERTIFICATE, files.certificate), _read_key(files.key)
    try:
        certificate = x509.load_pem_x509_certificates(certificate_pem)[0]
    except ValueError as error:
        raise ConfigInvalid(f"{_CERTIFICATE}: {files.certificate} holds no PEM certificate") from error
    try:
        key = load_pem_private_key(key_pem, None)
    except (ValueError, TypeError) as error:
        raise ConfigInvalid(
            f"{_KEY}: {files.key} holds no PEM private key, or one with a passphrase",
            hint="the engine starts unattended: store the key without a passphrase, mode 600",
        ) from error
    _check_dates(files.certificate, certificate, datetime.fromtimestamp(now, UTC))
    der = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*der) != certificate.public_key().public_bytes(*der):
        raise ConfigInvalid(f"{_KEY}: {files.key} is not the key of the certificate {files.certificate}")
    return grpc.ssl_server_credentials([(key_pem, certificate_pem)])


def _check_dates(path: Path, certificate: x509.Certificate, now: datetime) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        raise ConfigInvalid(
            f"{_CERTIFICATE}: {path} expired on {ends:%Y-%m-%d %H:%M} UTC", hint="renew it and start again"
        )
    if now < begins:
        raise ConfigInvalid(
            f"{_CERTIFICATE}: {path} is valid from {begins:%Y-%m-%d %H:%M} UTC on", hint="is this host's clock right?"
        )


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(f"{name}: cannot read {path}: {error.strerror}") from error


def _read_key(path: Path) -> bytes:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - one call, errors told with the reading's
    except OSError as error:
        raise ConfigInvalid(f"{_KEY}: cannot read {path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigInvalid(f"{_KEY}: {path} can be read by others (mode {mode & 0o777:03o})", hint=f"chmod 600 {path}")
    return _read(_KEY, path)
