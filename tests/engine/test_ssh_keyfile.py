"""The key file on real nodes: swapped safely, refused with a reason, never damaged."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from engine.errors import KeyFileRefused, SshAuthFailed, SshChannelFailed
from engine.ssh.authorized_keys import Change, Refusal, WantedKey, inventory, plan_change
from engine.ssh.keyfile import edit_key_file, read_key_file, read_other_files, swap_key_file
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from tests.support.pools import Pools
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
HOLDER = "validator-5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
BUSYBOX_TOOLS = frozenset(
    {"cat", "cp", "find", "head", "id", "ln", "ls", "mkdir", "mv", "readlink", "rm", "sha256sum"}
    | {"sleep", "sync", "tail", "timeout", "wc"}
)
FUTURE, PAST = "20990101000000Z", "20200101000000Z"
ENDS_AT = {FUTURE: 4_070_908_800, PAST: 1_577_836_800}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for private mounts and foreign owners")


def grant(name: str, key: ClientKey | None = None, text: str = FUTURE) -> WantedKey:
    """A wanted key of a throw-away client."""
    key = key or ClientKey.generate()
    return WantedKey(name, HOLDER, key.algorithm, key.blob_base64, ENDS_AT[text], text)


def planner(pool: NodePool, *wanted: WantedKey, managed: tuple[str, ...] = ()) -> Callable[[bytes], Change | Refusal]:
    """``plan_change`` with everything but the old bytes."""
    return partial(plan_change, wanted=wanted, own_blobs={pool.key.blob_base64}, managed_ids=managed)


def litter(node: NodeSshd) -> list[str]:
    """Names of files that a swap might have left beside the key file."""
    return [one.name for one in node.inside(node.home / ".ssh").iterdir() if one.name.startswith(".basilica")]


async def test_add_renew_and_remove_leave_every_foreign_byte(sshd_node: NodeSshd, pools: Pools) -> None:
    """NUL, Latin-1, CRLF, comments and a missing final line feed come through a grant's whole life unchanged."""
    before = b'# caf\xe9 \0 note\r\n\n  from="10.0.0.0/8" ssh-rsa AAAAB3Nza operator\r\n'
    old = pools.known_to(sshd_node, before, b"# no line feed at the end \xff")
    pool = pools.make()
    one, two = grant("g1"), grant("g2")
    added = await edit_key_file(pool, sshd_node.target, planner(pool, one, two))
    assert added.change.added == ("g1", "g2") and sshd_node.keys() == added.state.data
    assert sshd_node.keys().startswith(old + b"\n")
    renewed = await edit_key_file(pool, sshd_node.target, planner(pool, grant("g1"), two))
    assert renewed.change.renewed == ("g1",) and renewed.change.unchanged == ("g2",)
    idle = await edit_key_file(pool, sshd_node.target, planner(pool, two, managed=("g1",)))
    assert idle.change.removed == ("g1",)
    await edit_key_file(pool, sshd_node.target, planner(pool, managed=("g1", "g2")))
    assert sshd_node.keys() == old
    assert sshd_node.authorized_keys.stat().st_mode & 0o777 == 0o600 and not litter(sshd_node)


