"""The effective configuration as a table of keys, values and where each came from. Pure, no Textual."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from basilica_tui.columns import Column, Table


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """One setting; ``source`` is empty where the engine does not say, ``file`` where the file says the same."""

    id: str
    value: str
    source: str = ""
    file: str = ""

    @property
    def section(self) -> str:
        """The part before the last dot."""
        return self.id.rpartition(".")[0]


def config_rows(result: Mapping[str, object]) -> dict[str, ConfigRow]:
    """The answer to ``config.show`` as rows by dotted key."""
    values = result.get("values")
    if isinstance(values, dict):
        return {str(k): _row(str(k), v) for k, v in values.items() if isinstance(v, dict)}
    config, sources = result.get("config"), result.get("sources")
    known = sources if isinstance(sources, dict) else {}
    rows = {}
    for key, value in _flat(config if isinstance(config, dict) else {}, ""):
        rows[key] = ConfigRow(key, value, str(known.get(key, "")))
    return rows


def _row(key: str, entry: Mapping[str, object]) -> ConfigRow:
    value, file = str(entry.get("value", "")), str(entry.get("file", ""))
    return ConfigRow(key, value, str(entry.get("source", "")), file if file != value else "")


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
    is_problem=lambda r: bool(r.file),
    copy_text=lambda r: json.dumps({"key": r.id, "value": r.value, "source": r.source, "file": r.file or r.value},
                                   ensure_ascii=False),
    columns=(
        Column("key", "setting", 34, lambda r, k: (r.id, ""), lambda r: r.id, 1, grow=2),
        Column("value", "in force", 18, lambda r, k: (r.value or k.symbols.dash, "accent" if r.source != "default" else
                                                      "dim"), lambda r: r.value, 1, grow=3),
        Column("file", "the file says", 13, lambda r, k: (r.file or "", "warn"), lambda r: r.file or None, 3, grow=2),
        Column("source", "from", 12, lambda r, k: (r.source or k.symbols.dash, "dim"), lambda r: r.source or None, 2),
    ),
)  # fmt: skip
