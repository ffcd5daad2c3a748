"""One table of bindings and what is made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from basilica_tui.bindings import BINDINGS, REPLAY, bindings_markdown, clashes, remap, shown
from basilica_tui.commands import Command, completions, parse_command
from basilica_tui.format import Look
from basilica_tui.key_names import key_name
from basilica_tui.lines import plain
from basilica_tui.panels.footer import footer_line
from basilica_tui.panels.help import help_lines


def test_no_key_means_two_things_on_one_screen() -> None:
    """The table as shipped has no clash."""
    assert clashes(BINDINGS) == []


def test_every_binding_has_an_id_of_its_own_and_a_help_text() -> None:
    """Ids are what users remap by."""
    ids = [b.id for b in BINDINGS]
    assert len(ids) == len(set(ids))
    assert all(b.help for b in BINDINGS)


def test_danger_is_a_capital_letter_or_a_typed_command() -> None:
    """What changes nothing on a node, checking it and acknowledging an alert, is a small letter; a fix asks always."""
    for binding in BINDINGS:
        if binding.danger and binding.id not in {
            "node.test",
            "alert.acknowledge",
            "fix.apply",
            "key.read",
            "reach.check",
        }:
            assert all(len(key) == 1 and key.isupper() for key in binding.keys)


def test_remapped_keys_replace_the_old_ones_and_mistakes_are_told() -> None:
    """Unknown ids and clashes are sentences; the first binding keeps a key that two want."""
    table, problems = remap(BINDINGS, {"pause": ["tilde"], "refresh": ["tilde"], "nonsense": ["x"]})
    by_id = {b.id: b for b in table}
    assert problems == (
        "keys: there is no command called nonsense",
        "keys: tilde is both refresh and pause; refresh has it",
    )
    assert by_id["refresh"].keys == ("tilde",)
    assert by_id["pause"].keys == ()
    assert by_id["help"] == next(b for b in BINDINGS if b.id == "help")


def test_the_operators_key_goes_before_the_one_that_comes_with_the_console() -> None:
    """Whoever gives a key to a command means it; the command that had it is named."""
    table, problems = remap(BINDINGS, {"pause": ["r"]})
    by_id = {b.id: b for b in table}
    assert problems == ("keys: r is both refresh and pause; pause has it",)
    assert by_id["pause"].keys == ("r",)
    assert by_id["refresh"].keys == ("f5",)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        *(("/", "slash"), ("Slash", "slash"), ("Ctrl+T", "ctrl+t"), ("shift+a", "A"), ("A", "A"), ("a", "a")),
        *(("+", "plus"), ("PgUp", "pageup"), ("F5", "f5"), ("shift+tab", "shift+tab"), ("ctrl+/", "ctrl+slash")),
        *(("ctlr+k", None), ("F99", None), ("slsh", None), ("", None), ("a b", None), ("ctrl+", None)),
    ],
)
def test_keys_are_written_as_people_write_them(written: str, name: str | None) -> None:
    """Upper and lower case of names do not matter; what no terminal sends is no key."""
    assert key_name(written) == name


def test_the_consoles_own_keys_are_keys() -> None:
    """Whoever copies one of them into the settings gets that key."""
    assert all(key_name(key) == key for b in BINDINGS for key in b.keys)


def test_help_lists_every_binding() -> None:
    """Nothing is bound without being said."""
    text = "\n".join(plain(line) for line in _help(read_only=False))
    for binding in BINDINGS:
        if (binding.keys or binding.command) and not binding.needs:
            assert binding.help.split(" ")[0] in text


def test_read_only_hides_danger_everywhere() -> None:
    """Help, footer, command line and completion."""
    dangerous = [b for b in BINDINGS if b.danger]
    assert dangerous
    text = "\n".join(plain(line) for line in _help(read_only=True))
    footer = plain(footer_line(BINDINGS, "sessions", Look(), 200, read_only=True, is_validator=False))
    for binding in dangerous:
        assert binding.help not in text
        assert binding not in shown(BINDINGS, read_only=True)
        if binding.command:
            assert parse_command(binding.command, read_only=True) is None
            assert binding.command not in completions("", read_only=True)
    assert "K end" not in footer
    assert "K end" in plain(footer_line(BINDINGS, "sessions", Look(), 200, read_only=False, is_validator=False))


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_footer_fits_and_always_says_how_to_get_help(width: int) -> None:
    """Help is the last key to go."""
    line = plain(footer_line(BINDINGS, "nodes", Look(), width, read_only=False, is_validator=False))
    assert len(line) == width
    assert width < 60 or "? help" in line


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("screen", "words"),
    [
        ("nodes", "t test  D drain"), ("sessions", "R renew  K end"), ("ssh", "t test  T test all  F fix"),
        ("logs", "f follow  & filter  v level"), ("alerts", "a acknowledge  A silence"), ("config", "R reload"),
        ("node", "t test  D drain"), ("plot", "l span  j chart  n node"), ("weights", "T verify now  W set weights"),
    ],
)  # fmt: skip
def test_what_only_this_screen_knows_has_room_in_the_footer(screen: str, words: str, width: int) -> None:
    """Before what works everywhere; narrow terminals shorten the names of the other screens for it."""
    verbs = frozenset(b.needs for b in BINDINGS if b.needs != REPLAY)
    line = plain(
        footer_line(BINDINGS, screen, Look(), width, read_only=False, is_validator=screen == "weights", verbs=verbs)
    )
    assert words in line
    assert "? help" in line
    assert ("1-9 screens" in line) == (width == 80)


def test_the_footer_names_no_key_that_the_engine_does_not_know() -> None:
    """Draining and setting weights appear with engines that say that they can."""
    line = plain(footer_line(BINDINGS, "nodes", Look(), 200, read_only=False, is_validator=False))
    assert "D drain" not in line
    assert "t test" in line


def test_remapped_digits_are_shown_as_they_are() -> None:
    """A row of digits is a range; anything else is listed."""
    table = tuple(replace(b, keys=("f3",)) if b.id == "screen.scores" else b for b in BINDINGS)
    line = plain(footer_line(table, "nodes", Look(), 80, read_only=False, is_validator=False))
    assert "1 2 3 f3 5 6 7 8 9 screens" in line


def test_a_validators_footer_offers_no_screen_that_it_lacks() -> None:
    """A digit that leads nowhere is not offered."""
    line = plain(footer_line(BINDINGS, "nodes", Look(), 200, read_only=False, is_validator=False))
    assert "5 SSH" in line
    assert "5 SSH" not in plain(footer_line(BINDINGS, "miners", Look(), 200, read_only=False, is_validator=True))


def test_the_readme_table_names_every_id() -> None:
    """Generated, so it cannot go stale."""
    table = bindings_markdown()
    for binding in BINDINGS:
        assert f"`{binding.id}`" in table


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("nodes", Command("screen.nodes")),
        ("q", Command("leave")),
        ("miners", Command("screen.nodes")),
        ("engine stop", Command("engine.stop")),
        ("engine", Command("engine.switch")),
        ("engine rig-2", Command("engine.switch", "rig-2")),
        ("theme light", Command("theme", "light")),
        ("engine.stop", Command("engine.stop")),
        ("filter state:stopped !x", Command("filter", "state:stopped !x")),
        ("reload", Command("engine.reload")),
        ("node.drain", None),
        ("verify.now", None),
        ("rm -rf", None),
        ("  ", None),
    ],
)
def test_commands_come_from_the_same_table(text: str, command: Command | None) -> None:
    """Words, an alias or two, and an argument."""
    assert parse_command(text) == command


def test_a_remapped_table_is_what_the_footer_shows() -> None:
    """The footer reads the table it is given."""
    table = tuple(replace(b, keys=("X",)) if b.id == "help" else b for b in BINDINGS)
    assert "X help" in plain(footer_line(table, "nodes", Look(), 120, read_only=False, is_validator=False))


def _help(*, read_only: bool) -> list[tuple[tuple[str, str], ...]]:
    return help_lines(BINDINGS, "nodes", Look(), 80, read_only=read_only, is_validator=False)