async def test_a_granted_key_logs_in_and_an_expired_or_removed_one_does_not(sshd_node: NodeSshd, pools: Pools) -> None:
    """sshd itself opens and closes the door; what it refused as expired it admits after a renewal."""
    pools.known_to(sshd_node)
    pool = pools.make()
    good, expired = ClientKey.generate(), ClientKey.generate()
    wanted = (grant("g1", good), grant("g2", expired, PAST))
    await edit_key_file(pool, sshd_node.target, planner(pool, *wanted))
    assert (await pools.make(key=good).run(sshd_node.target, "echo in")).stdout == b"in\n"
    with pytest.raises(SshAuthFailed):
        await pools.make(key=expired).connect(sshd_node.target)
    await edit_key_file(pool, sshd_node.target, planner(pool, wanted[0], grant("g2", expired)))
    assert (await pools.make(key=expired).run(sshd_node.target, "true")).exit_status == 0
    await edit_key_file(pool, sshd_node.target, planner(pool, managed=("g1", "g2")))
    with pytest.raises(SshAuthFailed):
        await pools.make(key=good).connect(sshd_node.target)


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
async def test_the_programs_run_in_every_common_shell(sshd_node: NodeSshd, pools: Pools, shell: str) -> None:
    """The same bytes result from each ``sh`` that nodes have."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    names = {"sh"}
    if shell == "busybox":
        applets = subprocess.run([found, "--list"], capture_output=True, text=True, check=True).stdout.split()
        names |= BUSYBOX_TOOLS.intersection(applets)
    for name in names:
        (sshd_node.tools / name).symlink_to(found)
    old = pools.known_to(sshd_node, after=b"last")
    pool = pools.make()
    for _ in range(2):
        done = await edit_key_file(pool, sshd_node.target, planner(pool, grant("g1"), grant("g2")))
        assert done.state.data == sshd_node.keys() and len(inventory(sshd_node.keys()).ours) == 2
    await edit_key_file(pool, sshd_node.target, planner(pool, managed=("g1", "g2")))
    assert sshd_node.keys() == old and not litter(sshd_node)


@needs_root
async def test_a_missing_file_and_directory_are_made_with_private_modes(
    sshd_nodes: Callable[..., NodeSshd], pools: Pools
) -> None:
    """A node that knows our key from elsewhere gets ~/.ssh (700) and the file (600)."""
    node = sshd_nodes(options=("AuthorizedKeysFile .ssh/authorized_keys elsewhere",))
    (node.home / "elsewhere").write_text(pools.key.public_line + "\n")
    node.own(node.home / "elsewhere")
    (node.home / ".ssh").rmdir()
    pool = pools.make()
    assert not (await read_key_file(pool, node.target)).exists
    added = await edit_key_file(pool, node.target, planner(pool, grant("g1")))
    assert added.state.exists and node.keys() == added.change.new
    assert [(node.home / name).stat().st_mode & 0o777 for name in (".ssh", ".ssh/authorized_keys")] == [0o700, 0o600]


async def test_a_link_is_kept_and_its_target_swapped(sshd_node: NodeSshd, pools: Pools) -> None:
    """A dotfile manager's link survives, with the target's mode."""
    old = pools.known_to(sshd_node)
    target = sshd_node.home / "dotfiles" / "keys"
    target.parent.mkdir()
    sshd_node.own(target.parent)
    sshd_node.authorized_keys.rename(target)
    target.chmod(0o640)
    sshd_node.authorized_keys.symlink_to("../dotfiles/keys")
    pool = pools.make()
    done = await edit_key_file(pool, sshd_node.target, planner(pool, grant("g1")))
    assert done.state.is_link and sshd_node.authorized_keys.is_symlink()
    assert target.read_bytes().startswith(old) and target.stat().st_mode & 0o777 == 0o640


def _replace(node: NodeSshd, make: Callable[[Path], object]) -> None:
    """Put something else in the key file's place, after the connection stands."""
    node.authorized_keys.unlink()
    make(node.authorized_keys)
    if not node.authorized_keys.is_symlink():
        node.own(node.authorized_keys)


GALLERY: dict[str, tuple[str, Callable[[NodeSshd], object]]] = {
    "fifo": ("not_regular", lambda node: _replace(node, os.mkfifo)),
    "directory": ("not_regular", lambda node: _replace(node, Path.mkdir)),
    "dangling": ("dangling_link", lambda node: _replace(node, lambda path: path.symlink_to("nowhere"))),
    "link to /dev/zero": ("not_regular", lambda node: _replace(node, lambda path: path.symlink_to("/dev/zero"))),
    "unreadable": ("unreadable", lambda node: node.authorized_keys.chmod(0)),
    "closed directory": ("unreadable", lambda node: (node.home / ".ssh").chmod(0)),
    "too large": ("too_large", lambda node: node.authorized_keys.write_bytes(b"#" * (1 << 20) + b"\n")),
    "read-only directory": ("read_only", lambda node: (node.home / ".ssh").chmod(0o500)),
    "writable by all": ("mode", lambda node: node.authorized_keys.chmod(0o666)),
    "home writable by all": ("mode", lambda node: node.home.chmod(0o777)),
}


