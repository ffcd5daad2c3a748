"""Facts about access on one node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine.diagnostics.access_checks import AccessFacts
from engine.miner.drift import Baseline
from engine.probes.account import PathFacts
from engine.ssh.keys import ClientKey
from engine.ssh.target import ROOT_DIRECTORY
from engine.store.records import Grant
from tests.unit.doctor_cases.case import FAILED, WARNING, Case

NOW = 1_800_000_000.0
GUEST = ClientKey.generate("guest")
GRANT = Grant(
    "g1", "n1", "5hot", GUEST.algorithm, GUEST.blob_base64, "SHA256:x", NOW - 600, NOW, NOW + 600, deployed_at=NOW - 9
)
HOTKEY = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
OURS = f"{GUEST.algorithm} {GUEST.blob_base64} validator-{HOTKEY} grant=g1 exp={int(NOW) + 600}\n".encode()
ROOT_FILE = f"{ROOT_DIRECTORY}/basilica"


def access(key_bytes: bytes = b"", *grants: Grant, **known: Any) -> AccessFacts:
    plain = AccessFacts(NOW, key_bytes, "SSH-2.0-OpenSSH_9.6", grants=grants)
    return replace(plain, **known)


def root_file(uid: int = 0, mode: int = 0o644, **known: Any) -> AccessFacts:
    return access(root_paths=(PathFacts(ROOT_FILE, mode, uid, "regular file"),), placement="root", **known)


ACCESS = (
    Case("access.keys", "missing", FAILED, access(b"", GRANT), "access.reconcile"),
    Case(
        "access.keys",
        "not_removed",
        FAILED,
        access(OURS, replace(GRANT, ended_at=NOW - 600, end_reason="revoked")),
        "access.reconcile",
    ),
    Case("access.strays", "orphan", WARNING, access(OURS), "access.remove_strays"),
    Case(
        "access.strays",
        "stray",
        WARNING,
        access(GUEST.public_line.encode(), baseline=Baseline()),
        "access.remove_strays",
    ),
    Case("access.expiry", "old_sshd", WARNING, access(server_version="SSH-2.0-OpenSSH_7.2p2")),
    Case("access.expiry", "not_enforced", FAILED, access(canary="not_enforced")),
    Case("access.root_file", "root_file_gone", FAILED, access(placement="root")),
    Case("access.root_file", "not_roots", FAILED, root_file(uid=5001)),
    Case("access.root_file", "not_roots", FAILED, root_file(mode=0o664)),
    Case("access.root_file", "half_moved", WARNING, replace(root_file(), placement="entering")),
    Case("access.sessions", "outlived", FAILED, access(b"", sessions={"g0": 2}), "access.reconcile"),
)
