"""Structured logs: one line per happening on stderr, JSON or for people, without secrets, and a ring for consoles."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import sys
import time
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Literal, TextIO

import structlog

from engine.events import Event
from engine.observe.ring import LogRing
from engine.observe.words import lines

__all__ = ["LogRing", "configure_logging", "log_event"]

Format = Literal["auto", "pretty", "json"]
EventDict = MutableMapping[str, object]

HIDDEN = "[hidden]"
_SECRET_WORDS = frozenset(
    {"password", "passphrase", "seed", "token", "signature", "mnemonic", "private", "secret", "authorization"}
)
_HARMLESS_ENDINGS = frozenset({"at", "s", "ms", "file", "path", "name", "count"})
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TALKATIVE = ("asyncssh", "grpc", "alembic", "sqlalchemy", "aiosqlite", "bittensor", "websockets", "uvicorn", "asyncio")
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}


def configure_logging(
    level: str = "info", fmt: Format = "auto", ring: LogRing | None = None, *, stream: TextIO | None = None
) -> None:
    """Send everything logged through structlog or ``logging`` to stderr and, if given, into the ring.

    ``auto`` is for people on a terminal and JSON anywhere else. Libraries speak at warning and above, or at info
    and above when the level is debug.
    """
    output = stream if stream is not None else sys.stderr
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
    last: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if ring is not None:
        last.append(_Keep(ring))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _add_logger, *shared], processors=[*last, render]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    logging.captureWarnings(True)
    quiet = logging.INFO if number <= logging.DEBUG else max(number, logging.WARNING)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(quiet)


def log_event(event: Event) -> None:
    """Log a domain event in the words that operators know, with all its fields."""
    logger = structlog.get_logger("engine.events")
    fields = {
        field.name: value
        for field in dataclasses.fields(event)
        if field.name != "at" and (value := getattr(event, field.name)) not in (None, "", ())
    }
    # structlog's own argument is called ``event`` too; none of our fields is.
    for severity, words in lines(event):
        getattr(logger, severity)(words, kind=event.kind, **fields)


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
    return datetime.fromtimestamp(_time_of(event), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _as_json(_logger: object, _method: str, event: EventDict) -> str:
    head = {"timestamp": _timestamp(event), "level": event.get("level"), "event": event.get("event")}
    return json.dumps(head | {key: value for key, value in event.items() if key not in head}, default=str)


class _Pretty:
    """``TIME LEVEL words key=value``; control characters are escaped, so that no text can fake a line or a colour."""

    def __init__(self, *, in_colour: bool) -> None:
        self._in_colour = in_colour

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
        text = " ".join([_timestamp(event), word, _escaped(str(event.get("event", ""))), *rest])
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
