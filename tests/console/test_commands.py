"""The command line, the engine's actions, exports, settings and what is remembered: rules without a terminal."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from pathlib import Path

import pytest

from basilica_tui.actions import ACTIONS, find_action, for_rows, offered, parse_args, parse_seconds
from basilica_tui.columns import Query, named_column, select
from basilica_tui.commands import ActionCall, Vocabulary, completions, parse_command, unknown_command
from basilica_tui.config_table import config_rows
from basilica_tui.exports import export_path, export_problem, parse_export, table_text, write_export
from basilica_tui.filters import is_subsequence
from basilica_tui.format import Look
from basilica_tui.log_query import LogLines, LogQuery, find, parse_time
from basilica_tui.log_table import log_fields
from basilica_tui.node_table import NODES, keys_cell
from basilica_tui.panels.sentences import empty_table
from basilica_tui.preferences import Preferences, ViewPreferences, state_folder
from basilica_tui.scores_table import SCORES, effective_gpus, resets, what_if
from basilica_tui.screens.chooser import Choice, best_matches, with_letters
from basilica_tui.settings import load_settings
from basilica_tui.store import ConsoleStore
from basilica_tui.tables import item_words
from engine.control.client import Snapshot
from engine.control.models import EngineView, LogRecord, NodeView
from tests.console.world import NOW, some_logs
from tests.support.registered import registered_actions

LOOK = Look(NOW)
WORDS = Vocabulary("miner", None, {"nodes": {"node-01": "id1", "node-02": "id2"}}, {"theme": ("dark", "light")})


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("node.ch", "node.check"),
        ("node.check n", "node.check node-01"),
        ("node.check node-02", "node.check node-02"),
        ("alert.silence a1 1", "alert.silence a1 1d"),
        ("theme l", "theme light"),
        ("engine s", "engine stop"),
    ],
)
def test_lines_are_completed_with_what_is_there_now(typed: str, line: str) -> None:
    """Commands, verbs, and arguments by the names of the fleet."""
    assert line in completions(typed, vocabulary=WORDS)


def test_read_only_completes_no_action() -> None:
    """What would be refused is not offered."""
    assert [c for c in completions("", read_only=True, vocabulary=WORDS) if "." in c] == []
    assert parse_command("node.check node-01", read_only=True, vocabulary=WORDS) is None


def test_actions_are_typed_with_names_and_become_ids() -> None:
    """In order or by name; mistakes are told in words."""
    call = parse_command("node.remove_key node-01 SHA256:x", vocabulary=WORDS)
    assert isinstance(call, ActionCall)
    wanted = {"node_id": "id1", "fingerprint": "SHA256:x"}
    assert parse_args(call.action, call.words, WORDS.names) == (wanted, "")
    assert parse_args(call.action, ("fingerprint=SHA256:x", "id1"), WORDS.names) == (wanted, "")
    assert parse_args(call.action, ("node-01",), WORDS.names)[1] == "node.remove_key wants NODE FINGERPRINT"
    assert parse_args(call.action, ("node-9", "x"), WORDS.names)[1] == "there is no node called node-9"
    silence = find_action("alert.silence")
    assert silence is not None
    names = {"alerts": {"a1": "a1"}}
    assert parse_args(silence, ("a1", "4h"), names) == ({"alert_id": "a1", "seconds": 14_400.0}, "")
    assert parse_args(silence, ("a1", "soon"), names)[1].startswith("soon is no length of time")


def test_what_the_engine_does_not_know_is_not_offered() -> None:
    """Draining appears with engines that drain; until an engine says, the rest is offered."""
    assert "node.drain" not in {a.verb for a in offered("miner", None)}
    assert {a.verb for a in offered("miner", frozenset({"node.drain", "node.check"}))} == {"node.drain", "node.check"}
    assert {a.verb for a in for_rows("alerts", "miner", None)} == {"alert.acknowledge", "alert.silence"}
    assert "verify.now" in {a.verb for a in offered("validator", None)}
    assert len({a.verb for a in ACTIONS}) == len(ACTIONS)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("30m", 1800.0), ("4 h", 14_400.0), ("2d", 172_800.0), ("x", None)]
)
def test_lengths_of_time(text: str, seconds: float | None) -> None:
    """A number and a unit."""
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("letters", "text", "found"), [("nd7", "node-07", True), ("7n", "node-07", False), ("", "x", True)]
)
def test_fuzzy_means_letters_in_their_order(letters: str, text: str, found: bool) -> None:
    """With anything between them."""
    assert is_subsequence(letters, text) is found


def test_choices_get_letters_and_are_found_by_parts() -> None:
    """No letter twice, none of those that move; better matches come first."""
    choices = with_letters([Choice(str(i), t) for i, t in enumerate(["node", "nodes", "kind", "queue"])])
    letters = [c.key for c in choices]
    assert len(set(letters)) == 4
    assert not set(letters) & set("jkqgG")
    rows = [Choice("a", "node.check"), Choice("b", "theme"), Choice("c", "check all")]
    assert [c.id for c in best_matches(rows, "check")] == ["c", "a"]
    assert [c.id for c in best_matches(rows, "ndck")] == ["a"]


def test_exports_carry_all_columns_and_no_formula(tmp_path: Path) -> None:
    """A spreadsheet must not run what a node calls itself; nobody else may read the file."""
    rows = [NodeView("a", label="=cmd()", state="healthy"), NodeView("b", label="-5", host="10.0.0.2")]
    read = list(csv.DictReader(io.StringIO(table_text(NODES, rows, LOOK, "csv"))))
    assert [r["node"] for r in read] == ["'=cmd()", "-5"]
    assert read[0]["state"] == "healthy"
    assert read[0]["driver"] == ""
    assert [r["id"] for r in json.loads(table_text(NODES, rows, LOOK, "json"))] == ["a", "b"]
    path = export_path(tmp_path, "nodes", "csv", NOW)
    path.parent.mkdir()
    write_export(path, "x")
    assert path.stat().st_mode & 0o077 == 0
    assert parse_export("json") == ("json", None)
    assert parse_export("/tmp/a b.json") == ("json", Path("/tmp/a b.json"))
    assert parse_export("csv out.txt") == ("csv", Path("out.txt"))
    assert parse_export("~no-such-user/x.csv") == ("csv", Path("~no-such-user/x.csv"))


def test_a_key_that_does_not_exist_is_told_and_leaves_the_command_its_own(tmp_path: Path) -> None:
    """A slip in one line of the settings must not leave a command without a key."""
    (tmp_path / "console.toml").write_text('[keys]\ncolumns = "ctlr+k"\nfilter = ["Slash", "ctrl+f"]\npause = []\n')
    settings = load_settings(tmp_path)
    by_id = {b.id: b for b in settings.bindings}
    assert settings.problems == ("console.toml: keys.columns: ctlr+k is no key",)
    assert by_id["columns"].keys == ("c",)
    assert by_id["filter"].keys == ("slash", "ctrl+f")
    assert by_id["pause"].keys == ()


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        *(("", ""), ("csv", ""), ("json /tmp/x", ""), ("/tmp/my nodes.csv", ""), ("my nodes.json", "")),
        ("png /tmp/a.png", "png is for plots (P); a table is written as csv or json"),
        ("svg", "svg is for plots (P); a table is written as csv or json"),
        ("/tmp/a.svg", "svg is for plots (P); a table is written as csv or json"),
        ("yaml /tmp/a", "there is no form yaml; a table is written as csv or json"),
    ],
)
def test_a_table_is_not_written_as_a_picture(argument: str, problem: str) -> None:
    """Better no file than one whose name lies."""
    assert export_problem(argument) == problem


def test_an_export_is_whole_or_not_there(tmp_path: Path) -> None:
    """No pipe stops the console, no device is replaced, a link stays one, and drafts are cleared away."""
    pipe, old, link = tmp_path / "pipe", tmp_path / "old.csv", tmp_path / "link.csv"
    os.mkfifo(pipe)
    old.write_text("before")
    link.symlink_to(old)
    for target in (pipe, Path("/dev/null"), tmp_path):
        with pytest.raises(OSError, match="it is"):
            write_export(target, "x")
    write_export(link, "after")
    assert old.read_text() == "after"
    assert link.is_symlink()
    assert old.stat().st_mode & 0o077 == 0
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(OSError, match="symbolic links"):
        write_export(link, "x")
    write_export(old, "half a character: \ud800")
    assert old.read_text() == "half a character: \\ud800"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.csv", "old.csv", "pipe"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nodse", "there is no command nodse; did you mean :nodes?"),
        ("Nodes", "there is no command Nodes; did you mean :nodes?"),
        ("log", "there is no command log; did you mean :logs?"),
        ("drain node-1", "there is no command drain node-1; did you mean :node.drain?"),
        ("xyzzy", "there is no command xyzzy; tab completes, ? lists them"),
        ("seek 14:05", "seek: only in a replay"),
        ("rental.begin x", "rental.begin: only for a validator"),
        ("node.protect x", "node.protect: this engine does not know it"),
    ],
)
def test_a_line_that_means_nothing_here_says_why(line: str, words: str) -> None:
    """What may have been meant, or where it would mean something."""
    vocabulary = Vocabulary("miner", frozenset({"node.drain", "node.test"}))
    assert parse_command(line, vocabulary=vocabulary) is None
    assert unknown_command(line, vocabulary=vocabulary) == words


def test_a_visitor_hears_that_he_may_not_and_not_that_it_does_not_exist() -> None:
    """The command is there for others; nothing dangerous is offered for a slip."""
    vocabulary = Vocabulary("miner", frozenset({"node.drain", "engine.stop"}))
    told = unknown_command("engine stop", read_only=True, vocabulary=vocabulary, refusal="this console is read-only")
    assert told == "engine stop: this console is read-only"
    assert "drain" not in unknown_command("drian", read_only=True, vocabulary=vocabulary).partition(";")[2]


def test_rows_that_are_alike_stand_in_the_order_of_their_names() -> None:
    """Ids are random; a list of nodes that nothing tells apart is read by name."""
    rows = {i: NodeView(i, label=name, state="healthy") for i, name in (("a", "node-10"), ("b", "node-9"), ("c", "x"))}
    assert select(NODES, rows.items(), Query(sort="state"), LOOK) == ["b", "a", "c"]
    assert select(NODES, rows.items(), Query(sort="state", reverse=True), LOOK) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("role", "collection", "elsewhere"),
    [("validator", "nodes", "verifications"), ("validator", "sessions", "miners"), ("miner", "weights", "scores")],
)
def test_what_the_other_role_has_is_not_called_missing(role: str, collection: str, elsewhere: str) -> None:
    """Nobody adds nodes to a validator because ``show nodes`` found none."""
    store = ConsoleStore()
    store.apply_snapshot(Snapshot({"engine": {"engine": EngineView(role=role)}}, {}, NOW))
    words = empty_table(store, collection, LOOK)
    assert words.startswith(f"This is a {role} ")
    assert words.endswith(elsewhere)


def test_details_of_a_log_line_begin_with_what_is_looked_for() -> None:
    """The event's own name is said already, and a random id tells nothing; a kind that differs stays."""
    fields = {
        "kind": "verification.finished",
        "verification_id": "5f",
        "miner_uid": "0",
        "node_id": "n1",
        "ok": "False",
    }
    record = LogRecord(1, NOW, "info", "verification.finished", fields)
    assert log_fields(record).split() == ["ok=False", "node_id=n1", "miner_uid=0", "verification_id=5f"]
    assert log_fields(LogRecord(1, NOW, "info", "Found 2", {"kind": "chain.read"})) == "kind=chain.read"


