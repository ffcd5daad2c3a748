"""The effective configuration as a table of keys, values and where each came from. Pure, no Textual."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from basilica_tui.columns import Column, Table


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """One setting; ``source`` is empty where the engine does not say."""

    id: str
    value: str
    source: str = ""

    @property
    def section(self) -> str:
        """The part before the last dot."""
        return self.id.rpartition(".")[0]


def config_rows(result: Mapping[str, object]) -> dict[str, ConfigRow]:
    """The answer to ``config.show`` as rows by dotted key."""
    config, sources = result.get("config"), result.get("sources")
    known = sources if isinstance(sources, dict) else {}
    rows = {}
    for key, value in _flat(config if isinstance(config, dict) else {}, ""):
        rows[key] = ConfigRow(key, value, str(known.get(key, "")))
    return rows


def _flat(value: object, prefix: str) -> list[tuple[str, str]]:
    if value == {}:
        return []
    if isinstance(value, dict):
        return [pair for k, v in value.items() for pair in _flat(v, f"{prefix}.{k}" if prefix else str(k))]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [pair for number, item in enumerate(value) for pair in _flat(item, f"{prefix}[{number}]")]
    return [(prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


CONFIG: Table[ConfigRow] = Table(
    collection="config",
    noun="setting",
    first_sort="key",
    is_problem=lambda _: False,
    copy_text=lambda r: json.dumps({"key": r.id, "value": r.value, "source": r.source}, ensure_ascii=False),
    columns=(
        Column("key", "setting", 34, lambda r, k: (r.id, ""), lambda r: r.id, 1, grow=2),
        Column("value", "value", 24, lambda r, k: (r.value or k.symbols.dash, "accent"), lambda r: r.value, 1, grow=4),
        Column("source", "from", 12, lambda r, k: (r.source or k.symbols.dash, "dim"), lambda r: r.source or None, 2),
    ),
)  # fmt: skip
