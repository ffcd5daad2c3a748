"""TLS: a validator that trusts the certificate is served; files that cannot serve are named before the port opens."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engine.config.miner import ValidatorCommsConfig
from engine.errors import ConfigInvalid, MinerUnreachable
from engine.miner.door_tls import TlsFiles, load_credentials, tls_files
from engine.validator.miner_client import ClientTimeouts, MinerClient
from tests.engine.door_support import ed25519_line, world

NOW = 1_700_000_000.0


def make(directory: Path, *, begins: float = -10.0, days: float = 3650.0) -> TlsFiles:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "miner")])
    start = datetime.datetime.fromtimestamp(NOW, datetime.UTC) + datetime.timedelta(days=begins)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(directory / "door.crt", directory / "door.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.touch(mode=0o600)
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.mark.parametrize("has_front", [False, True])
async def test_a_trusting_validator_is_served(tmp_path: Path, has_front: bool) -> None:
    """Over TLS, with the front and without, a validator gets its nodes; plain text and strangers get nothing."""
    files = make(tmp_path)
    health = (lambda: (200, b"{}")) if has_front else None
    async with world(tmp_path, tls=files, health_on_port=health) as here:
        endpoint = f"127.0.0.1:{here.port}"

        def client(tls: bytes | None) -> MinerClient:
            return MinerClient(
                endpoint,
                here.validator,
                here.miner.hotkey,
                clock=here.clock,
                timeouts=ClientTimeouts(3.0, 5.0, 5.0),
                attempts=1,
                tls=tls,
            )

        found = await client(files.certificate.read_bytes()).discover(ed25519_line())
        assert len(found.nodes) == 1
        other = tmp_path / "other"
        other.mkdir()
        for tls in (None, make(other).certificate.read_bytes()):
            with pytest.raises(MinerUnreachable):
                await client(tls).discover(ed25519_line())


@pytest.mark.parametrize(("begins", "days", "words"), [(-10.0, 5.0, "expired on"), (5.0, 50.0, "is valid from")])
def test_a_certificate_out_of_its_time_is_refused(tmp_path: Path, begins: float, days: float, words: str) -> None:
    """An expired certificate, or one of the future, is named with its date."""
    with pytest.raises(ConfigInvalid, match=words):
        load_credentials(make(tmp_path, begins=begins, days=days), NOW)


def test_unusable_files_are_named(tmp_path: Path) -> None:
    """Missing, open to others, not PEM, or of another certificate: each in words with the key's name."""
    files = make(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    strange = make(other)
    with pytest.raises(ConfigInvalid, match=r"tls_cert_path: cannot read"):
        load_credentials(TlsFiles(tmp_path / "none", files.key), NOW)
    with pytest.raises(ConfigInvalid, match=r"tls_key_path: cannot read"):
        load_credentials(TlsFiles(files.certificate, tmp_path / "none"), NOW)
    with pytest.raises(ConfigInvalid, match="is not the key of"):
        load_credentials(TlsFiles(files.certificate, strange.key), NOW)
    with pytest.raises(ConfigInvalid, match="holds no PEM private key"):
        strange.key.write_text("nothing")
        load_credentials(TlsFiles(files.certificate, strange.key), NOW)
    with pytest.raises(ConfigInvalid, match="holds no PEM certificate"):
        strange.certificate.write_text("nothing")
        load_credentials(TlsFiles(strange.certificate, files.key), NOW)
    files.key.chmod(0o644)
    with pytest.raises(ConfigInvalid, match=r"can be read by others \(mode 644\)"):
        load_credentials(files, NOW)


def test_the_configuration_names_the_files(tmp_path: Path) -> None:
    """Without tls_enabled nothing is read; with it both files must be named."""
    assert tls_files(ValidatorCommsConfig()) is None
    with pytest.raises(ConfigInvalid, match="tls_cert_path is not set"):
        tls_files(ValidatorCommsConfig(tls_enabled=True))
    named = ValidatorCommsConfig(tls_enabled=True, tls_cert_path=tmp_path / "c", tls_key_path=tmp_path / "k")
    assert tls_files(named) == TlsFiles(tmp_path / "c", tmp_path / "k")
