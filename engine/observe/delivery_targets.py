"""Ways of telling somebody: an Apprise URL, or a program that reads JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from engine.errors import DeliveryFailed
from engine.observe.delivery_digest import Message, note_to_json
from engine.observe.threads import in_daemon_thread

if TYPE_CHECKING:
    import apprise

T = TypeVar("T")

APPRISE_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 10.0
STDERR_LIMIT = 2_000
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME")
"""The environment of the command: this process's own may hold the wallet's password."""


class Target(Protocol):
    """One receiver. ``name`` tells it apart without its secrets."""

    name: str

    async def prepare(self) -> None:
        """Get ready for the first message. Raises DeliveryFailed: this receiver can never work."""

    async def send(self, message: Message) -> None:
        """Hand over one message. Raises DeliveryFailed."""


class AppriseTarget:
    """One Apprise URL. Apprise blocks, even while it is imported, so all of it happens in a thread."""

    def __init__(self, url: str, number: int) -> None:
        self.name = target_name(url, number)
        self._url = url
        self._plugin: apprise.NotifyBase | None = None

    async def prepare(self) -> None:
        """Load Apprise and read the URL. Raises DeliveryFailed; the text does not repeat the URL."""
        await self._in_thread(self._ready)

    async def send(self, message: Message) -> None:
        """Hand over one message. Raises DeliveryFailed."""
        reason = await self._in_thread(lambda: self._notify(message))
        if reason is not None:
            raise DeliveryFailed(reason, hint="check the URL, and that this host may connect there")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await in_daemon_thread(work, name="alert-delivery", timeout_s=APPRISE_TIMEOUT_S)
        except TimeoutError:
            raise DeliveryFailed(f"no answer within {APPRISE_TIMEOUT_S:.0f} s") from None

    def _ready(self) -> apprise.NotifyBase:
        if self._plugin is None:
            self._plugin = parse_apprise_url(self._url)
        return self._plugin

    def _notify(self, message: Message) -> str | None:
        """None when it went out, else why not."""
        plugin, heard = self._ready(), _Heard()
        logger = logging.getLogger("apprise")
        logger.addHandler(heard)
        try:
            is_sent = plugin.notify(
                title=message.title, body=message.body, notify_type=message.tone, body_format="text"
            )
        except Exception as error:  # noqa: BLE001 - a plugin of any make runs here; its fault is a failed delivery
            return type(error).__name__
        finally:
            logger.removeHandler(heard)
        return None if is_sent else heard.reason()


class _Heard(logging.Handler):
    """Keeps what Apprise says while it fails: its methods only answer yes or no."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())

    def reason(self) -> str:
        """The last line, without anything that might be a URL's secret."""
        line = re.sub(r"\S*://\S*|url: \S+", "[hidden]", self._lines[-1] if self._lines else "")
        return line[:200] or "not delivered; the receiver gave no reason"


def parse_apprise_url(url: str) -> apprise.NotifyBase:
    """The plugin behind a URL. Raises DeliveryFailed."""
    import apprise  # noqa: PLC0415 - costs half a second, and most engines that start have no URL

    # Its debug and info lines hold tokens; so do those of the HTTP library below it.
    for library in ("apprise", "urllib3", "requests"):
        logging.getLogger(library).setLevel(logging.WARNING)
    quiet = logging.getLogger("apprise")
    quiet.propagate = False
    if not quiet.handlers:
        quiet.addHandler(logging.NullHandler())  # else Python's last resort writes to stderr
    plugin = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if not isinstance(plugin, apprise.NotifyBase):
        raise DeliveryFailed("this is not an Apprise URL", hint="see github.com/caronc/apprise for their forms")
    return plugin


def target_name(url: str, number: int) -> str:
    """``urls[0] (discord)``: enough to find it, nothing to abuse."""
    scheme = url.partition("://")[0]
    return f"urls[{number}] ({scheme})" if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,20}", scheme) else f"urls[{number}]"


class CommandTarget:
    """A program started for each message, with the alerts as JSON on its standard input. No shell."""

    def __init__(self, argv: Sequence[str], sender: Mapping[str, str]) -> None:
        self.name = f"command ({os.path.basename(argv[0])})"  # noqa: PTH119 - a name on PATH, not a path
        self._argv = tuple(argv)
        self._sender = dict(sender)

    async def prepare(self) -> None:
        """Nothing to do: the program is looked for each time, so that it may be installed later."""

    async def send(self, message: Message) -> None:
        """Run the program once. Raises DeliveryFailed: it cannot start, fails, or takes longer than 10 s."""
        document = {
            "version": 1,
            "sender": self._sender,
            "title": message.title,
            "body": message.body,
            "tone": message.tone,
            "alerts": [note_to_json(note) for note in message.notes],
            "dropped": message.dropped,
        }
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DeliveryFailed(f"cannot start: {reason}", hint="check [alerts] command") from error
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                _, complaint = await process.communicate(json.dumps(document).encode() + b"\n")
        except TimeoutError:
            raise DeliveryFailed(f"did not end within {COMMAND_TIMEOUT_S:.0f} s and was killed") from None
        finally:
            # Also what it started and left behind: its process group is its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if process.returncode != 0:
            last = complaint[-STDERR_LIMIT:].decode(errors="replace").strip().splitlines()
            raise DeliveryFailed(f"ended with status {process.returncode}" + (f": {last[-1][:200]}" if last else ""))
