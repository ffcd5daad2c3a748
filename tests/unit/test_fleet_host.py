"""What a node tells about itself, by tables of output, hostile output among it."""

from __future__ import annotations

import json

import pytest

from engine.probes.gpu import parse_table
from engine.probes.host import HostFacts, SshdPosture, parse_host

INFO = {
    "ServerVersion": "27.3.1",
    "DockerRootDir": "/var/lib/docker",
    "Runtimes": {"nvidia": {"path": "x"}, "runc": {}},
}
DF = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 1000 400 600 40% /var/lib my disk\n"


def output(*, now: str = "1000000100.5", later: str = "1000000102.5", cuda: str = "", docker: str = "", disk: str = "",
           sshd: str = "") -> str:  # fmt: skip
    """The script's output with these sections."""
    return (
        f"basilica-now {now}\nbasilica-section cuda\n{cuda}\nbasilica-section docker\n{docker}\n"
        f"basilica-section disk\n{disk}\nbasilica-section sshd\n{sshd}\nbasilica-now {later}\n"
    )


def parse(text: str) -> HostFacts:
    return parse_host(text, before=1000000000.0, after=1000000002.0)


@pytest.mark.parametrize("text", ["", "\0" * 5000, "basilica-section docker\n" * 500, "basilica-now x\n", "{" * 99999])
def test_nothing_told_is_nothing_known(text: str) -> None:
    """Silence and nonsense give no fact, and no default."""
    assert parse(text) == HostFacts()


def test_the_list_of_gpus_is_a_second_opinion() -> None:
    """Only the lines of whole cards are read; a line that is none adds nothing."""
    listed = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)\n  MIG 1g.10gb Device 0: (UUID: MIG-1)\nGPU x: (UUID: GPU-2)\n"
    found = parse(f"basilica-section gpus\n{listed}basilica-section docker\n")
    assert found.gpu_models == ("NVIDIA H100 80GB HBM3",)


@pytest.mark.parametrize(
    ("now", "later", "skew"),
    [
        ("1000000100.5", "1000000102.5", 100.5),
        ("1000000000", "1000000002", 0.5),
        ("999999990.25", "999999992.25", -9.75),
        ("x", "1000000001.0", 0.0),
        ("%s.%N", "date: bad", None),
    ],
)
def test_the_clock_is_compared_at_both_ends(now: str, later: str, skew: float | None) -> None:
    """The time that the command took does not look like a wrong clock."""
    assert parse(output(now=now, later=later)).clock_skew_s == skew


@pytest.mark.parametrize(
    ("docker", "ok", "version", "error", "runtime"),
    [
        (json.dumps(INFO) + "\nbasilica-status 0", True, "27.3.1", "", True),
        (json.dumps({**INFO, "Runtimes": {"runc": {}}}) + "\nbasilica-status 0", True, "27.3.1", "", False),
        (json.dumps({**INFO, "Runtimes": None}) + "\nbasilica-status 0", True, "27.3.1", "", None),
        ("WARNING: no swap\n" + json.dumps(INFO) + "\nbasilica-status 0", True, "27.3.1", "", True),
        ("basilica-status absent", False, "", "docker is not installed", None),
        (json.dumps({"ServerVersion": "", "ServerErrors": ["permission denied"]}) + "\nbasilica-status 1",
         False, "", "permission denied", None),
        (json.dumps({"ServerVersion": ""}) + "\nCannot connect to the Docker daemon\n\nbasilica-status 1",
         False, "", "Cannot connect to the Docker daemon", None),
        ("Got permission denied\nbasilica-status 1", False, "", "Got permission denied", None),
        ("basilica-status 124", False, "", "no answer within 5 s", None),
        ("basilica-status 7", False, "", "docker info ended with status 7", None),
        ('{"version": {"Version": "4.0"}}\nbasilica-status 0', None, "", "", None),
        ('{"ServerVersion": ["evil"]}\nbasilica-status 0', None, "", "", None),
        ('{"ServerVersion": "\\u001b[31m"}\nbasilica-status 0', None, "", "", None),
        ("[" * 20000 + "\nbasilica-status 0", None, "", "", None),
    ],
)  # fmt: skip
def test_docker(docker: str, ok: bool | None, version: str, error: str, runtime: bool | None) -> None:
    """A daemon answers this account, or it does not and says why, or nobody knows."""
    found = parse(output(docker=docker))
    assert (found.docker_ok, found.docker_version, found.docker_error, found.nvidia_runtime_ok) == (
        ok, version, error, runtime,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("disk", "expected"),
    [
        (DF, ("/var/lib my disk", 600 * 1024, 1000 * 1024)),
        ("df: /x: No such file", ("", None, None)),
        ("/dev/sda1 1000 400 -5 40% /", ("", None, None)),
        ("/dev/sda1 " + "9" * 40 + " 1 1 1% /", ("", None, None)),
        (" " * 100_000, ("", None, None)),
        ("a " * 50_000, ("", None, None)),
    ],
)
def test_disk(disk: str, expected: tuple[str, int | None, int | None]) -> None:
    """Free and whole size of the file system, or nothing."""
    found = parse(output(disk=disk))
    assert (found.disk_path, found.disk_free_bytes, found.disk_total_bytes) == expected


