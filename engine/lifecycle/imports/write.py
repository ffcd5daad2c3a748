"""The new miner.toml: values with the reason beside them, and what was left out as comments."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import tomlkit

from engine.config import load_miner_config
from engine.config.miner import MinerConfig
from engine.config.save import write_config
from engine.errors import ConfigInvalid, ImportFailed
from engine.lifecycle.imports.plan import ImportPlan


def render_import(plan: ImportPlan) -> str:
    """The file's text, valid TOML."""
    lines = [
        _remark(f"Taken over from {plan.deployment.config_path}, a file of {plan.era.tag}: {plan.era.words}."),
        "# That file is as it was. A remark says where a value is not simply the old one.",
    ]
    for section in _sections(plan):
        lines += ["", f"[{section}]"]
        for key in _keys_of(section, plan.values):
            remark = plan.comments.get(key)
            lines.append(f"{_name(key)} = {_toml(plan.values[key])}" + (f"  {_remark(remark)}" if remark else ""))
        for key in _keys_of(section, plan.left_out):
            value, why = plan.left_out[key]
            lines.append(f"# {_name(key)} = {_toml(value)}  {_remark(why)}")
    lines += _nodes(plan)
    dropped = sorted({row.key for row in plan.rows if row.kind == "dropped"})
    if dropped:
        lines += ["", "# Not taken over:", *(_remark(f"- {key}") for key in dropped)]
    text = "\n".join(lines) + "\n"
    tomlkit.parse(text)
    return text


def write_import(plan: ImportPlan, target: Path, text: str) -> Path | None:
    """Write the file, an existing one copied aside first; returns that copy. Raises ImportFailed, ConfigInvalid."""
    if target.expanduser().resolve() == plan.deployment.config_path.resolve():
        raise ImportFailed(f"{target} is the old file itself", hint="name another file with --to")
    return write_config(target, text)


def problems_of(text: str, target: Path) -> tuple[str, ...]:
    """What would keep an engine from starting with this text."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "miner.toml"
        path.write_text(text, "utf-8")
        try:
            load_miner_config(path, env={})
        except ConfigInvalid as error:
            return tuple(problem.replace(str(path), str(target)) for problem in error.problems)
    return ()


def _sections(plan: ImportPlan) -> list[str]:
    """Sections with something in them, in the order of the model, each before its own sub-sections."""
    wanted = {key.rpartition(".")[0] for key in [*plan.values, *plan.left_out]}
    order = {name: index for index, name in enumerate(MinerConfig.model_fields)}
    return sorted(wanted, key=lambda section: (order.get(section.partition(".")[0], len(order)), section))


def _keys_of(section: str, keys: Iterable[str]) -> list[str]:
    return [key for key in keys if key.rpartition(".")[0] == section]


def _nodes(plan: ImportPlan) -> list[str]:
    lines: list[str] = []
    for node in plan.nodes:
        if not node.is_taken:
            lines += ["", _remark(f"{node.address} was not taken over: {node.why}")]
            continue
        remark = "" if "id" in node.values else f"  {_remark(f'known to validators as {node.new_id}')}"
        lines += ["", f"[[node_management.nodes]]{remark}"]
        for name, value in node.values.items():
            lines.append(f"{name} = {_toml(value)}" + (f"  {_remark(node.why)}" if name == "id" else ""))
    return lines


def _remark(text: str) -> str:
    """A comment of one line, whatever the old file had in it."""
    return "# " + "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _name(key: str) -> str:
    return key.rpartition(".")[2]


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        inner = tomlkit.inline_table()
        inner.update({str(name): item for name, item in value.items()})
        return inner.as_string()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return tomlkit.item(list(value) if isinstance(value, tuple) else value).as_string()
