"""Hosts of the operator's SSH configuration beside the nodes that stand in the field already."""

# ruff: noqa: PLC0415 - engine.setup brings SSH, which only the page's work needs

from __future__ import annotations

from pathlib import Path

from basilica_tui.format import plural

NAMED = 6


def with_hosts(file: Path, value: str, username: str) -> tuple[str, str]:
    """The field's text with the file's hosts, and what there is to say of them. Raises OSError."""
    from engine.setup.ssh_config import read_ssh_config

    hosts = read_ssh_config(file, username=username)
    there = value.replace(",", " ").split()
    new = [entry.text for entry in hosts.entries if entry.text not in there]
    note = f"{len(new)} of {plural(len(hosts.entries), 'host')} in {file} added; take out what is no GPU node"
    if hosts.behind:
        more = f" and {len(hosts.behind) - NAMED} more" if len(hosts.behind) > NAMED else ""
        names = ", ".join(hosts.behind[:NAMED])
        note += f". Left out: {names}{more}, behind a jump host, where no validator gets"
    return ", ".join(filter(None, [value.strip(" ,"), *new])), note