@pytest.mark.parametrize(
    ("sshd", "posture"),
    [
        ("basilica-file read", SshdPosture()),
        ("PasswordAuthentication no\nMaxStartups 30:30:100\nMaxSessions 100\nbasilica-file read",
         SshdPosture(password_login=False, max_startups="30:30:100", max_sessions=100)),
        # the first statement counts
        ("passwordauthentication=no\nbasilica-file read\nPasswordAuthentication yes\nbasilica-file read",
         SshdPosture(password_login=False)),
        # a Match block is conditional, and ends with its file
        ("Match User x\nPasswordAuthentication yes\nbasilica-file read\nPermitRootLogin no\nbasilica-file read",
         SshdPosture(root_login="no")),
        # a file that cannot be read may say anything
        ("MaxSessions 5\nbasilica-file read\nbasilica-file unreadable\nPasswordAuthentication no\nbasilica-file read",
         SshdPosture(max_sessions=5)),
        ("PasswordAuthentication maybe\nMaxSessions 99999999999999999999\nbasilica-file read", SshdPosture()),
        ('AllowTcpForwarding "no"\nChallengeResponseAuthentication yes\nbasilica-file read',
         SshdPosture(tcp_forwarding="no", keyboard_login=True)),
    ],
)  # fmt: skip
def test_sshd_posture(sshd: str, posture: SshdPosture) -> None:
    """What the readable configuration states, by sshd's own rules of precedence."""
    assert parse(output(sshd=sshd)).sshd == posture


def test_a_full_gpu_row_gives_every_fact_and_a_poor_one_none() -> None:
    """Every column is a fact or unknown by itself."""
    rich = (
        "0, GPU-5b3c1f2e-0000-1111-2222-333344445555, 81559, 550.54, 37, 41, 00000000:10:00.0, 9.0, 1024, 350.25, "
        "700.00, 1755, 2619, 3, NVIDIA H100, 80GB"
    )
    poor = "1, [N/A], [N/A], [N/A], [N/A], [N/A], nowhere, x, ?, [Unknown Error], -1, , 1e9, [N/A], NVIDIA H100, 80GB"
    facts = parse_table(f"{rich}\n{poor}\n", "all")
    first, second = facts.gpus

    assert (first.pci_id, first.compute_capability, first.memory_used_mib) == ("00000000:10:00.0", "9.0", 1024)
    assert (first.power_w, first.power_limit_w, first.sm_clock_mhz, first.memory_clock_mhz) == (350.25, 700, 1755, 2619)
    assert (first.ecc_errors, facts.ecc_errors, first.model) == (3, 3, "NVIDIA H100, 80GB")
    assert (second.uuid, second.pci_id, second.compute_capability, second.driver) == ("", "", "", "")
    assert second.memory_used_mib is second.power_w is second.power_limit_w is second.ecc_errors is None
    assert second.sm_clock_mhz is second.memory_clock_mhz is None
