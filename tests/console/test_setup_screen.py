"""The wizard by keyboard: few keys to a serving engine, pages that check themselves, and going on after a kill."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.segment import Segment
from textual._compositor import LayoutUpdate
from textual.events import Key, Paste
from textual.geometry import Region
from textual.pilot import Pilot
from textual.strip import Strip

from basilica_tui import setup_opening
from basilica_tui.app import ConsoleApp
from basilica_tui.screens.help import HelpScreen
from basilica_tui.screens.setup import SetupScreen
from basilica_tui.screens.setup_form import TextField
from basilica_tui.screens.setup_output import SetupOutput
from basilica_tui.setup_app import SetupApp
from basilica_tui.widgets.lines import Lines
from engine.identity.wallets import create_wallet
from engine.setup.answers import ROLES, Answers, defaults_of
from engine.setup.phases import ORDER, Phase, Setup
from engine.setup.serving import is_serving
from engine.setup.state_file import default_state_file, load_state, save_state
from tests.console.screen import settle
from tests.console.screen import text_of as screen_text
from tests.support.empty_server import empty_server

SIZE = (80, 24)
SnapCompare = Callable[..., bool]


def text_of(screen: SetupScreen) -> str:
    return "\n".join("".join(part for part, _ in line) for widget in screen.query(Lines) for line in widget.lines)


async def until(pilot: Pilot[bool], holds: Callable[[], bool], what: str = "") -> None:
    for _ in range(600):
        await pilot.pause(0.1)
        if holds():
            return
    screen = pilot.app.screen
    shown = f"{text_of(screen)}\n{told_by(screen)}\n{screen.setup}" if isinstance(screen, SetupScreen) else screen
    raise AssertionError(f"never came: {what}\n{shown}")


class Typist:
    """Presses keys and counts them; values are typed apart and not counted."""

    def __init__(self, pilot: Pilot[bool], screen: SetupScreen) -> None:
        self.pilot, self.screen, self.pressed = pilot, screen, 0

    async def press(self, *names: str) -> None:
        self.pressed += len(names)
        await self.pilot.press(*names)

    async def value(self, text: str) -> None:
        field = self.screen.focused
        assert isinstance(field, TextField)
        field.value = text
        await self.pilot.pause()

    async def to(self, key: str) -> None:
        """Tab to a field, as a person would."""
        for _ in range(20):
            if getattr(self.screen.focused, "key", "") == key:
                return
            await self.press("tab")
        raise AssertionError(f"no field {key}")


async def from_check_to_serving(pilot: Pilot[bool], hands: Typist, *, preview: str) -> None:
    """The pages after the configuration, as every role has them; ``preview`` stands in what is to be written."""
    screen = hands.screen
    await until(pilot, lambda: screen.setup.phase is Phase.VERIFY, "the configuration")
    await until(pilot, lambda: Phase.VERIFY in screen.setup.done and not screen._busy, "the check")
    await hands.press("ctrl+n")
    await until(pilot, lambda: screen.setup.phase is Phase.INSTALL, "the check's end")
    await until(pilot, lambda: preview in told_by(screen), "the preview")
    await hands.press("ctrl+n")
    await until(pilot, lambda: screen.setup.phase is Phase.DEPLOY, "the files")
    await until(pilot, lambda: getattr(screen.focused, "key", "") == "service", "the choice")
    if screen.setup.answers.service != "background":
        await hands.press("b")
    await hands.press("ctrl+n")
    await until(pilot, lambda: screen.setup.phase is Phase.START, "the service")
    await hands.press("ctrl+n")
    await until(pilot, lambda: screen.setup.is_complete, "the engine")
    assert await is_serving(screen.setup.answers)


@pytest.mark.timeout(400)
async def test_a_serving_engine_in_sixty_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an empty directory at 80x24: at most 60 key presses beyond the values themselves."""
    with empty_server(tmp_path, monkeypatch) as server:
        wanted = server.answers()
        start = Answers(health_port=wanted.health_port, metrics_port=wanted.metrics_port, name=wanted.name)
        app = SetupApp(Setup(start), tmp_path / "setup.json")
        async with app.run_test(size=SIZE) as pilot:
            screen = app.wizard
            await pilot.pause()
            hands = Typist(pilot, screen)
            for key in ("wallet_path", "nodes", "directory"):
                await hands.to(key)
                await hands.value(getattr(wanted, key))
            await hands.press("ctrl+n")
            await until(pilot, lambda: screen.setup.phase is Phase.CONFIG, "the keys")
            await until(pilot, lambda: getattr(screen.focused, "key", "") == "network", "the page")
            await hands.press("l")  # network local, by its first letter
            for key in ("chain_endpoint", "external_ip", "port"):
                await hands.to(key)
                await hands.value(str(getattr(wanted, key)))
            await hands.press("ctrl+n")
            await from_check_to_serving(pilot, hands, preview="[bittensor]")
            await hands.press("ctrl+n")
        assert app.return_value is True
        assert hands.pressed <= 60
        kept = load_state(tmp_path / "setup.json")
        assert kept is not None
        assert kept.done == set(ORDER)