@pytest.mark.parametrize("name", GALLERY)
async def test_what_cannot_be_changed_safely_is_refused_with_its_reason(
    sshd_node: NodeSshd, pools: Pools, name: str
) -> None:
    """Each refusal has a stable word and a hint, and nothing is left behind."""
    if os.geteuid() == 0 and not sshd_node.is_private:
        pytest.skip("root ignores modes")
    reason, prepare = GALLERY[name]
    pools.known_to(sshd_node)
    pool = pools.make()
    await pool.connect(sshd_node.target)
    prepare(sshd_node)
    with pytest.raises(KeyFileRefused) as caught:
        await edit_key_file(pool, sshd_node.target, planner(pool, grant("g1")))
    assert caught.value.reason == reason and caught.value.hint
    (sshd_node.home / ".ssh").chmod(0o700)
    assert not litter(sshd_node)


@needs_root
async def test_a_file_of_another_user_is_left_to_its_owner(sshd_node: NodeSshd, pools: Pools) -> None:
    """A root-owned key file is an operator's decision; renaming over it would undo it."""
    old = pools.known_to(sshd_node)
    pool = pools.make()
    await pool.connect(sshd_node.target)
    os.chown(sshd_node.authorized_keys, 0, 0)
    sshd_node.authorized_keys.chmod(0o644)
    with pytest.raises(KeyFileRefused) as caught:
        await edit_key_file(pool, sshd_node.target, planner(pool, grant("g1")))
    assert caught.value.reason == "owner" and sshd_node.keys() == old


@needs_root
@pytest.mark.parametrize("what", ["file", "directory"])
async def test_an_immutable_file_is_named_as_such(sshd_node: NodeSshd, pools: Pools, what: str) -> None:
    """chattr +i gives the reason "immutable" and the command that undoes it."""
    old = pools.known_to(sshd_node)
    path = sshd_node.authorized_keys if what == "file" else sshd_node.home / ".ssh"
    if subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode != 0:
        pytest.skip("chattr +i does not work on this file system")
    try:
        pool = pools.make()
        with pytest.raises(KeyFileRefused) as caught:
            await edit_key_file(pool, sshd_node.target, planner(pool, grant("g1")))
        assert caught.value.reason == "immutable" and "chattr -i" in caught.value.hint
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    assert sshd_node.keys() == old and not litter(sshd_node)


@needs_root
@pytest.mark.parametrize("free_kib", [0, 4])
async def test_a_full_disk_leaves_the_file_as_it_was(
    sshd_nodes: Callable[..., NodeSshd], pools: Pools, free_kib: int
) -> None:
    """Neither adding nor removing on a full file system loses a byte; with space again, both work."""
    node = sshd_nodes(ssh_dir_kib=64)
    pools.known_to(node, b"".join(b"# operator line %d\n" % n for n in range(400)))
    pool = pools.make()
    await edit_key_file(pool, node.target, planner(pool, grant("g0")))
    before = node.keys()
    filler = node.inside(node.home / ".ssh" / "filler")
    page = 0
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            page += 1
    os.truncate(filler, (page * 4 - free_kib) * 1024)
    for plan in (planner(pool, grant("g0"), grant("g1")), planner(pool, managed=("g0",))):
        with pytest.raises(KeyFileRefused) as caught:
            await edit_key_file(pool, node.target, plan)
        assert caught.value.reason == "no_space"
        assert node.keys() == before and not litter(node)
    filler.unlink()
    done = await edit_key_file(pool, node.target, planner(pool, managed=("g0",)))
    assert done.change.removed == ("g0",)