def test_columns_are_named_by_id_or_title() -> None:
    """As the filter takes them."""
    assert [named_column(NODES, word) is None for word in ("node", "Node", "util", "nosuch")] == [False] * 3 + [True]


def test_preferences_survive_and_a_broken_file_does_no_harm(tmp_path: Path) -> None:
    """Per view; anything else in the file is passed over."""
    path = tmp_path / "views.json"
    chosen = ViewPreferences(sort="state", reverse=True, columns=("state", "node"), filter="h100")
    Preferences(path).keep("nodes", chosen)
    assert Preferences(path).of("nodes") == chosen
    path.write_text('{"nodes": {"sort": 5, "columns": "x"}, "alerts": 3}')
    assert Preferences(path).of("nodes") == ViewPreferences()
    for broken in ("{", '{"a":' * 100_000):
        path.write_text(broken)
        assert Preferences(path).of("nodes") == ViewPreferences()
    assert state_folder({"XDG_STATE_HOME": "/s"}) == Path("/s/basilica-tui")


def test_preferences_leave_no_draft_where_they_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the memory of the choice, and is not filled by what remains of every try."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    kept = Preferences(tmp_path / "views.json")
    kept.keep("nodes", ViewPreferences(sort="state"))
    assert kept.of("nodes").sort == "state"
    assert list(tmp_path.iterdir()) == []


