"""Structured logs: one line per happening on stderr, JSON or for people, without secrets, and a ring for consoles."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

import structlog

from engine.control.ring import LogRing
from engine.events import Event
from engine.observe.log_file import LogFile, for_journal, is_read_by_journal, open_log_file
from engine.observe.words import lines

__all__ = ["LogFile", "LogRing", "configure_logging", "log_event", "silence"]

Format = Literal["auto", "pretty", "json"]
EventDict = MutableMapping[str, object]

HIDDEN = "[hidden]"
_FIELD_NAMES = {"level": "alert_level"}
"""Fields of events whose name means something else in a log line."""
_SECRET_WORDS = frozenset(
    {"password", "passphrase", "seed", "token", "signature", "mnemonic", "private", "secret", "authorization"}
)
_HARMLESS_ENDINGS = frozenset({"at", "s", "ms", "file", "path", "name", "count"})
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TALKATIVE = ("asyncssh", "grpc", "alembic", "bittensor", "websockets", "uvicorn", "asyncio")
_NEVER_TALKATIVE = ("sqlalchemy", "aiosqlite")
"""They would tell every statement with its values, tokens of sessions among them."""
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}


def configure_logging(
    level: str = "info",
    fmt: Format = "auto",
    ring: LogRing | None = None,
    *,
    stream: TextIO | None = None,
    file: LogFile | None = None,
) -> None:
    """Send everything logged through structlog or ``logging`` to stderr and, if given, into the ring.

    ``auto`` is for people on a terminal and JSON anywhere else. Libraries speak at warning and above, or at info
    and above when the level is debug. ``file`` gets the same lines, as JSON unless the format is pretty. A stream
    that journald reads carries no time, which it adds itself, and the priority that it files by. May be called again.

    Raises:
        ConfigInvalid: the file cannot be written; nothing was changed.
    """
    output = stream if stream is not None else sys.stderr
    filed = None if file is None else open_log_file(file)
    is_terminal = output.isatty()
    number = logging.getLevelNamesMapping()[level.upper()]
    is_pretty = fmt == "pretty" or (fmt == "auto" and is_terminal)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,
        _add_time,
        hide_secrets,
    ]
    render: structlog.typing.Processor = (
        _Pretty(in_colour=is_terminal and not os.environ.get("NO_COLOR")) if is_pretty else _as_json
    )
    if is_read_by_journal(output):
        render = _Journal(_Pretty(in_colour=False, with_time=False) if is_pretty else _as_json_without_time)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    foreign: list[structlog.typing.Processor] = [structlog.stdlib.ExtraAdder(), _add_logger, *shared]
    handler: logging.Handler = logging.StreamHandler(output)
    handler.setFormatter(_Formatter(foreign, [] if ring is None else [_Keep(ring)], render))
    handlers = [handler]
    if filed is not None:
        in_file = _Pretty(in_colour=False) if fmt == "pretty" else _as_json
        filed.setFormatter(_Formatter(foreign, [], in_file))
        handlers.append(filed)
    root = logging.getLogger()
    before, root.handlers[:] = root.handlers[:], handlers
    for old in before:
        if isinstance(old, logging.FileHandler):
            old.close()
    root.setLevel(number)
    logging.captureWarnings(True)
    quiet = logging.INFO if number <= logging.DEBUG else max(number, logging.WARNING)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(quiet)
    for name in _NEVER_TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def silence() -> None:
    """Log nothing: for programs whose output is their own, such as a wizard's screen."""
    logging.disable(logging.CRITICAL)
    structlog.configure(processors=[_drop])


def _drop(_logger: object, _method: str, _event: EventDict) -> EventDict:
    raise structlog.DropEvent


def log_event(event: Event) -> None:
    """Log a domain event in the words that operators know, with all its fields.

    Past structlog, which costs ten times as much per line: the miner's door says one for every call.
    """
    kind: Any = type(event)
    for severity, words in lines(event):
        level = _LEVELS[severity]
        if not _events.isEnabledFor(level):
            continue
        record = _EventRecord(level, words)
        line: EventDict = {"kind": event.kind}
        for own, name, hidden in _fields_of(kind):
            value = getattr(event, own)
            if value not in (None, "", ()):
                line[name] = HIDDEN if hidden else _safe("", value)
        line["event"], line["level"], line["timestamp"] = _safe("", words), severity, record.created
        vars(record)[_LINE] = line
        _events.handle(record)


_events = logging.getLogger("engine.events")
_LEVELS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
_LINE = "line_of_event"


class _EventRecord(logging.LogRecord):
    """What handlers ask of a record, without looking for the thread, the process and the place in the code."""

    _blank = vars(logging.LogRecord(_events.name, logging.INFO, "", 0, "", None, None))

    def __init__(self, level: int, words: str) -> None:
        now = time.time()
        own = {"levelno": level, "levelname": logging.getLevelName(level), "msg": words, "created": now}
        vars(self).update(self._blank, msecs=int(now % 1 * 1000) + 0.0, **own)


