"""Judging what the attestation program sent: a stranger's bytes, of which every one is checked.

What a good answer proves, and what it cannot, is in docs/verification.md.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from engine.errors import AttestationRefused
from engine.probes.gpu import canonical_uuid, clean
from engine.validator.hostile_json import Reader, parse_json
from engine.validator.product import ProductTask, ShownRows, are_products, read_rows

CONTEXT = b"BASILICA_ATTESTATION_V1"
MAX_BYTES = 8 << 20
MAX_GPUS = 64
_HEX64 = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"GPU-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")
_KEYS = frozenset({"version", "challenge", "program_sha256", "public_key", "facts", "signature"})


@lru_cache(maxsize=1)
def program() -> bytes:
    """The program that is uploaded, byte for byte."""
    return (resources.files("engine.attestation") / "node_program.py").read_bytes()


@lru_cache(maxsize=1)
def program_sha256() -> str:
    """Its digest."""
    return hashlib.sha256(program()).hexdigest()


def new_challenge() -> str:
    """32 random bytes, used once."""
    return secrets.token_hex(32)


@dataclass(frozen=True, slots=True)
class AttestedGpu:
    """One GPU as nvidia-smi shows it."""

    index: int
    uuid: str
    model: str
    pci_id: str
    memory_mib: int
    compute_capability: str
    driver: str
    ecc: str = ""
    sm_clock_mhz: int | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU as the CUDA driver shows it, with the product that it computed and that was checked."""

    uuid: str
    name: str
    pci_id: str
    memory_bytes: int
    compute_capability: str
    multiprocessors: int | None
    kernel_ms: float
    wall_ms: float


@dataclass(frozen=True, slots=True)
class Compute:
    """The products. ``reason`` says why there are none; ``problems`` say what is wrong with those there are, and
    ``errors`` which GPUs could not make theirs, as the node says itself: a fault, and no lie."""

    possible: bool
    reason: str = ""
    cuda: str = ""
    size: int = 0
    devices: tuple[Device, ...] = ()
    problems: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attestation:
    """An answer whose signature, challenge and program digest are right; the facts are the node's own word."""

    gpus: tuple[AttestedGpu, ...]
    cuda: str
    compute: Compute
    clock: float
    cpu_model: str
    cpu_threads: int
    memory_bytes: int
    disk_free_bytes: int
    disk_total_bytes: int
    docker_version: str
    nvidia_runtime: bool
    hostname: str
    addresses: tuple[str, ...]
    machine_id: str
    facts: Mapping[str, object] = field(repr=False, default_factory=dict)

    @property
    def uuids(self) -> tuple[str, ...]:
        """The UUIDs of all GPUs."""
        return tuple(gpu.uuid for gpu in self.gpus)


def read_attestation(
    data: bytes, *, challenge: str, task: ProductTask, program_digest: str | None = None
) -> Attestation:
    """Check everything and return the facts. Raises AttestationRefused; takes up to a second of processor time.

    ``program_digest`` is that of the program that was sent, today's unless an older answer is read again.
    """
    digest = program_digest or program_sha256()
    document = _document(data)
    if document.text("challenge", 64) != challenge:
        raise AttestationRefused("the answer is to another challenge", reason="challenge_mismatch")
    if document.text("program_sha256", 64) != digest:
        raise AttestationRefused("another program answered than the one we sent", reason="program_changed")
    facts_text = document.text("facts", MAX_BYTES)
    _check_signature(document, challenge, digest, facts_text)
    return _facts(Reader(parse_json(facts_text), "facts"), challenge, task)


def _document(data: bytes) -> Reader:
    if len(data) > MAX_BYTES:
        raise AttestationRefused(f"more than {MAX_BYTES} bytes", reason="malformed")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise AttestationRefused("the answer is not ASCII", reason="malformed") from None
    document = parse_json(text)
    if not isinstance(document, dict) or document.keys() != _KEYS or document["version"] != 1:
        raise AttestationRefused("the answer is not the document that our program writes", reason="malformed")
    return Reader(document, "answer")


def _check_signature(document: Reader, challenge: str, digest: str, facts: str) -> None:
    key_hex, signature = document.text("public_key", 130), document.text("signature", 128)
    if not re.fullmatch(r"04[0-9a-f]{128}", key_hex) or not re.fullmatch(r"[0-9a-f]{128}", signature):
        raise AttestationRefused("key or signature is not of the agreed form", reason="malformed")
    signed = b"\n".join((CONTEXT, challenge.encode(), digest.encode(), key_hex.encode(), facts.encode()))
    pair = encode_dss_signature(int(signature[:64], 16), int(signature[64:], 16))
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(key_hex))
        key.verify(pair, signed, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature):
        raise AttestationRefused("the signature does not fit the answer", reason="signature_wrong") from None