def test_settings_change_keys_theme_and_marks_and_mistakes_are_sentences(tmp_path: Path) -> None:
    """Ids with dots are tables in TOML; a clash names both."""
    assert load_settings(tmp_path).problems == ()
    (tmp_path / "themes").mkdir()
    (tmp_path / "themes" / "mine.toml").write_text('good = "#00ff00"\nbackground = "#101010"\n')
    (tmp_path / "themes" / "bad.toml").write_text('good = "greenish"\n')
    (tmp_path / "console.toml").write_text(
        'theme = "mine"\nascii = true\ncolour = 1\n[keys]\nfilter = ["/", "ctrl+f"]\n'
        'node.test = "T"\npause = "r"\nnope = "x"\n'
    )
    settings = load_settings(tmp_path)
    by_id = {b.id: b for b in settings.bindings}
    assert (settings.theme, settings.ascii_only) == ("mine", True)
    assert by_id["filter"].keys == ("slash", "ctrl+f")
    assert by_id["node.test"].keys == ("T",)
    assert "keys: r is both refresh and pause; pause has it" in settings.problems
    assert "keys: there is no command called nope" in settings.problems
    assert any("colour is not known" in p for p in settings.problems)
    assert any("bad.toml: good is no colour" in p for p in settings.problems)
    (tmp_path / "console.toml").write_text("theme = ")
    assert load_settings(tmp_path).theme is None