@needs_root
async def test_a_read_only_file_system_is_named_as_such(sshd_nodes: Callable[..., NodeSshd], pools: Pools) -> None:
    """Remounted after an error, as kernels do: adding and removing are refused, and work again when it is writable."""
    node = sshd_nodes(ssh_dir_kib=64)
    pools.known_to(node)
    pool = pools.make()
    await edit_key_file(pool, node.target, planner(pool, grant("g0")))
    before = node.keys()

    def remount(mode: str) -> None:
        subprocess.run(
            ["nsenter", "--target", str(node.pid), "--mount", "mount", "-o", f"remount,{mode}", node.home / ".ssh"],
            check=True,
        )

    remount("ro")
    for plan in (planner(pool, grant("g0"), grant("g1")), planner(pool, managed=("g0",))):
        with pytest.raises(KeyFileRefused) as caught:
            await edit_key_file(pool, node.target, plan)
        assert caught.value.reason == "read_only" and "mounted read-only" in caught.value.hint
        assert node.keys() == before
    remount("rw")
    done = await edit_key_file(pool, node.target, planner(pool, managed=("g0",)))
    assert done.change.removed == ("g0",) and not litter(node)


@needs_root
async def test_an_account_without_a_home_is_refused(sshd_nodes: Callable[..., NodeSshd], pools: Pools) -> None:
    """sshd lets it in by a key file elsewhere, and there is no place for keys."""
    node = sshd_nodes(has_own_etc=True, options=("AuthorizedKeysFile /etc/ssh/keys/%u",))
    keys = node.etc_ssh / "keys" / node.username
    keys.parent.mkdir()
    keys.write_text(pools.key.public_line + "\n")
    shutil.rmtree(node.home)
    with pytest.raises(KeyFileRefused) as caught:
        await edit_key_file(pools.make(), node.target, planner(pools.make(), grant("g1")))
    assert caught.value.reason == "no_home" and caught.value.hint
    assert not node.home.exists()


@pytest.mark.parametrize("way", ["ForceCommand", "command="])
async def test_a_forced_command_in_front_is_not_taken_for_an_answer(
    sshd_nodes: Callable[..., NodeSshd], pools: Pools, way: str
) -> None:
    """Whoever forces one, sshd or the line of the engine's own key: refused, and the hint names both places."""
    node = sshd_nodes(options=("ForceCommand echo no shell here",) if way == "ForceCommand" else ())
    prefix = 'command="echo not you" ' if way == "command=" else ""
    node.authorize(prefix + pools.key.public_line + "\n")
    before = node.keys()
    with pytest.raises(SshChannelFailed, match="no POSIX shell") as caught:
        await edit_key_file(pools.make(), node.target, planner(pools.make(), grant("g1")))
    assert "ForceCommand" in caught.value.hint and "command=" in caught.value.hint
    assert node.keys() == before


async def test_a_file_that_changed_since_it_was_read_is_not_swapped(sshd_node: NodeSshd, pools: Pools) -> None:
    """The swap compares with what was read, for content, absence and appearance alike."""
    pools.known_to(sshd_node)
    pool = pools.make()
    state = await read_key_file(pool, sshd_node.target)
    newer = pools.known_to(sshd_node, b"# somebody was faster\n")
    with pytest.raises(KeyFileRefused) as caught:
        await swap_key_file(pool, sshd_node.target, state, b"# ours\n")
    assert caught.value.reason == "changed" and sshd_node.keys() == newer
    sshd_node.authorized_keys.unlink()
    with pytest.raises(KeyFileRefused) as caught:
        await swap_key_file(pool, sshd_node.target, state, b"# ours\n")
    assert caught.value.reason == "changed" and not sshd_node.authorized_keys.exists()
    absent = await read_key_file(pool, sshd_node.target)
    pools.known_to(sshd_node)
    with pytest.raises(KeyFileRefused) as caught:
        await swap_key_file(pool, sshd_node.target, absent, b"# ours\n")
    assert caught.value.reason == "changed" and not litter(sshd_node)


