"""Recordings made fit to be shared: stand-ins for names, the same everywhere, and nothing of a name left."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from basilica_tui.cli import app
from basilica_tui.cli_times import time_of
from engine import events as ev
from engine.control.state import LiveState
from engine.errors import RecordingUnreadable, RedactionFailed
from engine.events import Event
from engine.recording.blocks import headers, read_block
from engine.recording.export import export_recording
from engine.recording.keyframes import event_line, keyframe_of
from engine.recording.player import Player
from engine.recording.pseudonyms import Pseudonyms
from engine.recording.reader import open_recording
from engine.recording.segments import Limits, Lines, Segments
from tests.console.world import ASSIGNED, MINER, NOW, OTHER, miner_events, node_id, validator_events

BEGIN = NOW - 7300.0


def record(directory: Path, events: list[Event]) -> Path:
    """Two segments: the second begins with a keyframe of everything."""
    ordered = sorted((e for e in events if e.at >= BEGIN), key=lambda event: event.at)
    writer, state = Segments(directory, Limits(1e9, 10**9, 0)), LiveState()
    half = len(ordered) // 2
    for part in (ordered[:half], ordered[half:]):
        at = part[0].at - 1
        writer.begin(json.dumps(keyframe_of(state, at), default=str).encode(), at)
        writer.append(Lines(tuple(map(event_line, part)), part[0].at, part[-1].at, has_trouble=True))
        for event in part:
            state.apply(event)
    writer.close()
    return directory


def raw_of(path: Path) -> str:
    """Everything in the file, unpacked."""
    recording = open_recording(path)
    try:
        lines = [json.dumps(recording.keyframe(c)) for c in recording.chapters]
        lines += [json.dumps(r) for r in recording.all_records()]
    finally:
        recording.close()
    return "\n".join(lines)


TALK = ev.OperatorActed(at=NOW - 50, actor="alice (pid 77)", verb="node.check", target=node_id(3), outcome="done")
DRIFT = ev.DriftSeen(
    at=NOW - 40, node_id=node_id(1), count=1, lines=("SHA256:" + "q" * 43 + " ssh-ed25519 bob@laptop.example.org",)
)
FAILED = ev.KeyFailed(
    at=NOW - 30, node_id=node_id(4), operation="deploy", error_code="ssh_refused",
    message="carol@rig-9.example.net:22 [2001:db8::42] refused from /home/alice/.ssh, see wss://alice:pw@rpc.example.com/x",
    hint="gpu-house-1 cannot reach node-04 at 10.0.0.4",
)  # fmt: skip


@pytest.mark.parametrize(
    "world", [[*miner_events(with_ramp=True), TALK, DRIFT, FAILED], validator_events()], ids=["miner", "validator"]
)
def test_no_name_survives_in_the_bytes(tmp_path: Path, world: list[Event]) -> None:
    """Neither packed nor unpacked is any address, hotkey, host, user, label or id of the original to be found."""
    recording = open_recording(record(tmp_path / "r", world))
    original = raw_of(tmp_path / "r")
    target = tmp_path / "shared.brec"
    done = export_recording(recording, target)
    shared = raw_of(target)
    packed = target.read_bytes().decode("latin-1")
    secrets = {ASSIGNED, OTHER, MINER, "alice", "bob@", "laptop.example.org", "rig-9.example.net", "2001:db8::42",
               "gpu-house-1", "rpc.example.com", "val-1", "203.0.113.7", "203.0.113.8", "198.51.100.20"}  # fmt: skip
    secrets |= {node_id(n) for n in range(1, 7)} | {f"10.0.0.{n}" for n in range(1, 7)}
    secrets |= {f"node-{n:02d}" for n in range(1, 7)} | {"SHA256:" + "q" * 43, "SHA256:" + "a" * 43}
    present = {s for s in secrets if s in original}
    assert len(present) >= 5
    assert {s for s in present if s in shared or s in packed} == set()
    assert done.hotkeys >= 2
    assert done.addresses >= 1
    recording.close()


def test_one_node_stays_one_node(tmp_path: Path) -> None:
    """What happened can still be told: states, counts and who did what to whom, under other names."""
    recording = open_recording(record(tmp_path / "r", [*miner_events(), TALK]))
    target = tmp_path / "shared.brec"
    export_recording(recording, target)
    shared = open_recording(target)
    first, second = Player(recording), Player(shared)
    for player in (first, second):
        player.seek(NOW)
    assert len(first.recording.chapters) == len(second.recording.chapters) == 2

    def shape(player: Player) -> list[tuple[object, ...]]:
        nodes = [(n.state, n.checks_total, n.keys_in_place, n.gpu_model) for n in player.state.nodes.values()]
        sessions = [(s.state, s.nodes_ready) for s in player.state.sessions.values()]
        return sorted(nodes, key=str) + sorted(sessions, key=str)

    assert shape(first) == shape(second)
    labels = [n.label for n in second.state.nodes.values()]
    assert len(set(labels)) == 6
    assert second.state.engine.last_called_by in second.state.sessions
    stopped = next(n for n in second.state.nodes.values() if n.state == "stopped")
    alert = next(a for a in second.state.alerts.values() if a.message == "host key changed")
    assert alert.subject == stopped.label
    assert second.state.engine.uid not in (None, 117)
    recording.close()
    shared.close()


def test_a_span_begins_with_what_was_known_then(tmp_path: Path) -> None:
    """Only that time is in the file, and its first moment is complete."""
    recording = open_recording(record(tmp_path / "r", miner_events()))
    target = tmp_path / "part.brec"
    export_recording(recording, target, begins_at=NOW - 600, ends_at=NOW - 100, redact=False)
    part, whole = Player(open_recording(target)), Player(recording)
    assert (part.begins_at, part.recording.ends_at <= NOW - 100) == (NOW - 600, True)
    for at in (NOW - 600, NOW - 300, NOW - 100):
        part.seek(at)
        whole.seek(at)
        assert part.state.nodes == whole.state.nodes
        assert part.state.sessions == whole.state.sessions
    recording.close()


CASES = [
    ("door 203.0.113.7:8080 open", r"door 198\.18\.0\.1:8080 open"),
    ("127.0.0.1 and 0.0.0.0 stay", r"127\.0\.0\.1 and 0\.0\.0\.0 stay"),
    (f"validator {ASSIGNED} in", r"validator 5Redactedx+0001 in"),
    ("root@gpu9:22", r"user-1@host-1:22"),
    ("from 2001:db8::1 port 22", r"from fd00::1 port 22"),
    ("at 12:30:45 on 2026-11-20", "at 12:30:45 on 2026-11-20"),
    ("GPU-ab12cd34-0000-1111-2222-333344445555 hot", r"GPU-00000000-0000-4000-8000-000000000001 hot"),
    ("miner.toml and engine.db and node.checked", "miner.toml and engine.db and node.checked"),
    ("rig.example.com is down", "host-1 is down"),
    ("driver 570.86.15, OpenSSH_9.6, CUDA 12.8", "driver 570.86.15, OpenSSH_9.6, CUDA 12.8"),
    ("assigned (uid: 117)", r"assigned \(uid: 1\)"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----", r"\[hidden\]"),
    ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me@there", r"\[public key 1\]"),
    ("wss://u:p@host.example/x?token=1", "wss://url-1"),
    ("/home/alice/miner", "/home/user-1/path-1"),
    ("/home/alice/.ssh/authorized_keys is 0644", "/home/user-1/.ssh/authorized_keys is 0644"),
    ("key /srv/acme/keys/node_ed25519: denied", "key /path-1: denied"),
    ("~/.bittensor/wallets/acme/hotkeys/one and ~/.ssh/authorized_keys", "/path-1 and ~/.ssh/authorized_keys"),
    ("1/2 nodes, 3/4/5 keys, /etc/ssh/sshd_config", "1/2 nodes, 3/4/5 keys, /etc/ssh/sshd_config"),
]


@pytest.mark.parametrize(("text", "wanted"), CASES, ids=[str(n) for n in range(len(CASES))])
def test_names_are_known_by_their_form(text: str, wanted: str) -> None:
    """Sentences keep their meaning and lose their names."""
    assert re.fullmatch(wanted, Pseudonyms().text(text))


def test_a_leak_stops_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a name get past all rules, nothing is written."""
    recording = open_recording(record(tmp_path / "r", miner_events()))
    monkeypatch.setattr(Pseudonyms, "value", lambda self, value, field="": value)
    with pytest.raises(RedactionFailed, match="would still be in a line"):
        export_recording(recording, tmp_path / "shared.brec")
    assert [p.name for p in tmp_path.iterdir()] == ["r"]
    recording.close()