def _facts(facts: Reader, challenge: str, task: ProductTask) -> Attestation:
    smi, cpu, memory = facts.child("nvidia_smi"), facts.child("cpu"), facts.child("memory")
    storage, docker, network = facts.child("storage"), facts.child("docker"), facts.child("network")
    gpus = tuple(_gpu(item) for item in smi.children("gpus", MAX_GPUS))
    if len({gpu.uuid for gpu in gpus}) != len(gpus):
        raise AttestationRefused("one GPU is listed twice", reason="lying")
    cuda = smi.text("cuda", 16)
    compute = _compute(facts.child("compute"), gpus, challenge, task)
    machine_id = network.text("machine_id", 64)
    return Attestation(
        gpus=gpus,
        cuda=compute.cuda or (cuda if _VERSION.fullmatch(cuda) else ""),
        compute=compute,
        clock=facts.number("clock", 1e11),
        cpu_model=clean(cpu.text("model", 96)),
        cpu_threads=cpu.whole("threads", 65536),
        memory_bytes=memory.whole("MemTotal", 1 << 50, default=0),
        disk_free_bytes=storage.whole("root_free", 1 << 60),
        disk_total_bytes=storage.whole("root_total", 1 << 60),
        docker_version=clean(docker.text("server", 64, default="")),
        nvidia_runtime="nvidia" in docker.texts("runtimes", 16, default=()),
        hostname=clean(network.text("hostname", 128)),
        addresses=tuple(clean(text, 64) for text in network.texts("addresses", 64)),
        machine_id=machine_id if _HEX64.fullmatch(machine_id) else "",
        facts=_without_rows(facts.value),
    )


def _gpu(item: Reader) -> AttestedGpu:
    uuid, index = item.text("uuid", 96), item.text("index", 4)
    memory, clock = item.text("memory_total", 16), item.text("clocks_sm", 16)
    capability = item.text("compute_cap", 16)
    if not _UUID.fullmatch(uuid) or not index.isascii() or not index.isdigit():
        raise AttestationRefused("a GPU without a UUID or number is listed", reason="lying")
    return AttestedGpu(
        index=int(index),
        uuid=canonical_uuid(uuid),
        model=clean(item.text("name", 96)),
        pci_id=clean(item.text("pci_bus_id", 32)),
        memory_mib=int(memory) if re.fullmatch(r"[0-9]{1,9}", memory) else 0,
        compute_capability=capability if _VERSION.fullmatch(capability) else "",
        driver=clean(item.text("driver_version", 32)),
        ecc=clean(item.text("ecc_mode_current", 32)),
        sm_clock_mhz=int(clock) if re.fullmatch(r"[0-9]{1,6}", clock) else None,
    )


def _compute(section: Reader, gpus: tuple[AttestedGpu, ...], challenge: str, task: ProductTask) -> Compute:
    if section.flag("possible") is False:
        return Compute(False, reason=clean(section.text("reason", 500)))
    if section.whole("size", 1 << 20) != task.size:
        raise AttestationRefused("the product has another size than we asked for", reason="lying")
    cuda = section.text("cuda", 16)
    devices: list[Device] = []
    problems: list[str] = []
    errors: list[str] = []
    shown: list[ShownRows] = []
    for number, item in enumerate(section.children("devices", MAX_GPUS)):
        if error := item.text("error", 500, default=""):
            errors.append(f"GPU {number}: {clean(error)}")
            continue
        rows = read_rows(item, challenge, number, task)
        if isinstance(rows, str):
            problems.append(f"GPU {number}: {rows}")
        else:
            shown.append(rows)
        devices.append(_device(item))
    if shown and not are_products(shown, challenge, task.size):
        problems.append("a product is wrong")
    missing = {gpu.uuid for gpu in gpus} - {device.uuid for device in devices}
    if len(missing) + len(devices) != len(gpus) or len(missing) > len(errors):
        problems.append("the driver and nvidia-smi show different GPUs")
    elif not devices and not errors:
        problems.append("the driver is said to work, but shows no GPU")
    return Compute(
        True,
        cuda=cuda if _VERSION.fullmatch(cuda) else "",
        size=task.size,
        devices=tuple(devices),
        problems=tuple(problems),
        errors=tuple(errors),
    )


def _device(item: Reader) -> Device:
    uuid = item.text("uuid", 96)
    if not _UUID.fullmatch(uuid):
        raise AttestationRefused("the driver shows a GPU without a UUID", reason="lying")
    return Device(
        uuid=canonical_uuid(uuid),
        name=clean(item.text("name", 128)),
        pci_id=clean(item.text("pci_id", 32)),
        memory_bytes=item.whole("memory_bytes", 1 << 50),
        compute_capability=clean(item.text("compute_capability", 16)),
        multiprocessors=item.whole("multiprocessors", 65536, default=0) or None,
        kernel_ms=item.number("kernel_ms", 1e9),
        wall_ms=item.number("wall_ms", 1e9),
    )


def _without_rows(value: object) -> Mapping[str, object]:
    """The facts as they are kept: the rows of the products were only for the check."""

    def kept(item: object) -> object:
        if isinstance(item, dict):
            return {key: kept(inner) for key, inner in item.items() if key != "rows"}
        return [kept(inner) for inner in item] if isinstance(item, list) else item

    shown = kept(value)
    assert isinstance(shown, dict)
    # A node that fills its facts with junk must not fill our database with it.
    return shown if len(json.dumps(shown)) <= 65536 else {}
