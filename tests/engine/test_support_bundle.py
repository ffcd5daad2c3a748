"""The support bundle: what is in it, and that no secret and no name is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import select
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from basilica_tui.cli import app
from engine.clock import SystemClock
from engine.errors import SupportBundleFailed
from engine.recording.pseudonyms import Pseudonyms
from engine.ssh.keys import ClientKey
from engine.support.bundle import Bundle
from engine.support.collect import Wanted, collect
from tests.console.test_attached import Engine, serving
from tests.console.world import ASSIGNED, MINER, NOW, miner_events
from tests.unit.test_record_export import record

PLANTED = ("hunter2", "SECRETTOKEN", "b3BlbnNzaC1rZXktdjEAAAAA", "correct horse battery", "s3cr3t-seed")
NAMES = ("gpu-house-1", ASSIGNED, MINER, "10.0.0.1", "rpc.example.com", "203.0.113.7", "alice", "rig-77")
CONFIG = """
[bittensor]
wallet_name = "w"
network = "local"
chain_endpoint = "file:{place}/chain.db"
fallback_endpoints = []
[engine]
data_dir = "{place}"
socket = "{place}/run/engine.sock"
[database]
url = "sqlite:{place}/miner.db"
[alerts]
urls = ["discord://4711/SECRETTOKEN", "mailto://alice:hunter2@rpc.example.com"]
[logging]
file = "{place}/engine.log"
[metrics]
enabled = false
[node_management]
nodes = [
  {{ host = "rig-77", port = 22, username = "alice" }},
  {{ host = "10.0.0.1", port = 22, username = "basilica" }},
]
[ssh_session]
miner_node_key_path = "{place}/node_key"
"""
LOG = """{"event": "login", "url": "wss://alice:hunter2@rpc.example.com/", "peer": "203.0.113.7:1"}
-----BEGIN OPENSSH PRIVATE KEY----- b3BlbnNzaC1rZXktdjEAAAAA -----END OPENSSH PRIVATE KEY-----
asked https://api.example.org/x?token=SECRETTOKEN about rig-77
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A miner's directory with a recording, a log, a crash report, and secrets everywhere."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "miner.toml").write_text(CONFIG.format(place=tmp_path))
    (tmp_path / "engine.log").write_text(LOG)
    (tmp_path / "node_key").write_text(
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{PLANTED[2]}\n-----END OPENSSH PRIVATE KEY-----\n"
    )
    (tmp_path / "node_key").chmod(0o600)
    record(tmp_path / "recording", miner_events())
    crashes = tmp_path / "state" / "basilica-tui"
    crashes.mkdir(parents=True)
    (crashes / "crash-20260921T141320Z.txt").write_text("KeyError at wss://alice:hunter2@rpc.example.com")
    yield tmp_path


def contents(path: Path) -> dict[str, str]:
    """Every file of a bundle; a recording as what is in it."""
    from tests.unit.test_record_export import raw_of

    found: dict[str, str] = {}
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            name = member.name.partition("/")[2]
            data = file.read()
            if name.endswith(".brec"):
                copy = path.parent / "copy.brec"
                copy.write_bytes(data)
                found[name] = raw_of(copy)
            else:
                found[name] = data.decode()
    return found


def bundle_of(place: Path, *options: str) -> tuple[dict[str, str], str]:
    target = place / "bundle.tar.gz"
    done = CliRunner().invoke(
        app, ["support-bundle", "-o", str(target), "--config", str(place / "miner.toml"), "--force", *options]
    )
    assert done.exit_code == 0, done.output
    assert target.stat().st_mode & 0o777 == 0o600
    return contents(target), done.output


def test_without_an_engine_it_has_the_rest_and_says_what_is_missing(place: Path) -> None:
    """Configuration, recording, log file, crash reports, diagnosis, versions; no secret and no name anywhere."""
    found, output = bundle_of(place)
    assert {"manifest.json", "versions.json", "config.txt", "recording.brec", "logfile.txt", "database.json",
            "diagnosis.json", "crash-20260921T141320Z.txt"} <= set(found)  # fmt: skip
    manifest = json.loads(found["manifest.json"])
    assert manifest["redacted"] is True
    assert any(note.startswith("engine: ") for note in manifest["notes"])
    assert "not in it: engine" in output
    whole = "\n".join(found.values())
    assert [secret for secret in PLANTED if secret in whole] == []
    assert [name for name in NAMES if name in whole] == []
    assert "alerts.urls = ********" in found["config.txt"]
    assert {e["name"] for e in manifest["entries"]} == set(found) - {"manifest.json"}