def test_the_command_line_exports_and_describes(tmp_path: Path) -> None:
    """``record export`` and ``record info`` in words and as JSON; mistakes are sentences."""
    place, out = record(tmp_path / "r", miner_events()), tmp_path / "shared.brec"
    run = CliRunner()
    done = run.invoke(app, ["record", "export", "-o", str(out), str(place)])
    assert done.exit_code == 0, done.output
    assert "were replaced by stand-ins" in done.output
    assert out.stat().st_mode & 0o777 == 0o600
    again = run.invoke(app, ["record", "export", "-o", str(out), str(place)])
    assert (again.exit_code, "exists" in again.output) == (2, True)
    info = json.loads(run.invoke(app, ["record", "info", str(out), "--json"]).output)
    assert (info["redacted"], info["damaged"], info["keyframes"]) == (True, 0, 2)
    assert "stand-ins" in run.invoke(app, ["record", "info", str(out)]).output
    os.mkfifo(tmp_path / "pipe")
    pipe = run.invoke(app, ["record", "export", "-o", str(tmp_path / "pipe"), str(place), "--force"])
    assert isinstance(pipe.exception, RecordingUnreadable)
    assert (tmp_path / "pipe").is_fifo()
    bad = run.invoke(app, ["record", "export", "-o", str(tmp_path / "x"), str(place), "--since", "soon"])
    assert (bad.exit_code, "is no time" in bad.output) == (2, True)
    late = run.invoke(app, ["replay", str(place), "--since", "2040-01-01"])
    assert (late.exit_code, "nothing is recorded of that time" in late.output) == (2, True)
    none = run.invoke(app, ["replay", str(tmp_path / "missing.brec")])
    assert none.exit_code != 0


