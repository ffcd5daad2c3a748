"""A terminal in tmux, with real keys and a shell with job control."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LIMIT_S = 100.0
PROMPT = "shell>"


class Pane:
    """One window of a tmux server of its own."""

    def __init__(self, socket: Path) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]

    def call(self, *words: str) -> str:
        """Run a tmux command."""
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def type(self, text: str, *keys: str) -> None:
        """Text as typed, then keys by tmux's names."""
        if text:
            self.call("send-keys", "-l", text)
        if keys:
            self.call("send-keys", *keys)

    def screen(self) -> str:
        """What it shows."""
        return self.call("capture-pane", "-p")

    def wait_for(self, *texts: str, gone: tuple[str, ...] = ()) -> str:
        """What it shows as soon as all of this is there and none of ``gone``."""
        return self.wait_until(
            lambda shown: all(t in shown for t in texts) and not any(t in shown for t in gone), texts
        )

    def wait_until(self, is_right: Callable[[str], bool], wanted: object = "") -> str:
        """What it shows as soon as that is right."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            shown = self.screen()
            if is_right(shown):
                return shown
            time.sleep(0.1)
        raise AssertionError(f"{wanted} never appeared in\n{self.screen()}")


@contextmanager
def tmux_shell(
    folder: Path, *, width: int = 80, height: int = 24, env: Mapping[str, str] | None = None
) -> Iterator[Pane]:
    """A pane with bash in it; the server ends with the block."""
    socket = folder / f"tmux-{secrets.token_hex(3)}"
    pane = Pane(socket)
    given = [word for name, value in (env or {}).items() for word in ("-e", f"{name}={value}")]
    pane.call(
        "new-session", "-d", "-x", str(width), "-y", str(height), "-e", "LC_ALL=C.UTF-8", *given,
        "bash --noprofile --norc",
    )  # fmt: skip
    try:
        pane.wait_until(lambda shown: "$" in shown or "#" in shown, "a prompt")
        pane.type(f"PS1='{PROMPT}'; clear", "Enter")
        pane.wait_for(PROMPT, gone=("clear",))
        yield pane
    finally:
        pane.call("kill-server")
