"""A report as text for people, JSON for programs, and Markdown for a support channel, with secrets removed."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from engine.diagnostics.model import Report, Result, Subject, Verdict

MARKS = {Verdict.OK: "ok", Verdict.WARNING: "warn", Verdict.FAILED: "FAIL", Verdict.SKIPPED: "skip"}
FORMAT = 1
"""Of the JSON; grows when a field changes its meaning."""

_SECRETS = (
    # Longest first: a URL with credentials before the address in it.
    (re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/@]*@", re.IGNORECASE), r"\1***@"),
    (re.compile(r"((?:discord|tgram|slack|json|mailto)s?://)\S+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b((?:password|passwd|secret|token|seed|mnemonic)\w*\s*[=:]\s*)\S+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b0x[0-9a-fA-F]{64}\b"), "0x***"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"), "a.b.c.d"),
    (re.compile(r"\b5[1-9A-HJ-NP-Za-km-z]{46,47}\b"), "SS58"),
    (re.compile(r"/home/[A-Za-z0-9._-]+|/root\b"), "~"),
)


_MAYBE_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:])")


def redact(text: str) -> str:
    """Text without addresses, credentials and home directories: fit for strangers. Pure, and never exact science."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return _MAYBE_IPV6.sub(_without_ipv6, text)


def _without_ipv6(found: re.Match[str]) -> str:
    try:
        ipaddress.IPv6Address(found[0])
    except ValueError:  # a time, a MAC address
        return found[0]
    return "a:b::c"


def render_json(report: Report) -> str:
    """The whole report; ids and verdicts are stable, words are not."""
    document = {
        "format": FORMAT,
        "version": report.version,
        "started_at": datetime.fromtimestamp(report.started_at, UTC).isoformat(timespec="seconds"),
        "seconds": round(report.seconds, 2),
        "config": report.config,
        "role": report.role,
        "exit_code": report.exit_code,
        "counts": {verdict.value: report.count(verdict) for verdict in Verdict},
        "results": [_entry(one) for one in report.results],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _entry(result: Result) -> dict[str, object]:
    return {
        "check": result.check,
        "scope": result.scope.value,
        "node": result.subject.id,
        "subject": result.subject.label,
        "verdict": result.verdict.value,
        "title": result.title,
        "evidence": list(result.evidence),
        "cause": result.cause,
        "cause_words": result.cause_words,
        "fixes": list(result.fixes),
        "advice": result.advice,
        "reason": result.reason,
        "link": result.link,
    }


def render_text(report: Report, *, verbose: bool = False) -> str:
    """Findings in full, the rest counted; ``verbose`` adds a line for everything."""
    if not report.results:
        return "nothing was looked at: what was asked for, nodes or a part of this host, is not in this configuration"
    lines: list[str] = []
    for subject in dict.fromkeys(one.subject for one in report.results):
        of_it = [one for one in report.results if one.subject == subject]
        shown = [line for one in of_it for line in _lines(one, verbose=verbose)]
        if not shown and all(one.verdict is Verdict.SKIPPED for one in of_it):
            shown = [f"  skip all: {reason}" for reason in dict.fromkeys(one.reason for one in of_it)]
        lines += [f"{subject.label}: {_counts(of_it)}", *shown]
    lines.append(f"{_counts(report.results)} in {report.seconds:.1f} s")
    return "\n".join(lines)


def _lines(result: Result, *, verbose: bool) -> list[str]:
    head = f"  {MARKS[result.verdict]:<4} {result.check:<20} "
    if not result.is_finding:
        if not verbose:
            return []
        return [head + (result.reason or "; ".join(result.evidence))]
    lines = [head + result.cause_words, *(f"         {text}" for text in result.evidence)]
    lines.append(f"         costs: {result.meaning}")
    if result.fixes:
        lines.append(f"         fix: {', '.join(result.fixes)}")
    if result.advice:
        lines.append(f"         {'else' if result.fixes else 'do'}: {result.advice}")
    return lines


def _counts(results: Iterable[Result]) -> str:
    verdicts = [one.verdict for one in results]
    words = {Verdict.OK: "ok", Verdict.WARNING: "warnings", Verdict.FAILED: "failed", Verdict.SKIPPED: "skipped"}
    return ", ".join(f"{verdicts.count(verdict)} {word}" for verdict, word in words.items())


def render_markdown(report: Report) -> str:
    """For a support channel: findings with their evidence, everything else in one table; nodes are numbered."""
    names = {
        subject: "this host" if not subject.id else f"node {number}"
        for number, subject in enumerate(dict.fromkeys(one.subject for one in report.results))
    }
    lines = [
        f"### basilica-tui doctor {report.version}",
        "",
        f"{report.role or 'no role'}, {_counts(report.results)}, {report.seconds:.1f} s. "
        "Addresses, names and secrets are removed.",
        "",
    ]
    hidden = [word for subject in names if subject.id for word in _names(subject) if word]
    for one in report.findings:
        head = f"- **{one.verdict.value}** `{one.check}` on {names[one.subject]}"
        lines.append(f"{head}: {_plain(one.cause_words, hidden)} (`{one.cause}`)")
        lines += [f"  - {_plain(text, hidden)}" for text in one.evidence]
        if one.fixes:
            lines.append(f"  - fix: {', '.join(f'`{fix}`' for fix in one.fixes)}")
    if not report.findings:
        lines.append("No findings.")
    lines += ["", "| subject | ok | skipped |", "|---|---|---|"]
    for subject, name in names.items():
        of_it = [one for one in report.results if one.subject == subject]
        good = ", ".join(one.check for one in of_it if one.verdict is Verdict.OK)
        left = ", ".join(one.check for one in of_it if one.verdict is Verdict.SKIPPED)
        lines.append(f"| {name} | {good} | {left} |")
    return "\n".join(lines) + "\n"


def _names(subject: Subject) -> tuple[str, ...]:
    """What a node is called in sentences: whole, and its host alone."""
    host = subject.label.rpartition("@")[2].rpartition(":")[0].strip("[]")
    return subject.label, subject.id, host


def _plain(text: str, hidden: list[str]) -> str:
    for label in sorted(hidden, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(label)}(?![\w-])", "NODE", text)
    return redact(text).replace("`", "'").replace("|", "/")