def test_keys_in_place_are_counted_of_those_wanted() -> None:
    """Keys that outlive their grant for a moment are ending, never one of zero."""
    assert keys_cell(NodeView("a", keys_wanted=2, keys_in_place=1), LOOK)[0] == "1/2"
    assert keys_cell(NodeView("a", keys_wanted=0, keys_in_place=1), LOOK)[0] == "1 ending"
    assert keys_cell(NodeView("a"), LOOK)[0] == "–"


def test_scores_say_what_is_known_and_what_a_failure_costs() -> None:
    """Unknown figures are a dash; the sentence names the node."""
    node = NodeView(
        "a", label="node-1", gpu_count=8, ramp_percent=50.0, failure_cost_gpus=4.0, failure_cost_percent=12.5
    )
    assert effective_gpus(node) == 4.0
    assert "if node-1 fails now you lose 4.0 effective GPUs, 12.5 % of what counts for you" in what_if(node, LOOK)[0]
    assert "not known yet" in what_if(NodeView("a"), LOOK)[0]
    assert [c.cell(NodeView("a"), LOOK)[0] for c in SCORES.columns if c.id in {"ramp", "effective", "observed"}] == [
        "–"
    ] * 3
    node.ramp_resets = (f"{NOW:.0f} 7200 docker runtime gone", "nonsense")
    assert resets(node) == [(NOW, 7200, "docker runtime gone")]


