"""``python -m tests.doctor_doc``: write the tables of docs/doctor.md from the checks, the fixes and the gallery."""

from __future__ import annotations

import re
from pathlib import Path

from engine.diagnostics.catalogue import CATALOGUE
from engine.diagnostics.fixes import FIXES
from engine.diagnostics.model import Cause
from tests.gallery.host_situations import HOST_SITUATIONS
from tests.gallery.node_situations import NODE_SITUATIONS

PAGE = Path(__file__).parents[1] / "docs" / "doctor.md"


def tables() -> dict[str, str]:
    """The three generated parts by the name of their marker."""
    return {"checks": _checks(), "fixes": _fixes(), "gallery": _gallery()}


def main() -> None:
    """Replace what stands between the markers."""
    text = PAGE.read_text()
    for name, table in tables().items():
        new = f"<!-- {name} -->\n{table}\n<!-- /{name} -->"
        text = re.sub(rf"<!-- {name} -->.*<!-- /{name} -->", lambda _, new=new: new, text, flags=re.DOTALL)  # type: ignore[misc]  # bound in this turn
    PAGE.write_text(text)


def _checks() -> str:
    parts = []
    for check in CATALOGUE:
        lines = [f"### {check.id}", "", f"{check.title}. *Costs*: {check.meaning}."]
        if check.causes:
            lines += ["", *map(_cause, check.causes)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cause(cause: Cause) -> str:
    fixes = f" → {', '.join(f'`{fix}`' for fix in cause.fixes)}" if cause.fixes else ""
    advice = f" *Advice*: {cause.advice}." if cause.advice else ""
    return f"- `{cause.id}`: {cause.words}{fixes}.{advice}"


def _fixes() -> str:
    lines = ["| fix | what it does | know before |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{fix.id}` | {fix.title} | {fix.warning} |" for fix in FIXES.values())])


def _gallery() -> str:
    lines = ["| situation | check | cause | fix | afterwards |", "|---|---|---|---|---|"]
    for one in (*NODE_SITUATIONS, *HOST_SITUATIONS):
        fix = f"`{one.fix}`" if one.fix else "advice"
        after = "repaired" if one.repaired else f"named; {one.why_not}"
        lines.append(f"| {one.name} | `{one.check}` | `{one.cause}` | {fix} | {after} |")
    count = len(NODE_SITUATIONS) + len(HOST_SITUATIONS)
    repaired = sum(one.repaired for one in (*NODE_SITUATIONS, *HOST_SITUATIONS))
    return "\n".join([f"{count} situations, {repaired} of them repaired by the doctor.", "", *lines])


if __name__ == "__main__":
    main()
