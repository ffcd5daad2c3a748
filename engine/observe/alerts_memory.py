"""What the alerts' book must keep over a restart besides its rows, as plain JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from engine.observe.alerts_book import AlertBook, Key
from engine.observe.alerts_facts import KeyChange


@dataclass
class Memory:
    """Readings that were wrong and no alert yet, silences, key changes, what nobody was told of, what people know."""

    wrong_since: dict[Key, float] = field(default_factory=dict)
    silences: dict[Key, float] = field(default_factory=dict)
    key_changes: tuple[KeyChange, ...] = ()
    untold: tuple[Key, ...] = ()
    acknowledged: dict[Key, float] = field(default_factory=dict)


def memory_to_json(book: AlertBook, untold: Iterable[Key], key_changes: Iterable[KeyChange]) -> dict[str, object]:
    """Plain values for the store."""
    return {
        "wrong_since": [[*key, at] for key, at in book.wrong_since.items()],
        "silences": [[*key, until] for key, until in book.silences.items()],
        "acknowledged": [[*key, at] for key, at in book.acknowledged.items()],
        "untold": [list(key) for key in untold],
        "key_changes": [asdict(change) for change in key_changes],
    }


def memory_from_json(value: object) -> Memory:
    """What ``memory_to_json`` wrote; empty for anything else, since nothing here is worth a failed start."""
    try:
        return Memory(
            _times(value, "wrong_since"),
            _times(value, "silences"),
            _changes(value),
            _keys(value),
            _times(value, "acknowledged"),
        )
    except (TypeError, ValueError, KeyError):
        return Memory()


def _times(value: object, name: str) -> dict[Key, float]:
    rows = value.get(name, []) if isinstance(value, dict) else []
    return {(str(rule), str(subject)): float(at) for rule, subject, at in rows}


def _keys(value: object) -> tuple[Key, ...]:
    rows = value.get("untold", []) if isinstance(value, dict) else []
    return tuple((str(rule), str(subject)) for rule, subject in rows)


def _changes(value: object) -> tuple[KeyChange, ...]:
    rows = value.get("key_changes", []) if isinstance(value, dict) else []
    return tuple(KeyChange(**row) for row in rows)