@pytest.mark.timeout(400)
async def test_a_serving_validator_in_sixty_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The role is asked first; the same six pages lead a validator from an empty directory to its serving API."""
    with empty_server(tmp_path, monkeypatch) as server:
        wanted = server.validator_answers()
        start = Answers(health_port=wanted.health_port, metrics_port=wanted.metrics_port)
        app = SetupApp(Setup(start), tmp_path / "setup.json")
        async with app.run_test(size=SIZE) as pilot:
            screen = app.wizard
            await until(pilot, lambda: getattr(screen.focused, "key", "") == "role", "the role")
            hands = Typist(pilot, screen)
            await hands.press("v")
            await until(pilot, lambda: not screen.query("#field-nodes"), "a validator's page")
            await until(pilot, lambda: getattr(screen.focused, "key", "") == "role", "the role again")
            assert screen.setup.answers.wallet_name == "validator"
            screen.setup = Setup(replace(screen.setup.answers, name=wanted.name))
            for key in ("wallet_path", "directory"):
                await hands.to(key)
                await hands.value(getattr(wanted, key))
            await hands.press("ctrl+n")
            await until(pilot, lambda: screen.setup.phase is Phase.CONFIG, "the hotkey")
            await until(pilot, lambda: getattr(screen.focused, "key", "") == "network", "the page")
            await hands.press("l")
            for key in ("chain_endpoint", "api"):
                await hands.to(key)
                await hands.value(str(getattr(wanted, key)))
            await hands.press("ctrl+n")
            await from_check_to_serving(pilot, hands, preview="[emission")
        assert hands.pressed <= 60


def told_by(screen: SetupScreen) -> str:
    """Everything that the output holds, in view or not."""
    return "\n".join(screen.query_one(SetupOutput).told)


async def test_a_role_that_was_turned_and_turned_back_changes_nothing(tmp_path: Path) -> None:
    """What a person typed for the one role is there again."""
    answers = Answers(nodes="10.0.0.1", directory=str(tmp_path / "b"))
    app = SetupApp(Setup(answers), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        screen = app.wizard
        await until(pilot, lambda: getattr(screen.focused, "key", "") == "role", "the role")
        await pilot.press("right")
        await until(pilot, lambda: not screen.query("#field-nodes"), "a validator's page")
        assert "Wallet" in text_of(screen)
        assert "permit" in text_of(screen)
        await pilot.press("ctrl+o")
        await pilot.press("right")
        await until(pilot, lambda: bool(screen.query("#field-nodes")), "a miner's page")
        assert screen.setup.answers == answers


async def test_a_page_checks_itself_and_names_the_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typing a wallet that is not there shows the doctor's finding; the focused field says what a mistake costs."""
    monkeypatch.setenv("HOME", str(tmp_path))
    answers = Answers(nodes="10.0.0.1", wallet_path=str(tmp_path), directory=str(tmp_path / "b"))
    app = SetupApp(Setup(answers), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        screen = app.wizard
        await until(pilot, lambda: "allet" in text_of(screen) and "1 node;" in text_of(screen), "the check")
        found = screen.query_one("#setup-output", Lines).lines
        assert any(tone == "bad" and "allet" in text for line in found for text, tone in line)
        hands = Typist(pilot, screen)
        await hands.to("nodes")
        assert "day 0 of 14" in text_of(screen)
        await hands.value("10.0.0.999")
        assert "10.0.0.999" in text_of(screen)
        await hands.press("ctrl+n")
        assert screen.setup.phase is Phase.KEYS


async def test_back_keeps_answers_and_leaving_keeps_them_for_next_time(tmp_path: Path) -> None:
    """Esc goes back a page; ctrl+q leaves; a new wizard goes on at the first unfinished page."""
    answers = Answers(nodes="10.0.0.1", directory=str(tmp_path / "b"))
    file = tmp_path / "setup.json"
    app = SetupApp(Setup(answers, Phase.CONFIG, frozenset({Phase.KEYS})), file)
    async with app.run_test(size=SIZE) as pilot:
        screen = app.wizard
        await until(pilot, lambda: getattr(screen.focused, "key", "") == "network", "the page")
        await pilot.press("t")
        assert screen.setup.answers.network == "test"
        await pilot.press("escape")
        await until(pilot, lambda: getattr(screen.focused, "key", "") == "role", "the page before")
        await pilot.press("ctrl+q")
    assert app.return_value is False
    kept = load_state(file)
    assert kept is not None
    assert (kept.phase, kept.answers.network) == (Phase.CONFIG, "test")


@pytest.mark.timeout(400)
def test_a_killed_setup_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGKILL in the middle of a page: what was typed is there, and the next setup opens the same page with it."""
    state = tmp_path / "setup.json"
    save_state(
        state, Setup(Answers(nodes="10.0.0.1", directory=str(tmp_path / "b")), Phase.CONFIG, frozenset({Phase.KEYS}))
    )
    for is_first in (True, False):
        with setup_on_a_terminal(state, tmp_path) as (process, terminal):
            wait_for(terminal, b"access")  # of the title; blanks that were blank are not sent
            if is_first:
                os.write(terminal, b"t")  # the test network
                wait_for_file(state, '"network": "test"', terminal)
            process.kill()
    kept = load_state(state)
    assert kept is not None
    assert (kept.phase, kept.answers.network, kept.answers.nodes) == (Phase.CONFIG, "test", "10.0.0.1")
    assert kept.done == frozenset({Phase.KEYS})


@contextmanager
def setup_on_a_terminal(state: Path, home: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command in a process of its own, and the terminal's other end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "basilica_tui", "setup", "--state", str(state)],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "HOME": str(home)},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def wait_for(terminal: int, wanted: bytes) -> None:
    """Read until that appears."""
    seen = b""
    deadline = time.monotonic() + 80
    while wanted not in seen:
        assert time.monotonic() < deadline, seen[-2000:]
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 65536)


def wait_for_file(path: Path, wanted: str, terminal: int) -> None:
    """Wait until the file says that, and read on meanwhile: a terminal that nobody reads stops its program."""
    deadline, seen = time.monotonic() + 80, b""
    while wanted not in path.read_text():
        assert time.monotonic() < deadline, (path.read_text(), seen[-1500:])
        if select.select([terminal], [], [], 0.05)[0]:
            seen += os.read(terminal, 65536)


def unreal(role: str, **more: object) -> Answers:
    """Answers that name nothing of this machine and nobody on a network."""
    values: dict[str, object] = {
        "network": "test", "nodes": "10.0.0.1-3", "wallet_path": "/nowhere/wallets", "external_ip": "203.0.113.7",
        "directory": "/nowhere/basilica", "service": "none",
    }  # fmt: skip
    return replace(defaults_of(role), **{**values, **more})  # type: ignore[arg-type]  # fields of Answers


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("phase", [Phase.KEYS, Phase.CONFIG, Phase.INSTALL], ids=str)
@pytest.mark.parametrize("role", ROLES)
def test_pages_look_as_before(
    snap_compare: SnapCompare, tmp_path: Path, size: tuple[int, int], phase: Phase, role: str
) -> None:
    """Pictures of pages that name nothing of this machine."""
    app = SetupApp(Setup(unreal(role), phase), tmp_path / "setup.json", theme="dark")

    async def prepare(pilot: Pilot[bool]) -> None:
        output = app.wizard.query_one(SetupOutput)
        await until(pilot, lambda: "ctrl+" in text_of(app.wizard) and bool(output.lines), "the page and what it says")
        await pilot.pause(0.5)

    assert snap_compare(app, terminal_size=size, run_before=prepare)


async def test_hosts_of_the_ssh_configuration_become_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ctrl+o takes them over; several pasted lines become one list."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Host gpu-1\n  HostName 10.0.0.1\n  User root\nHost *\n  User x\n")
    app = SetupApp(Setup(Answers(directory=str(tmp_path / "b"))), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        screen = app.wizard
        await until(pilot, lambda: screen.focused is not None, "the page")
        await pilot.press("ctrl+o")
        await pilot.pause()
        assert screen.setup.answers.nodes == "root@10.0.0.1:22"
        assert [e.text for e in screen.setup.answers.entries()] == ["root@10.0.0.1:22"]


async def test_what_is_typed_in_one_go_reaches_its_own_field(tmp_path: Path) -> None:
    """A slow link brings text, tab, text and ctrl+n in one piece: each text lands in its field, the last one too.

    The first text replaces the default whole; after that, coming back and typing adds to it.
    """
    answers = Answers(directory=str(tmp_path / "b"))
    app = SetupApp(Setup(answers), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        screen = app.wizard
        await until(pilot, lambda: getattr(screen.focused, "key", "") == "role", "the page")
        typed = [
            "tab",
            *"/a",
            "tab",
            *"mine",
            "enter",
            *"hot",
            "down",
            "tab",
            *"10.0.0.1",
            "up",
            "up",
            "up",
            *"2",
            "ctrl+n",
        ]
        for key in typed:
            app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: screen.setup.answers.wallet_name == "mine2", "the last letter")
        found = screen.setup.answers
        assert (found.wallet_path, found.hotkey_name, found.nodes) == ("/a", "hot", "10.0.0.1")
        assert found.role == "miner"


@pytest.mark.parametrize(
    ("role", "key", "text", "said"),
    [
        ("miner", "port", "70000", "1 to 65535"), ("miner", "port", "x", "number"),
        ("miner", "min_stake", "-3", "number"), ("miner", "external_ip", "my.host", "IP address"),
        ("validator", "shares", "A100=5", "sum to 5"), ("validator", "burn", "nan", "number"),
        ("validator", "burn", "400", "0 to 100"), ("validator", "api", "x", "HOST:PORT"),
    ],
)  # fmt: skip
async def test_nonsense_is_said_at_its_field_and_goes_nowhere(
    tmp_path: Path, role: str, key: str, text: str, said: str
) -> None:
    """Each wrong value is named beside its field, the page stays, and the wizard lives."""
    app = SetupApp(Setup(unreal(role), Phase.CONFIG), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        screen = app.wizard
        await until(pilot, lambda: getattr(screen.focused, "key", "") == "network", "the page")
        await Typist(pilot, screen).to(key)
        await pilot.press("ctrl+u", *(character if character != " " else "space" for character in text))
        await until(pilot, lambda: said in text_of(screen), said)
        await pilot.pause(0.7)
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert screen.setup.phase is Phase.CONFIG


async def test_a_page_that_is_opened_first_is_shown_as_far_as_there_is_room(tmp_path: Path) -> None:
    """Resumed at the files: what they will say fills the screen, again so at another size; paging shows the rest."""
    app = SetupApp(Setup(unreal("miner"), Phase.INSTALL), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        output = app.wizard.query_one(SetupOutput)
        await until(pilot, lambda: len(output.told) > 30, "the file")
        await until(pilot, lambda: len(output.lines) == output.size.height, "a full screen")
        await pilot.resize_terminal(100, 30)
        await until(pilot, lambda: len(output.lines) == output.size.height >= 20, "a full larger screen")
        last = output.told[-1].strip()
        assert not any(last in part for line in output.lines for part, _ in line)
        await pilot.press("pagedown", "pagedown", "pagedown")
        assert any(last in part for line in output.lines for part, _ in line)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 15)])
@pytest.mark.parametrize("phase", ORDER)
@pytest.mark.parametrize("role", ROLES)
async def test_every_page_fits(tmp_path: Path, size: tuple[int, int], phase: Phase, role: str) -> None:
    """Form, price of the field, a line of what is said, and the keys are in view; nothing needs a mouse."""
    chain = {"network": "local", "chain_endpoint": f"file:{tmp_path / 'chain.db'}"}
    answers = unreal(role, nodes="127.0.0.1:1", directory=str(tmp_path / "b"), **chain)
    app = SetupApp(Setup(answers, phase), tmp_path / "setup.json")
    async with app.run_test(size=size) as pilot:
        screen = app.wizard
        await until(pilot, lambda: "ctrl+" in text_of(screen), "the page")
        await pilot.pause()
        for field in screen.query(".setup-field"):
            assert field.region.bottom <= size[1] - 1, field
        assert screen.query_one("#setup-output").region.height >= 1
        assert screen.query_one("#setup-price").region.height == 2
        keys = screen.query_one("#setup-keys")
        assert keys.region.bottom == size[1]


async def test_a_dead_chain_is_what_the_check_page_says_first(tmp_path: Path) -> None:
    """The failure with its mark and what to do is at the top; what it leaves open is named; it stops nothing."""
    create_wallet(tmp_path / "wallets", "validator", "default")
    answers = replace(
        unreal("validator", directory=str(tmp_path / "b"), network="local", chain_endpoint="ws://127.0.0.1:9"),
        wallet_path=str(tmp_path / "wallets"),
        wallet_name="validator",
    )
    app = SetupApp(Setup(answers, Phase.VERIFY), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        screen = app.wizard
        await until(pilot, lambda: Phase.VERIFY in screen.setup.done and not screen._busy, "the check")
        told = screen.query_one(SetupOutput).told
        assert told[0] == "! 1 failure to weigh; the engine starts all the same, and ctrl+n goes on"
        assert told[1].startswith("!! this host: The chain answers: the endpoint does not answer (")
        assert told[2].startswith(" do: ")
        assert "not checked: The hotkey is registered: chain not reached" in told
        assert "not checked: The validator holds a permit: chain not reached" in told
        assert "The chain answers" in text_of(screen)


async def test_whoever_leaves_while_a_page_checks_itself_sees_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the page would say comes when its place has gone already."""
    looks, may_end = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> list[tuple[str, str]]:
        looks.set()
        await may_end.wait()
        return [("good", "late")]

    monkeypatch.setattr("basilica_tui.screens.setup.look_ahead", slow)
    app = SetupApp(Setup(unreal("miner"), Phase.CONFIG), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        screen = app.wizard
        await until(pilot, looks.is_set, "the look")
        await screen.query_one(SetupOutput).remove()
        may_end.set()
        await screen.workers.wait_for_complete()
        await pilot.press("ctrl+q")
    assert app.return_value is False


async def test_the_console_goes_on_while_the_wizard_loads(
    make_app: Callable[..., ConsoleApp], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is loaded in a thread, the footer says so, keys work meanwhile, and who went elsewhere stays there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    may_end, threads = threading.Event(), list[str]()
    real = setup_opening._load

    def slow(ascii_only: bool, role: str) -> Callable[[], SetupScreen]:
        threads.append(threading.current_thread().name)
        assert may_end.wait(60)
        return real(ascii_only, role)

    monkeypatch.setattr(setup_opening, "_load", slow)
    for keys, screen in (([], SetupScreen), (["question_mark"], HelpScreen)):
        may_end.clear()
        app = make_app()
        async with app.run_test(size=SIZE) as pilot:
            await settle(pilot)
            await pilot.press("9", "9")
            await settle(pilot)
            assert "opening the setup" in screen_text(app)
            await pilot.press(*keys)
            may_end.set()
            await _opened(pilot, app)
            await settle(pilot)
            assert isinstance(app.screen, screen)
    assert len(threads) == 2
    assert threading.main_thread().name not in threads


@pytest.mark.parametrize(
    ("kept", "role", "proposed"),
    [
        (None, "miner", "miner"),
        (None, "validator", "validator"),
        (None, "", "miner"),
        (Setup(done=frozenset({Phase.KEYS})), "validator", "miner"),
        (Setup(done=frozenset(ORDER)), "validator", "validator"),
        (Setup(done=frozenset(ORDER)), "miner", "miner"),
    ],
)
def test_the_engine_that_is_looked_at_says_which_setup_is_meant(
    kept: Setup | None, role: str, proposed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that was begun goes on, whatever its role; otherwise a validator's console proposes a validator's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if kept is not None:
        save_state(default_state_file(Path.home()), kept)
    assert setup_opening._load(ascii_only=False, role=role)().setup.answers.role == proposed


async def _opened(pilot: Pilot[int], app: ConsoleApp) -> None:
    for _ in range(600):
        if app._opening is not None and app._opening.done():
            return
        await pilot.pause(0.1)
    raise AssertionError("never came")


@pytest.mark.parametrize(
    ("before", "pasted", "after"),
    [
        ("", "10.0.0.1 # first\n# the second\n10.0.0.2\n\n10.0.0.3", "10.0.0.1, 10.0.0.2, 10.0.0.3"),
        ("a@10.0.0.9:22", "10.0.0.1\n10.0.0.2\n", "a@10.0.0.9:22, 10.0.0.1, 10.0.0.2"),
        ("a@10.0.0.9, ", "10.0.0.1\r\n10.0.0.2", "a@10.0.0.9, 10.0.0.1, 10.0.0.2"),
        ("a@", "10.0.0.1\n", "a@10.0.0.1"),
    ],
)
async def test_a_pasted_list_of_nodes_becomes_one_line(tmp_path: Path, before: str, pasted: str, after: str) -> None:
    """Comments hide no node behind them, and a list does not grow together with the word before it."""
    app = SetupApp(Setup(Answers(directory=str(tmp_path / "b"))), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: getattr(app.wizard.focused, "key", "") == "role", "the page")
        await Typist(pilot, app.wizard).to("nodes")
        app.post_message(Paste(before))
        app.post_message(Paste(pasted))
        await until(pilot, lambda: app.wizard.setup.answers.nodes == after.strip(), "the list")
        assert all(len(word.split()) == 1 for word in after.split(", "))


async def test_what_is_pasted_replaces_a_default_whole(tmp_path: Path) -> None:
    """As what is typed does."""
    app = SetupApp(Setup(Answers(directory=str(tmp_path / "b"))), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: getattr(app.wizard.focused, "key", "") == "role", "the page")
        await pilot.press("tab")
        app.post_message(Paste("/srv/wallets"))
        await until(pilot, lambda: app.wizard.setup.answers.wallet_path == "/srv/wallets", "the path")


async def test_a_page_that_is_shown_changes_no_answer(tmp_path: Path) -> None:
    """Fields tell their first text too: neither its rounding nor its lateness becomes an answer."""
    answers = unreal("miner", min_stake=1234567.125, nodes="10.0.0.1 # first\n10.0.0.2")
    app = SetupApp(Setup(answers, Phase.CONFIG), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        screen = app.wizard
        await until(pilot, lambda: getattr(screen.focused, "key", "") == "network", "the page")
        assert screen.query_one("#field-min_stake", TextField).value == "1234567.125"
        await pilot.press("escape")
        await until(pilot, lambda: bool(screen.query("#field-nodes")), "the page before")
        assert screen.query_one("#field-nodes", TextField).value == "10.0.0.1, 10.0.0.2"
        field = screen.query_one("#field-wallet_name", TextField)
        screen.setup = replace(screen.setup, answers=replace(answers, wallet_name="other"))
        field.post_message(TextField.Changed(field, field.value))
        await pilot.pause(0.2)
        assert screen.setup.answers == replace(answers, wallet_name="other")


async def test_answers_that_change_under_a_pages_work_are_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key went to the nodes that were named before: the page stays, and says so."""
    may_end = asyncio.Event()

    async def slow(*_: object, **__: object) -> str:
        await may_end.wait()
        return ""

    monkeypatch.setattr("engine.setup.perform.perform", slow)
    app = SetupApp(Setup(unreal("miner", directory=str(tmp_path / "b"))), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        screen = app.wizard
        await until(pilot, lambda: getattr(screen.focused, "key", "") == "role", "the page")
        await Typist(pilot, screen).to("nodes")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: bool(screen._busy), "the work")
        await pilot.press("end", "0")
        await until(pilot, lambda: screen.setup.answers.nodes == "10.0.0.1-30", "the text")
        may_end.set()
        await until(pilot, lambda: "changed meanwhile" in told_by(screen), "the sentence")
        assert (screen.setup.phase, screen.setup.done) == (Phase.KEYS, frozenset())
        await pilot.press("ctrl+n")
        await until(pilot, lambda: screen.setup.phase is Phase.CONFIG, "the next page")


async def test_a_frame_that_textual_drops_is_written_later(tmp_path: Path) -> None:
    """In a batch of changes nothing reaches the terminal, so nothing may count as shown: labels would stay away."""
    app = SetupApp(Setup(unreal("miner")), tmp_path / "setup.json")
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: getattr(app.wizard.focused, "key", "") == "role", "the page")
        frame = LayoutUpdate([[Strip([Segment("Never shown before")])]], Region(0, 0, 18, 1))
        with app.batch_update():
            app._display(app.wizard, frame)
        text = app._painter.difference(frame, app.size, Console(force_terminal=True, color_system="truecolor"))
        assert "Never shown before" in (text or "")