def test_a_configuration_names_its_recording_before_and_behind_the_verb(tmp_path: Path) -> None:
    """``--config`` counts in both places, as with every other verb."""
    place = record(tmp_path / "data" / "recording", miner_events())
    config = tmp_path / "validator.toml"
    config.write_text(f'[engine]\ndata_dir = "{place.parent}"\n')
    run = CliRunner()
    wanted = json.loads(run.invoke(app, ["record", "info", str(place), "--json"]).output)
    for words in (["--config", str(config), "record", "info"], ["record", "info", "--config", str(config)]):
        done = run.invoke(app, [*words, "--json"])
        assert json.loads(done.output) == wanted, words


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("now", NOW), ("2h ago", NOW - 7200), ("30m", NOW - 1800), ("1.5d", NOW - 129_600), ("soon", None), ("", None),
     ("2026-09-21T14:00:00Z", NOW - 800), ("2026-09-21T16:00:00+02:00", NOW - 800)],
)  # fmt: skip
def test_times_on_the_command_line(text: str, wanted: float | None) -> None:
    """Ages and ISO 8601."""
    assert time_of(text, NOW) == wanted


def test_a_time_of_day_is_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """In local time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert (time_of("14:00", NOW), time_of("15:00", NOW)) == (NOW - 800, NOW - 83_600)
    monkeypatch.undo()
    time.tzset()


def test_every_block_of_an_export_stands_by_itself(tmp_path: Path) -> None:
    """The file is whole: each block's checksum holds."""
    recording = open_recording(record(tmp_path / "r", miner_events()))
    target = tmp_path / "shared.brec"
    export_recording(recording, target)
    with target.open("rb") as file:
        found = list(headers(file, target.stat().st_size))
        assert [h.kind for h in found] == [1, 2, 1, 2]
        assert b'"redacted":true' in read_block(file, found[0])
    recording.close()
