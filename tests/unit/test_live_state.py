"""The fold from events to live state, event by event."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest

from engine import events as ev
from engine.control.folds import FOLDS
from engine.control.folds.alerts import MAX_ALERTS
from engine.control.folds.verification import MAX_VERIFICATIONS
from engine.control.models import COLLECTIONS, view_from_json, view_to_json
from engine.control.state import LiveState
from engine.events import KINDS, Event

V1 = "5Validator1"
V2 = "5Validator2"

# --- builders: an event with everything plausible, changed where a case needs it ---------------------------------


def authenticated(at: float = 10.0, hotkey: str = V1) -> ev.ValidatorAuthenticated:
    return ev.ValidatorAuthenticated(
        at=at, validator_hotkey=hotkey, uid=3, stake_tao=5.5, dialect="A", peer="192.0.2.1:5", expires_at=at + 3600
    )


def discovered(at: float = 11.0, *, assigned: bool = True, ready: int = 2, hotkey: str = V1) -> ev.DiscoveryAnswered:
    return ev.DiscoveryAnswered(
        at=at,
        validator_hotkey=hotkey,
        dialect="A",
        peer="192.0.2.1:5",
        assigned=assigned,
        nodes_ready=ready,
        nodes_failed=1,
        duration_ms=12.0,
        key_fingerprint="SHA256:k",
        access_until=at + 3600,
    )


def ended(at: float = 20.0) -> ev.SessionEnded:
    return ev.SessionEnded(at=at, validator_hotkey=V1, reason="expired")


def session_restored(access_until: float | None) -> ev.SessionRestored:
    return ev.SessionRestored(
        at=1.0,
        validator_hotkey=V1,
        uid=3,
        stake_tao=5.5,
        dialect="A",
        peer="p",
        authenticated_at=0.5,
        token_expires_at=3_600.5,
        last_discovery_at=0.6,
        access_until=access_until,
        nodes_ready=2,
        nodes_failed=0,
        key_fingerprint="SHA256:k",
    )


def assignment(hotkey: str, strategy: str = "highest_stake", at: float = 5.0) -> ev.AssignmentChanged:
    return ev.AssignmentChanged(
        at=at, strategy=strategy, validator_hotkey=hotkey, uid=3, stake_tao=9.0, reason="most stake"
    )


def granted(grant: str, node: str = "n1") -> ev.GrantWritten:
    return ev.GrantWritten(
        at=1.0,
        grant_id=grant,
        node_id=node,
        validator_hotkey=V1,
        key_fingerprint="SHA256:k",
        expires_at=99.0,
        renewed=False,
    )


def restored(grant: str = "g1", *, in_place: bool = False, expires_at: float = 99.0) -> ev.GrantRestored:
    return ev.GrantRestored(
        at=1.0, grant_id=grant, node_id="n1", validator_hotkey=V1, expires_at=expires_at, is_in_place=in_place
    )


def grant_over(grant: str, node: str = "n1") -> ev.GrantEnded:
    return ev.GrantEnded(at=2.0, grant_id=grant, node_id=node, validator_hotkey=V1, reason="expired")


def deployed(grant: str, node: str = "n1", *, renewed: bool = False) -> ev.KeyDeployed:
    return ev.KeyDeployed(
        at=2.0,
        grant_id=grant,
        node_id=node,
        validator_hotkey=V1,
        expires_at=99.0,
        expiry_form="utc",
        renewed=renewed,
    )


def removed(grant: str, node: str = "n1") -> ev.KeyRemoved:
    return ev.KeyRemoved(at=3.0, grant_id=grant, node_id=node, validator_hotkey=V1, reason="expired")


def key_failed(node: str = "n1") -> ev.KeyFailed:
    return ev.KeyFailed(
        at=4.0, node_id=node, operation="deploy", error_code="ssh_timeout", message="no answer", hint="look at the node"
    )


def added(node: str = "n1") -> ev.NodeAdded:
    return ev.NodeAdded(at=0.5, node_id=node, label="rack 1", host="192.0.2.7", port=2222, username="basilica")


def checked(at: float = 6.0, *, node: str = "n1", ok: bool = True) -> ev.NodeChecked:
    if not ok:
        return ev.NodeChecked(
            at=at,
            node_id=node,
            ok=False,
            latency_ms=5.0,
            error_code="ssh_refused",
            message="refused",
            hint="start sshd",
        )
    return ev.NodeChecked(
        at=at,
        node_id=node,
        ok=True,
        latency_ms=5.0,
        gpu_model="H100",
        gpu_count=8,
        gpu_memory_mib=81_559,
        gpu_uuids=("GPU-1", "GPU-2"),
        driver="550.1",
        cuda="12.8",
        utilisation_percent=40.0,
        temperature_c=60.0,
        sshd_version="OpenSSH_9.2",
        clock_skew_s=0.1,
    )


def state_changed(new: str, reason: str = "", node: str = "n1") -> ev.NodeStateChanged:
    return ev.NodeStateChanged(at=7.0, node_id=node, old="unknown", new=new, reason=reason)


def key_changed() -> ev.HostKeyChanged:
    return ev.HostKeyChanged(at=8.0, node_id="n1", pinned="SHA256:old", presented="SHA256:new")


def raised(alert: str = "a1", at: float = 1.0) -> ev.AlertRaised:
    return ev.AlertRaised(at=at, alert_id=alert, level="error", subject="node n1", message="down", hint="look")


def verified(*, ok: bool = True, node: str = "n1") -> ev.NodeVerified:
    return ev.NodeVerified(
        at=3.0,
        verification_id="v",
        miner_hotkey="5Miner",
        miner_uid=7,
        node_id=node,
        endpoint="192.0.2.7:22",
        tier="lightweight",
        ok=ok,
        duration_ms=9.0,
        gpu_model="H100" if ok else "",
        message="" if ok else "no GPU",
    )


def started(service: str = "door") -> ev.ServiceStarted:
    return ev.ServiceStarted(at=1.0, service=service)


def crashed() -> ev.ServiceCrashed:
    return ev.ServiceCrashed(at=2.0, service="door", error="port taken", retry_in_s=4.0)


def metagraph() -> ev.MetagraphRead:
    return ev.MetagraphRead(
        at=5.0,
        netuid=39,
        block=77,
        neurons=9,
        validators=2,
        own_uid=117,
        own_stake_tao=1.5,
        own_incentive=0.03,
        own_emission=0.2,
    )


def chain_failed() -> ev.ChainFailed:
    return ev.ChainFailed(at=4.0, operation="metagraph", error="timeout", metagraph_age_s=12.0)


# --- what each sequence of events leaves behind: (collection, id, fields) -----------------------------------------

CASES: dict[str, tuple[list[Event], str, str, dict[str, object]]] = {
    "an engine that starts": (
        [
            ev.EngineStarted(
                at=1.0,
                role="miner",
                name="gpu-house",
                build="0.1.0",
                hotkey="5Me",
                network="finney",
                netuid=39,
                compressed_time=True,
            )
        ],
        "engine",
        "engine",
        {
            "role": "miner",
            "name": "gpu-house",
            "hotkey": "5Me",
            "netuid": 39,
            "started_at": 1.0,
            "compressed_time": True,
        },
    ),
    "an engine that stops": ([ev.EngineStopping(at=1.0, reason="signal")], "engine", "engine", {"stopping": True}),
    "a service that starts": ([started()], "services", "door", {"state": "running", "since": 1.0, "restarts": 0}),
    "a service that crashes": (
        [started(), crashed()],
        "services",
        "door",
        {"state": "restarting", "last_error": "port taken", "retry_at": 6.0},
    ),
    "a service that comes back": (
        [started(), crashed(), started()],
        "services",
        "door",
        {"state": "running", "restarts": 1, "retry_at": None, "last_error": "port taken"},
    ),
    "a service that stops": ([ev.ServiceStopped(at=3.0, service="door")], "services", "door", {"state": "stopped"}),
    "a metagraph": (
        [chain_failed(), metagraph()],
        "engine",
        "engine",
        {"block": 77, "metagraph_at": 5.0, "uid": 117, "stake_tao": 1.5, "incentive": 0.03, "chain_error": ""},
    ),
    "a chain that fails keeps what was known": (
        [metagraph(), chain_failed()],
        "engine",
        "engine",
        {"block": 77, "uid": 117, "chain_error": "metagraph: timeout"},
    ),
    "an axon that was looked up": (
        [ev.AxonChecked(at=1.0, on_chain="192.0.2.1:80", bound="0.0.0.0:80", advertised="192.0.2.2:80")],
        "engine",
        "engine",
        {"axon_on_chain": "192.0.2.1:80", "axon_bound": "0.0.0.0:80", "axon_advertised": "192.0.2.2:80"},
    ),
    "an axon that was served": (
        [ev.AxonServed(at=1.0, endpoint="192.0.2.2:80")],
        "engine",
        "engine",
        {"axon_on_chain": "192.0.2.2:80"},
    ),
    "an assignment": (
        [assignment(V1)],
        "engine",
        "engine",
        {"assigned_hotkey": V1, "assigned_uid": 3, "assigned_stake_tao": 9.0, "assigned_since": 5.0},
    ),
    "an assignment that is only confirmed keeps its age": (
        [assignment(V1, at=5.0), assignment(V1, at=600.0)],
        "engine",
        "engine",
        {"assigned_since": 5.0},
    ),
    "an assignment marks the session that it is for": (
        [authenticated(), assignment(V1)],
        "sessions",
        V1,
        {"assigned": True},
    ),
    "an assignment to another takes the mark away": (
        [assignment(V1), authenticated(), assignment(V2)],
        "sessions",
        V1,
        {"assigned": False},
    ),
    "open access is for everybody": ([assignment("", "open"), authenticated()], "sessions", V1, {"assigned": True}),
    "an authentication": (
        [authenticated()],
        "sessions",
        V1,
        {"state": "authenticated", "uid": 3, "stake_tao": 5.5, "authenticated_at": 10.0, "token_expires_at": 3610.0},
    ),
    "an authentication shows that validators reach us": (
        [authenticated()],
        "engine",
        "engine",
        {"last_called_at": 10.0, "last_called_by": V1},
    ),
    "a discovery with nodes opens access": (
        [authenticated(), discovered()],
        "sessions",
        V1,
        {"state": "active", "nodes_ready": 2, "nodes_failed": 1, "access_until": 3611.0, "key_fingerprint": "SHA256:k"},
    ),
    "a discovery without nodes does not": (
        [authenticated(), discovered(ready=0)],
        "sessions",
        V1,
        {"state": "authenticated"},
    ),
    "a discovery by another than the assigned one does not": (
        [authenticated(), discovered(assigned=False)],
        "sessions",
        V1,
        {"state": "authenticated", "assigned": False},
    ),
    "a second authentication keeps access open": (
        [authenticated(), discovered(), authenticated(at=610.0)],
        "sessions",
        V1,
        {"state": "active", "authenticated_at": 610.0},
    ),
    "a changed key": (
        [ev.ValidatorKeyChanged(at=1.0, validator_hotkey=V1, old_fingerprint="a", new_fingerprint="b")],
        "sessions",
        V1,
        {"key_fingerprint": "b"},
    ),
    "a session that ends": (
        [authenticated(), discovered(), ended()],
        "sessions",
        V1,
        {"state": "ended", "ended_at": 20.0, "end_reason": "expired", "access_until": None},
    ),
    "a session of an earlier run with access": (
        [session_restored(access_until=3_600.0)],
        "sessions",
        V1,
        {"state": "active", "authenticated_at": 0.5, "last_discovery_at": 0.6, "nodes_ready": 2},
    ),
    "a session of an earlier run without access": (
        [session_restored(access_until=None)],
        "sessions",
        V1,
        {"state": "authenticated"},
    ),
    "a session of an earlier run shows when validators last reached us": (
        [session_restored(access_until=None)],
        "engine",
        "engine",
        {"last_called_at": 0.6, "last_called_by": V1},
    ),
    "a validator that comes back after its end begins anew": (
        [authenticated(), discovered(), ended(), authenticated(at=30.0)],
        "sessions",
        V1,
        {"state": "authenticated", "nodes_ready": 0, "ended_at": None, "end_reason": ""},
    ),
    "a node": (
        [added()],
        "nodes",
        "n1",
        {"label": "rack 1", "host": "192.0.2.7", "port": 2222, "username": "basilica", "state": "unknown"},
    ),
    "a check that passes": (
        [added(), checked()],
        "nodes",
        "n1",
        {"gpu_model": "H100", "gpu_count": 8, "gpu_uuids": ("GPU-1", "GPU-2"), "checks_ok": 1, "recent_checks": (1,)},
    ),
    "a check that fails keeps what the node is and drops what it does": (
        [checked(), checked(at=9.0, ok=False)],
        "nodes",
        "n1",
        {
            "gpu_model": "H100",
            "utilisation_percent": None,
            "checks_total": 2,
            "checks_ok": 1,
            "recent_checks": (1, 0),
            "reason": "refused",
            "hint": "start sshd",
            "last_trouble": "refused",
            "last_trouble_at": 9.0,
        },
    ),
    "a check that passes again clears the reason and keeps the trouble": (
        [checked(ok=False), checked(at=9.0)],
        "nodes",
        "n1",
        {"reason": "", "hint": "", "last_trouble": "refused", "last_trouble_at": 6.0, "state": "unknown"},
    ),
    "only a state change changes the state": (
        [checked(ok=False), state_changed("unhealthy", "3 checks failed")],
        "nodes",
        "n1",
        {"state": "unhealthy", "reason": "3 checks failed", "last_trouble": "3 checks failed"},
    ),
    "a node that recovers": (
        [state_changed("unhealthy", "down"), state_changed("healthy", "answers")],
        "nodes",
        "n1",
        {"state": "healthy", "reason": "", "last_trouble": "down"},
    ),
    "a grant that is written": ([granted("g1"), granted("g2")], "nodes", "n1", {"keys_wanted": 2, "keys_in_place": 0}),
    "a grant that is written twice counts once": ([granted("g1"), granted("g1")], "nodes", "n1", {"keys_wanted": 1}),
    "a key in place": ([granted("g1"), deployed("g1")], "nodes", "n1", {"keys_wanted": 1, "keys_in_place": 1}),
    "a key in place of an unseen grant": ([deployed("g1")], "nodes", "n1", {"keys_wanted": 1, "keys_in_place": 1}),
    "a grant that ended, its key still there": (
        [granted("g1"), deployed("g1"), grant_over("g1")],
        "nodes",
        "n1",
        {"keys_wanted": 0, "keys_in_place": 1},
    ),
    "a grant of an earlier run": (
        [restored(), restored("g2", in_place=True)],
        "nodes",
        "n1",
        {"keys_wanted": 2, "keys_in_place": 1},
    ),
    "an expired grant of an earlier run, its key still there": (
        [restored(expires_at=0.5, in_place=True)],
        "nodes",
        "n1",
        {"keys_wanted": 0, "keys_in_place": 1},
    ),
    "a key that is gone": (
        [granted("g1"), deployed("g1"), grant_over("g1"), removed("g1")],
        "nodes",
        "n1",
        {"keys_wanted": 0, "keys_in_place": 0},
    ),
    "a key that failed": (
        [key_failed()],
        "nodes",
        "n1",
        {"key_error": "no answer", "hint": "look at the node", "last_trouble": "no answer"},
    ),
    "a key that works clears the error": ([key_failed(), deployed("g1")], "nodes", "n1", {"key_error": ""}),
    "foreign keys": (
        [ev.ForeignKeysSeen(at=1.0, node_id="n1", operator_keys=3, leftovers=2, orphans=1)],
        "nodes",
        "n1",
        {"operator_keys": 3, "leftovers": 2, "orphans": 1},
    ),
    "a pinned host key": (
        [ev.HostKeyPinned(at=1.0, node_id="n1", fingerprint="SHA256:old")],
        "nodes",
        "n1",
        {"host_key_fingerprint": "SHA256:old"},
    ),
    "a changed host key stops the node": (
        [key_changed()],
        "nodes",
        "n1",
        {
            "state": "stopped",
            "reason": "host key changed",
            "host_key_fingerprint": "SHA256:old",
            "host_key_presented": "SHA256:new",
            "last_trouble": "host key changed",
        },
    ),
    "an accepted host key": (
        [key_changed(), ev.HostKeyAccepted(at=9.0, node_id="n1", fingerprint="SHA256:new", actor="root")],
        "nodes",
        "n1",
        {"state": "unknown", "reason": "", "host_key_fingerprint": "SHA256:new", "host_key_presented": ""},
    ),
    "an alert": ([raised()], "alerts", "a1", {"level": "error", "message": "down", "active": True, "began_at": 1.0}),
    "an alert raised again keeps its beginning": ([raised(), raised(at=9.0)], "alerts", "a1", {"began_at": 1.0}),
    "an alert that is over": (
        [raised(), ev.AlertCleared(at=5.0, alert_id="a1")],
        "alerts",
        "a1",
        {"active": False, "ended_at": 5.0},
    ),
    "an alert that comes back begins anew": (
        [raised(), ev.AlertCleared(at=5.0, alert_id="a1"), raised(at=9.0)],
        "alerts",
        "a1",
        {"active": True, "began_at": 9.0, "ended_at": None},
    ),
    "a miner on chain": (
        [ev.MinerDiscovered(at=1.0, hotkey="5Miner", uid=7, endpoint="192.0.2.9:80")],
        "miners",
        "5Miner",
        {"state": "discovered", "uid": 7, "endpoint": "192.0.2.9:80"},
    ),
    "a miner that answers": (
        [ev.MinerAnswered(at=2.0, hotkey="5Miner", uid=7, dialect="B", nodes=4, duration_ms=3.0)],
        "miners",
        "5Miner",
        {"state": "answered", "nodes": 4, "dialect": "B", "last_answer_at": 2.0},
    ),
    "a miner that fails": (
        [ev.MinerFailed(at=2.0, hotkey="5Miner", uid=7, stage="authenticate", error_code="x", message="refused")],
        "miners",
        "5Miner",
        {"state": "failed", "last_error": "authenticate: refused", "last_error_at": 2.0},
    ),
    "a verification that passes": (
        [verified()],
        "verifications",
        "5Miner/n1",
        {"state": "passed", "passed": 1, "failed": 0, "gpu_model": "H100", "message": ""},
    ),
    "a verification that fails": (
        [verified(), verified(ok=False)],
        "verifications",
        "5Miner/n1",
        {"state": "failed", "passed": 1, "failed": 1, "gpu_model": "H100", "message": "no GPU"},
    ),
    "a verification by an earlier run is shown and not counted": (
        [ev.VerificationRestored(**dataclasses.asdict(verified()))],
        "verifications",
        "5Miner/n1",
        {"state": "passed", "passed": 0, "at": 3.0},
    ),
    "access that is lost": (
        [verified(), ev.AccessLost(at=9.0, miner_hotkey="5Miner", node_id="n1", endpoint="e", after_s=30.0)],
        "verifications",
        "5Miner/n1",
        {"state": "access_lost", "at": 9.0},
    ),
}


def fold(sequence: Iterable[Event]) -> LiveState:
    state = LiveState()
    for event in sequence:
        state.apply(event)
    return state


@pytest.mark.parametrize("name", CASES)
def test_events_leave_the_state_that_they_describe(name: str) -> None:
    """After a sequence of events the object that they are about has exactly the fields that they say."""
    sequence, collection, view_id, fields = CASES[name]
    view = fold(sequence).view(collection, view_id)
    assert view is not None
    assert {field: getattr(view, field) for field in fields} == fields


@pytest.mark.parametrize("name", CASES)
def test_the_last_event_says_what_it_touched(name: str) -> None:
    """What changed in a view is announced by ``apply``, so that watchers miss nothing."""
    sequence = CASES[name][0]
    state = fold(sequence[:-1])
    before = {(c, i): view_to_json(v) for c, views in state.collections().items() for i, v in views.items()}
    touched = state.apply(sequence[-1])
    after = {(c, i): view_to_json(v) for c, views in state.collections().items() for i, v in views.items()}
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed <= touched
    assert touched <= before.keys() | after.keys()


def example(cls: type[Event]) -> Event:
    """Any event of a class, filled by the types of its fields."""
    samples: dict[str, object] = {"str": "x", "int": 1, "float": 1.0, "bool": True, "tuple[str, ...]": ("x",)}
    values = {f.name: samples[str(f.type).removesuffix(" | None")] for f in dataclasses.fields(cls)}
    return cls(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_event_may_be_the_first(kind: str) -> None:
    """A recording may start in the middle: any event can be folded into an empty state."""
    state = LiveState()
    for collection, view_id in state.apply(example(KINDS[kind])):
        assert collection in COLLECTIONS
        assert isinstance(view_id, str)


def test_only_audit_events_leave_no_trace() -> None:
    """Every kind of event has a folding rule except those that are for the audit log alone."""
    assert set(KINDS.values()) - set(FOLDS) == {ev.OperatorActed, ev.GrantsFileMoved}


def test_counters_count_each_thing_once() -> None:
    """Renewals, confirmations and repeated endings do not count twice."""
    refused = ev.CallRefused(
        at=1.0, call="auth", validator_hotkey=V1, dialect="A", peer="p", status="UNAUTHENTICATED", reason="bad"
    )
    lost = ev.AccessLost(at=9.0, miner_hotkey="m", node_id="n1", endpoint="e", after_s=1.0)
    sessions = [authenticated(), authenticated(), refused, discovered(), discovered(at=12.0), ended(), ended(at=21.0)]
    keys = [deployed("g1"), deployed("g1", renewed=True), removed("g1")]
    state = fold([*sessions, *keys, verified(), verified(ok=False), lost])
    assert state.counters == {
        "authentications": 2,
        "refusals": 1,
        "sessions_opened": 1,
        "sessions_ended": 1,
        "keys_deployed": 1,
        "keys_removed": 1,
        "verifications": 2,
        "verifications_failed": 1,
        "access_lost": 1,
    }


def test_a_refused_call_proves_nothing() -> None:
    """A refused caller only claims its hotkey, so it gets no session and does not count as having reached us."""
    refused = ev.CallRefused(at=1.0, call="auth", validator_hotkey=V1, dialect="A", peer="p", status="X", reason="bad")
    state = fold([refused])
    assert state.sessions == {}
    assert state.engine.last_called_at is None


def test_a_removed_node_stays_away() -> None:
    """Late events of a node that left do not bring it back; adding it again does."""
    state = fold([added(), granted("g1"), ev.NodeRemoved(at=2.0, node_id="n1")])
    for late in (checked(), state_changed("healthy"), removed("g1"), key_failed(), key_changed()):
        state.apply(late)
    assert state.nodes == {}
    state.apply(added())
    assert state.nodes["n1"].keys_wanted == 0


def test_sixty_checks_are_remembered() -> None:
    """Older results of checks make room; the counts go on."""
    state = fold(checked(at=float(n), ok=n % 2 == 0) for n in range(75))
    node = state.nodes["n1"]
    assert (len(node.recent_checks), node.recent_checks[-2:], node.checks_total) == (60, (0, 1), 75)


def test_what_others_can_multiply_is_bounded() -> None:
    """Ids that come from outside cannot grow the state without end; what was dropped is announced."""
    state = LiveState()
    touched: set[tuple[str, str]] = set()
    for number in range(MAX_VERIFICATIONS + 3):
        touched |= state.apply(verified(node=f"n{number}"))
    assert len(state.verifications) == MAX_VERIFICATIONS
    assert "5Miner/n0" not in state.verifications
    assert ("verifications", "5Miner/n0") in touched


def test_old_alerts_make_room_before_active_ones() -> None:
    """An alert that still holds is kept however many came after it."""
    state = fold([raised("first")])
    for number in range(MAX_ALERTS + 5):
        state.apply(raised(f"a{number}"))
        state.apply(ev.AlertCleared(at=2.0, alert_id=f"a{number}"))
    assert len(state.alerts) == MAX_ALERTS
    assert state.alerts["first"].active


def test_views_survive_the_way_over_json() -> None:
    """A view is the same after becoming JSON and back, and fields of a newer engine are left out."""
    view = fold([added(), checked()]).nodes["n1"]
    data = view_to_json(view) | {"from_the_future": 1, "gpu_uuids": ["GPU-1", "GPU-2"]}
    assert view_from_json(type(view), data) == view


def test_a_session_says_how_long_its_certificates_hold_and_forgets_it_with_the_next_key() -> None:
    """The operator sees who enters by certificate; a discovery that brought a key line, or the end, takes it away."""
    state = LiveState()
    issued = ev.CertificateIssued(
        at=1.0, grant_id="g", node_id="n", validator_hotkey=V1, serial="7", key_id="k", expires_at=3601.0
    )
    answered = ev.DiscoveryAnswered(
        at=1.0, validator_hotkey=V1, dialect="B", peer="p", assigned=True, nodes_ready=1, nodes_failed=0,
        duration_ms=1.0, key_fingerprint="f", access_until=3601.0,
    )  # fmt: skip
    for event in (issued, answered):
        state.apply(event)
    assert state.sessions[V1].certified_until == 3601.0
    state.apply(dataclasses.replace(answered, at=9.0, access_until=3609.0))
    assert state.sessions[V1].certified_until is None