async def test_a_file_edited_all_the_time_is_reported_as_being_edited(sshd_node: NodeSshd, pools: Pools) -> None:
    """After five attempts the engine says so instead of fighting."""
    pools.known_to(sshd_node)
    pool = pools.make()
    attempts = 0

    def plan(old: bytes) -> Change | Refusal:
        nonlocal attempts
        attempts += 1
        with sshd_node.authorized_keys.open("ab") as file:
            file.write(b"# edit %d\n" % attempts)
        return planner(pool, grant("g1"))(old)

    with pytest.raises(KeyFileRefused) as caught:
        await edit_key_file(pool, sshd_node.target, plan)
    assert (caught.value.reason, attempts) == ("being_edited", 5)
    assert sshd_node.keys().count(b"# edit") == 5 and not inventory(sshd_node.keys()).ours


async def test_an_operators_appends_all_survive_many_rewrites(sshd_node: NodeSshd, pools: Pools) -> None:
    """Lines appended with >> while grants come and go are all there in the end."""
    pools.known_to(sshd_node)
    pool = pools.make()
    stop = asyncio.Event()
    appended = 0

    async def operator() -> None:
        nonlocal appended
        while not stop.is_set():
            with sshd_node.authorized_keys.open("ab", buffering=0) as file:
                await asyncio.sleep(0.003)
                file.write(b"# operator %d\n" % appended)
            appended += 1
            await asyncio.sleep(0.1)

    task = asyncio.create_task(operator())
    for turn in range(6):
        keys = [grant("g1")] if turn % 2 == 0 else []
        try:
            await edit_key_file(pool, sshd_node.target, planner(pool, *keys, managed=("g1",)))
        except KeyFileRefused as error:
            assert error.reason == "being_edited"
    stop.set()
    await task
    lines = [line for line in sshd_node.keys().splitlines() if line.startswith(b"# operator")]
    # A replayed line may come after one that was written straight to the new file.
    assert sorted(lines) == sorted(b"# operator %d" % number for number in range(appended))


@pytest.mark.parametrize("way", ["append", "rewrite"])
async def test_an_editor_that_had_the_old_file_open_loses_nothing(sshd_node: NodeSshd, pools: Pools, way: str) -> None:
    """What is written to the old file right after the swap is replayed, or put back and the change planned anew."""
    pools.known_to(sshd_node)
    pool = pools.make()
    fuse = sshd_node.home / "fuse"
    fuse.touch()
    sshd_node.own(fuse)
    operators = pools.key.public_line + "\n# written through an open descriptor\n"
    (sshd_node.home / "edited").write_text(operators)
    edit = {"append": "tail -n 1 ~/edited >>", "rewrite": "cat ~/edited >"}[way]
    # The pause after the swap is the moment in which an editor may still hold the old file.
    slow = sshd_node.tools / "sleep"
    slow.write_text(
        "#!/bin/sh\n[ -e ~/fuse ] && rm ~/fuse && "
        f'for old in ~/.ssh/.basilica-ak.*.old; do {edit} "$old"; done\nexec /bin/sleep $1\n'
    )
    slow.chmod(0o755)
    done = await edit_key_file(pool, sshd_node.target, planner(pool, grant("g1")))
    assert not fuse.exists() and sshd_node.keys() == done.state.data
    kinds = sorted(line.raw.decode().split()[0] for line in inventory(sshd_node.keys()).lines)
    assert [kind.split(",")[0] for kind in kinds] == ["#", "restrict", "ssh-ed25519"]
    assert not litter(sshd_node)


