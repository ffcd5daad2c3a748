"""A table as a file: CSV for spreadsheets, JSON for programs. The rows that are shown, all columns."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from basilica_tui.columns import Table
from basilica_tui.format import Look
from basilica_tui.text import clean

ExportFormat = Literal["csv", "json"]
PICTURES = ("png", "svg")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table_text(table: Table[Any], rows: Sequence[Any], look: Look, form: ExportFormat) -> str:
    """The rows as text in that form; cells read as on the screen, JSON carries every field."""
    if form == "json":
        return "[\n" + ",\n".join(table.copy_text(row) for row in rows) + "\n]\n"
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.id for column in table.columns])
    for row in rows:
        writer.writerow([_cell(c.value(row) if c.value else c.cell(row, look)[0], look) for c in table.columns])
    return out.getvalue()


def export_name(text: str) -> str:
    """A part of a file's name from what another machine may have named."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", clean(text)).strip("-.")[:80] or "view"


def export_path(folder: Path, name: str, form: str, now: float) -> Path:
    """A new file's name, in UTC."""
    return folder / "exports" / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}.{form}"


def write_export(path: Path, content: str | bytes) -> None:
    """Write the file for the operator's eyes only, whole or not at all. Raises OSError; a pipe or device is none."""
    try:
        target = path.resolve()  # what a link names is replaced, not the link
    except RuntimeError:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is a directory" if target.is_dir() else "it is no file")
    draft = target.with_name(f".{target.name[:100]}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
        draft.replace(target)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def typed_path(text: str) -> Path:
    """``~`` is the operator's home; that of a user who does not exist stays as it was typed."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def parse_export(argument: str) -> tuple[ExportFormat, Path | None]:
    """``json``, ``csv PATH`` or ``PATH``, whose ending then says the form."""
    first, _, rest = argument.strip().partition(" ")
    if first in {"csv", "json"}:
        form: ExportFormat = "json" if first == "json" else "csv"
        return form, typed_path(rest.strip()) if rest.strip() else None
    path = typed_path(argument.strip()) if argument.strip() else None
    return "json" if path is not None and path.suffix == ".json" else "csv", path


def export_problem(argument: str) -> str:
    """Why a table cannot be written like that; empty when it can."""
    first, _, rest = argument.strip().partition(" ")
    ending = Path(argument.strip()).suffix.removeprefix(".")
    picture = next((form for form in PICTURES if form in {first, ending}), "")
    if picture:
        return f"{picture} is for plots (P); a table is written as csv or json"
    if first not in {"csv", "json"} and rest.strip().startswith(("/", "~", ".")):
        return f"there is no form {first}; a table is written as csv or json"
    return ""


def _cell(text: str, look: Look) -> str:
    """One cell; a dash that stands for "not known" is empty, and no spreadsheet takes the text for a formula."""
    text = clean(text).strip()
    if text == look.symbols.dash:
        return ""
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def log_text(rows: Sequence[Any]) -> str:
    """Log lines as one JSON object each, for ``jq`` and for support."""
    return "".join(
        json.dumps({"at": r.at, "level": r.level, "event": r.event, **r.fields}, ensure_ascii=False) + "\n"
        for r in rows
    )