@lru_cache(maxsize=512)
def _fields_of(kind: Any) -> tuple[tuple[str, str, bool], ...]:
    """An event's own name of each field, its name in a line, and whether it may hold a secret."""
    return tuple(
        (field.name, _FIELD_NAMES.get(field.name, field.name), is_secret(_FIELD_NAMES.get(field.name, field.name)))
        for field in dataclasses.fields(kind)
        if field.name != "at"
    )


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """One line of text from what structlog or a library logged, or from an event, which comes ready."""

    def __init__(
        self,
        foreign: Sequence[structlog.typing.Processor],
        before: Sequence[structlog.typing.Processor],
        render: structlog.typing.Processor,
    ) -> None:
        self._last = (*before, render)
        super().__init__(foreign_pre_chain=foreign, processors=[self.remove_processors_meta, *self._last])

    def format(self, record: logging.LogRecord) -> str:
        line = vars(record).get(_LINE)
        if line is None:
            return super().format(record)
        text: Any = line
        for processor in self._last:
            text = processor(None, "", text)
        return str(text)


def hide_secrets(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Blank what is secret by its name, and private keys wherever they stand."""
    for name, value in event.items():
        event[name] = _safe(name, value)
    return event


def _safe(name: str, value: object) -> object:
    if is_secret(name):
        return HIDDEN
    if isinstance(value, str):
        return _PRIVATE_KEY.sub(HIDDEN, value) if "PRIVATE KEY" in value else value
    if isinstance(value, Mapping):
        return {str(key): _safe(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_safe("", item) for item in value]
    return value


@lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether a field of this name may hold a secret; ``token_expires_at`` and ``password_file`` may not."""
    parts = re.split(r"[_\-. ]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return not _SECRET_WORDS.isdisjoint(parts) and parts[-1] not in _HARMLESS_ENDINGS


def _add_time(_logger: object, _method: str, event: EventDict) -> EventDict:
    event.setdefault("timestamp", time.time())
    return event


def _add_logger(_logger: object, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["logger"] = record.name
        event["timestamp"] = record.created
    return event


class _Keep:
    """A processor that copies each line into the ring."""

    def __init__(self, ring: LogRing) -> None:
        self._ring = ring

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        rest = {key: value for key, value in event.items() if key not in ("event", "level", "timestamp")}
        self._ring.add(_time_of(event), str(event.get("level", "info")), str(event.get("event", "")), rest)
        return event


def _time_of(event: EventDict) -> float:
    at = event.get("timestamp")
    return at if isinstance(at, float) else time.time()


def _timestamp(event: EventDict) -> str:
    at = _time_of(event)
    second, micros = divmod(round(at * 1_000_000), 1_000_000)
    return f"{_second(second)}.{micros:06d}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


_JSON = json.JSONEncoder(default=str)


def _as_json(_logger: object, _method: str, event: EventDict) -> str:
    head = {"timestamp": _timestamp(event), "level": event.get("level"), "event": event.get("event")}
    return _JSON.encode(head | {key: value for key, value in event.items() if key not in head})


def _as_json_without_time(_logger: object, _method: str, event: EventDict) -> str:
    head = {"level": event.get("level"), "event": event.get("event")}
    rest = {key: value for key, value in event.items() if key not in head and key != "timestamp"}
    return _JSON.encode(head | rest)


class _Journal:
    """Another renderer's line with journald's priority in front."""

    def __init__(self, render: Callable[[object, str, EventDict], str]) -> None:
        self._render = render

    def __call__(self, logger: object, method: str, event: EventDict) -> str:
        return for_journal(self._render(logger, method, event), str(event.get("level", "info")))


class _Pretty:
    """``TIME LEVEL words key=value``; control characters are escaped, so that no text can fake a line or a colour."""

    def __init__(self, *, in_colour: bool, with_time: bool = True) -> None:
        self._in_colour = in_colour
        self._with_time = with_time

    def __call__(self, _logger: object, _method: str, event: EventDict) -> str:
        level = str(event.get("level", "info"))
        word = f"{level.upper():>8}"
        if self._in_colour:
            word = f"\x1b[{_COLOURS.get(level, '0')}m{word}\x1b[0m"
        rest = [
            f"{key}={_quoted(value)}"
            for key, value in event.items()
            if key not in ("event", "level", "timestamp", "exception")
        ]
        time_and_level = [_timestamp(event), word] if self._with_time else [word.strip()]
        text = " ".join([*time_and_level, _escaped(str(event.get("event", ""))), *rest])
        trace = event.get("exception")
        return text if trace is None else f"{text}\n{_escaped(str(trace), keep_lines=True)}"


def _quoted(value: object) -> str:
    text = _escaped(str(value))
    return f'"{text}"' if " " in text or not text else text


def _escaped(text: str, *, keep_lines: bool = False) -> str:
    def escape(match: re.Match[str]) -> str:
        character = match.group()
        return character if keep_lines and character == "\n" else character.encode("unicode_escape").decode("ascii")

    return _CONTROL.sub(escape, text)