async def test_forty_grants_by_four_engines_at_once_are_all_there(sshd_node: NodeSshd, pools: Pools) -> None:
    """Writers that know nothing of each other lose none of each other's lines."""
    old = pools.known_to(sshd_node)

    async def engine(number: int) -> None:
        pool = pools.make()
        mine: list[WantedKey] = []
        for turn in range(0, 10, 2):
            mine += [grant(f"e{number}-{turn}"), grant(f"e{number}-{turn + 1}")]
            while True:
                try:
                    await edit_key_file(pool, sshd_node.target, planner(pool, *mine))
                    break
                except KeyFileRefused as error:
                    assert error.reason == "being_edited"

    await asyncio.gather(*(engine(number) for number in range(4)))
    assert sorted(line.grant_id for line in inventory(sshd_node.keys()).ours) == sorted(
        f"e{number}-{turn}" for number in range(4) for turn in range(10)
    )
    assert sshd_node.keys().startswith(old) and not litter(sshd_node)


async def test_many_edits_of_one_node_in_one_engine_take_turns(sshd_node: NodeSshd, pools: Pools) -> None:
    """The writer lock makes parallel edits a queue: no retry is needed and the last plan wins."""
    pools.known_to(sshd_node)
    pool = pools.make()
    reads = 0

    def plan(old: bytes, name: str) -> Change | Refusal:
        nonlocal reads
        reads += 1
        return planner(pool, grant(name))(old)

    names = [f"g{number}" for number in range(12)]
    await asyncio.gather(*(edit_key_file(pool, sshd_node.target, partial(plan, name=name)) for name in names))
    assert reads == 12 and len(inventory(sshd_node.keys()).ours) == 12


async def test_a_lost_connection_during_the_swap_is_settled_by_reading_again(sshd_node: NodeSshd, pools: Pools) -> None:
    """The session dies right after the swap: the edit ends well, and the line is there once."""
    pools.known_to(sshd_node)
    pool = pools.make()
    fuse = sshd_node.home / "fuse"
    fuse.touch()
    sshd_node.own(fuse)
    sabotage = sshd_node.tools / "mv"
    sabotage.write_text(
        f'#!/bin/sh\n/bin/mv "$@"\nif [ -e "{fuse}" ]; then rm "{fuse}"; pkill -KILL -f "^sshd: .*@notty"; fi\n'
    )
    sabotage.chmod(0o755)
    if not sshd_node.is_private:
        pytest.skip("killing sessions by name needs a process namespace of the node's own")
    done = await edit_key_file(pool, sshd_node.target, planner(pool, grant("g1")))
    assert not fuse.exists() and done.change.unchanged == ("g1",)
    assert len(inventory(sshd_node.keys()).ours) == 1


async def test_old_litter_is_swept_and_young_files_are_left(sshd_node: NodeSshd, pools: Pools) -> None:
    """Temporary files of a killed swap go after ten minutes, at the next visit."""
    pools.known_to(sshd_node)
    for name, age in ((".basilica-ak.old.new", 700), (".basilica-ak.young.new", 10)):
        path = sshd_node.home / ".ssh" / name
        path.touch()
        sshd_node.own(path)
        stamp = path.stat().st_mtime - age
        os.utime(path, (stamp, stamp))
    pool = pools.make()
    await edit_key_file(pool, sshd_node.target, planner(pool, grant("g1")))
    assert litter(sshd_node) == [".basilica-ak.young.new"]


async def test_noise_from_the_nodes_login_scripts_does_no_harm(sshd_node: NodeSshd, pools: Pools) -> None:
    """A node that greets every command is still read correctly."""
    old = pools.known_to(sshd_node)
    noisy = sshd_node.tools / "sh"
    noisy.write_text('#!/bin/sh\n[ -n "$GREETED" ] || echo "Welcome!"\nexport GREETED=1\nexec /bin/sh "$@"\n')
    noisy.chmod(0o755)
    second = sshd_node.authorized_keys.with_name("authorized_keys2")
    second.write_bytes(b"# two\n\0no line feed")
    pool = pools.make()
    assert (await read_key_file(pool, sshd_node.target)).data == old
    found = await read_other_files(pool, sshd_node.target)
    assert (found.second, found.root) == (second.read_bytes(), b"")
