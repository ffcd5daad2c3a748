"""Steps on this host: files and programs. Each returns what takes it back."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable

from engine.config.save import save_config
from engine.deployment.install import system_choice
from engine.deployment.standing import note_standing, put_back
from engine.deployment.status import has_systemd
from engine.diagnostics.plan import EditConfig, InstallService, KeepCopy, MakeKey, RestoreFile, SetMode, WriteFile
from engine.errors import FixFailed
from engine.ssh.keys import ClientKey

Undo = Callable[[], Awaitable[None]]
LAST_WORDS = 400
LOCAL_COMMAND_S = 360.0
"""Longer than a unit may take to start."""


def change_file(action: SetMode | MakeKey | EditConfig | RestoreFile | WriteFile | KeepCopy) -> list[Undo]:
    """Changes of local files. Raises FixFailed, or BasilicaError of whoever does it."""
    try:
        if isinstance(action, SetMode):
            old = action.path.stat().st_mode & 0o7777
            action.path.chmod(action.mode)
            return [_blocking(lambda: action.path.chmod(old))]
        if isinstance(action, MakeKey):
            ClientKey.generate("basilica-miner").save(action.path)
            public = action.path.with_name(action.path.name + ".pub")
            return [_blocking(action.path.unlink), _blocking(public.unlink)]
        if isinstance(action, EditConfig):
            backup = save_config(action.path, action.changes)
            return [_blocking(lambda: shutil.copyfile(backup, action.path))]
        if isinstance(action, WriteFile):
            return _write_file(action)
        if isinstance(action, KeepCopy):
            return _keep_copy(action)
        kept = action.path.with_name(action.path.name + ".broken")
        if action.path.exists():
            shutil.copyfile(action.path, kept)
        shutil.copyfile(action.copy, action.path)
        return (
            [_blocking(lambda: shutil.copyfile(kept, action.path))]
            if kept.exists()
            else [_blocking(action.path.unlink)]
        )
    except OSError as error:
        raise FixFailed(f"{action.path}: {error.strerror or error}", hint="run as the file's owner") from error


def _write_file(action: WriteFile) -> list[Undo]:
    before = action.path.read_bytes() if action.path.exists() else None
    action.path.parent.mkdir(parents=True, exist_ok=True)
    action.path.write_text(action.text)
    if before is None:
        return [_blocking(action.path.unlink)]
    return [_blocking(lambda: action.path.write_bytes(before))]


def _keep_copy(action: KeepCopy) -> list[Undo]:
    found = action.path.stat()
    with action.path.open("rb") as source, action.copy.open("xb") as copy:  # the copy of before is never lost
        os.fchmod(copy.fileno(), 0o600)
        shutil.copyfileobj(source, copy)
    shutil.copystat(action.path, action.copy)
    if os.geteuid() == 0:
        os.chown(action.copy, found.st_uid, found.st_gid)
    return [_blocking(lambda: action.copy.replace(action.path))]


def note_service(action: InstallService) -> Undo:
    """How the service stands now, as the way back to it. Raises BasilicaError."""
    standing = note_standing(system_choice(action.config), has_systemd=has_systemd())

    async def back() -> None:
        await asyncio.to_thread(put_back, standing)

    return back


def _blocking(work: Callable[[], object]) -> Undo:
    async def back() -> None:
        try:
            await asyncio.to_thread(work)
        except OSError as error:
            raise FixFailed(str(error)) from error

    return back


async def run_local(words: tuple[str, ...]) -> bytes:
    """Its output. Raises FixFailed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        raise FixFailed(f"{words[0]} cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(LOCAL_COMMAND_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise FixFailed(f"{' '.join(words)} did not end within {LOCAL_COMMAND_S:g} s") from None
    if process.returncode:
        said = " ".join(output.decode("utf-8", "replace").split())[-LAST_WORDS:]  # why it failed comes last
        hint = "run sudo -v first, or doctor as root" if words[:2] == ("sudo", "-n") else ""
        raise FixFailed(f"{' '.join(words)} ended with status {process.returncode}: {said}", hint=hint)
    return output