def test_log_lines_are_searched_levelled_and_marked() -> None:
    """Markers stay where they were put; a search goes round the end."""
    lines = LogLines()
    order = lines.update(some_logs(10), LogQuery(level="warning"), LOOK)
    assert order == ["3", "4", "8", "9"]
    marker = lines.mark(NOW)
    order = lines.update(some_logs(14), LogQuery(level="warning"), LOOK)
    assert order == ["3", "4", "8", "9", marker, "13", "14"]
    assert find(order, lines, "refused", 0, 1) == 2
    assert find(order, lines, "refused", 5, 1) == 0
    assert find(order, lines, "nowhere", 0, 1) is None
    every = lines.update(some_logs(14), LogQuery(), LOOK)
    assert len(every) == 15


@pytest.mark.parametrize(
    ("text", "at"),
    [("-30m", NOW - 1800), ("2026-09-21 14:00", 1_789_999_200.0), ("14:00", 1_789_999_200.0), ("soon", None)],
)
def test_times_to_jump_to(text: str, at: float | None) -> None:
    """A time of day that is still to come was yesterday's."""
    assert parse_time(text, NOW) == at


def test_configuration_becomes_dotted_rows() -> None:
    """Tables in lists are numbered; empty ones are no setting."""
    rows = config_rows({"config": {"a": {"b": 1, "c": {}}, "n": [{"host": "x"}]}, "sources": {"a.b": "file"}})
    assert {k: (r.value, r.source) for k, r in rows.items()} == {"a.b": ("1", "file"), "n[0].host": ("x", "")}
    assert config_rows({"message": "done"}) == {}


def test_the_log_of_a_row_is_found_by_any_of_its_names() -> None:
    """Lines name a node by label, id or address."""
    assert item_words(NodeView("id-1", label="node-1", host="10.0.0.1")) == "node-1|id-1|10.0.0.1"


def test_every_action_of_the_engine_can_be_typed() -> None:
    """Both roles, also an action that this console has never heard of; a visitor can type none."""
    registered = registered_actions()
    verbs = frozenset({*registered, "new.thing"})
    for verb in verbs:
        found = [parse_command(f"{verb} x=1", vocabulary=Vocabulary(role, verbs)) for role in ("miner", "validator")]
        assert any(found), verb
        assert not any(
            parse_command(f"{verb} x=1", vocabulary=Vocabulary(role, verbs), read_only=True)
            for role in ("miner", "validator")
        ), verb
        assert any(verb in completions(verb, vocabulary=Vocabulary(role, verbs)) for role in ("miner", "validator"))


def test_an_action_that_only_the_engine_knows_takes_named_arguments_and_asks() -> None:
    """It counts as dangerous, because nobody here knows better."""
    call = parse_command("new.thing a=1 b=two", vocabulary=Vocabulary("miner", frozenset({"new.thing"})))
    assert isinstance(call, ActionCall) and call.action.danger
    assert parse_args(call.action, call.words, {}) == ({"a": "1", "b": "two"}, "")
    assert "name=value" in parse_args(call.action, ("a",), {})[1]


@pytest.mark.parametrize("verb", sorted(v for v, danger in registered_actions().items() if danger))
def test_what_the_engine_calls_dangerous_asks_here_too(verb: str) -> None:
    """A verb without a dialog would act at once."""
    action = find_action(verb)
    assert action is None or action.danger