@pytest.mark.parametrize("words", [("support-bundle", "-o"), ("backup", "create")], ids=" ".join)
def test_no_pipe_and_no_device_is_replaced(place: Path, words: tuple[str, ...]) -> None:
    """Not even with --force: root would have a regular file where /dev/null was."""
    os.mkfifo(place / "pipe")
    options = ["--config", str(place / "miner.toml"), "--force"]
    done = CliRunner().invoke(app, [*words, str(place / "pipe"), *options], input="word\nword\n")
    assert "is no file" in f"{done.output} {done.exception}"
    assert done.exit_code != 0
    assert (place / "pipe").is_fifo()


def test_nobody_logs_in_on_nodes_unless_asked_to(place: Path) -> None:
    """Only --with-nodes calls the nodes; no log line stands before the summary."""
    ClientKey.generate().save(place / "key")
    with socket.create_server(("127.0.0.1", 0)) as node:
        text = (place / "miner.toml").read_text().replace("/node_key", "/key")
        nodes = f'nodes = [{{ host = "127.0.0.1", port = {node.getsockname()[1]}, username = "alice" }}]'
        (place / "miner.toml").write_text(re.sub(r"nodes = \[.*?\n\]", nodes, text, flags=re.DOTALL))
        _, output = bundle_of(place)
        assert output.startswith(str(place / "bundle.tar.gz"))
        assert not select.select([node], [], [], 0)[0]
        threading.Thread(target=_hang_up, args=(node,), daemon=True).start()
        found, output = bundle_of(place, "--with-nodes")
        assert output.startswith(str(place / "bundle.tar.gz"))
    assert "node.banner" in found["diagnosis.json"]


def _hang_up(node: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            node.accept()[0].close()


def test_a_configuration_that_cannot_be_used_is_in_it_as_written(place: Path) -> None:
    """The reason too, and no secret."""
    (place / "node_key").unlink()
    found, output = bundle_of(place)
    assert "ssh_session" in found["config-as-written.json"]
    assert "no such file" in output
    assert [secret for secret in (*PLANTED, "alice", "rig-77") if secret in "\n".join(found.values())] == []


def test_without_redaction_secrets_are_masked_all_the_same(place: Path) -> None:
    """Names stay readable, keys and passwords do not."""
    found, output = bundle_of(place, "--no-redact")
    whole = "\n".join(found.values())
    assert "rig-77" in whole
    assert [secret for secret in PLANTED if secret in whole] == []
    assert "NOT redacted" in output


async def test_with_an_engine_its_state_and_log_are_in_it(place: Path) -> None:
    """One node stays one node through state, log and recording."""
    engine = Engine(place / "run" / "engine.sock")
    engine.logs.add(NOW, "error", "ssh to wss://alice:hunter2@rpc.example.com failed", {"node": "node-03"})
    bundle = Bundle(Pseudonyms(), redact=True)
    async with serving(engine):
        await collect(bundle, Wanted(None, None, place / "run" / "engine.sock", place / "none"), SystemClock())
    target = place / "live.tar.gz"
    bundle.write(target, NOW)
    found = contents(target)
    assert bundle.notes == []
    state = json.loads(found["engine.json"])
    assert len({node["id"] for node in state["nodes"]}) == 6
    assert state["engine"][0]["last_called_by"] in {s["id"] for s in state["sessions"]}
    label = json.loads(found["log.jsonl"].splitlines()[-1])["fields"]["node"]
    assert label in {node["label"] for node in state["nodes"]}
    whole = "\n".join(found.values())
    assert [s for s in (*PLANTED, *NAMES) if s in whole] == []


def test_without_anything_it_still_is_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration, no engine: versions, and why there is nothing more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BASILICA_CONFIG_PATH", raising=False)
    bundle = Bundle(Pseudonyms(), redact=True)
    asyncio.run(collect(bundle, Wanted(None, None, None, tmp_path / "none"), SystemClock()))
    assert [e.name for e in bundle.entries] == ["versions.json"]
    assert any("none is known to run here" in note for note in bundle.notes)
    with pytest.raises(SupportBundleFailed, match="cannot be written"):
        bundle.write(tmp_path / "no" / "where.tar.gz", NOW)


def test_a_name_that_gets_past_the_rules_keeps_the_whole_piece_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather a note than a leak."""
    bundle = Bundle(Pseudonyms(), redact=True)
    monkeypatch.setattr(Pseudonyms, "text", lambda self, text: text)
    bundle.add_text("log.txt", "a log", f"call of {ASSIGNED}")
    assert bundle.entries == ()
    assert bundle.notes == ["log.txt was left out: names would be left in it"]
