"""A key file that only root can write, set up on a node and taken away again.

sshd reads it in addition to what it reads already, for this one account: a file in ``sshd_config.d`` says so. It is
tested by ``sshd -t`` and ``sshd -T`` before it is put in place, so that no moment has a configuration that would not
start; sshd then reads its configuration anew (SIGHUP), which no open session notices. Whether logins still work is
for the caller to prove.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.errors import KeyFileRefused, SshChannelFailed
from engine.ssh import failures
from engine.ssh.keyfile_script import as_root, is_plain_account
from engine.ssh.pool import NodePool
from engine.ssh.target import ROOT_DIRECTORY, NodeTarget, RootFile

_TIMEOUT_S = 30.0
_BEGIN = b"BASILICA-ROOT 1\n"
_WORD = re.compile(r"[A-Za-z0-9%/._~-]{1,200}")
_CONF_DIRECTORY = "/etc/ssh/sshd_config.d"


@dataclass(frozen=True, slots=True)
class RootLook:
    """What the node is like before anything is changed there."""

    sshd: str
    """The program, by its path."""
    key_files: tuple[str, ...]
    """What ``AuthorizedKeysFile`` is for the account now."""
    is_set_up: bool
    """Whether that names the file already."""
    is_reloaded_by_signal: bool
    """False where sshd is started for each connection and reads its configuration then."""
    guests_can: tuple[str, ...] = ()
    """Ways by which the account itself becomes root, in words: what they do to the file's worth."""


def drop_in(account: str) -> str:
    """The file in sshd's configuration that names the key file."""
    return f"{_CONF_DIRECTORY}/10-basilica-keys-{account}.conf"


def drop_in_text(account: str, key_files: tuple[str, ...]) -> str:
    """What stands in it. ``key_files`` are those that sshd reads already; none of them is lost."""
    files = " ".join([*(one for one in key_files if not one.startswith(ROOT_DIRECTORY)), f"{ROOT_DIRECTORY}/%u"])
    return (
        "# basilica-tui: validators' keys are kept where only root can write.\n"
        "# Taken away by: basilica-tui keys protect --undo\n"
        f"Match User {account}\n    AuthorizedKeysFile {files}\nMatch all\n"
    )


_COMMON = r"""
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
export LC_ALL PATH
umask 022
account=$1 conf=$2 directory=$3
main=/etc/ssh/sshd_config
sshd= master= p=$$
while [ "${p:-0}" -gt 0 ]; do
    read -r name <"/proc/$p/comm" || break
    title=$(tr "\000" " " <"/proc/$p/cmdline")
    case $name in sshd*) case $title in *"[listener]"*) master=$p; break ;; esac ;; esac
    read -r line <"/proc/$p/stat" || break
    line=${line##*) }
    line=${line#* }
    p=${line%% *}
done 2>/dev/null
if [ -n "$master" ]; then
    case " $title " in
    *" -f $main "*) ;;
    *" -f"*) exit 61 ;;
    esac
    set -- $title
    [ -x "$2" ] && sshd=$2
fi
[ -n "$sshd" ] || sshd=$(command -v sshd) || exit 60
effective() {
    "$sshd" -T -f "$1" -C "user=$account,host=localhost,addr=127.0.0.1" | sed -n "s/^authorizedkeysfile //p"
}
reload() { [ -z "$master" ] || kill -s HUP "$master" || exit 66; }
"""

_LOOK = (
    _COMMON
    + r"""
[ -f "$main" ] || exit 61
id "$account" >/dev/null 2>&1 || exit 67
sed -n "/^[[:space:]]*[Mm][Aa][Tt][Cc][Hh][[:space:]]/q;p" "$main" |
    grep -qiE "^[[:space:]]*Include[[:space:]].*sshd_config\.d/\*\.conf" || exit 62
"$sshd" -t -f "$main" || exit 63
printf "BASILICA-ROOT 1\nsshd %s\nmaster %s\nfiles %s\n" "$sshd" "$master" "$(effective "$main")"
"""
)

_INSTALL = (
    _COMMON
    + r"""
new=$conf.new
trial=/etc/ssh/.basilica-trial.$$
trap 'rm -f "$new" "$trial"' EXIT
trap "exit 70" HUP INT TERM PIPE
mkdir -p -m 755 "$directory" && chown 0:0 "$directory" && chmod 755 "$directory" || exit 73
if ! [ -e "$directory/$account" ]; then (set -C; : >"$directory/$account") || exit 73; fi
chown 0:0 "$directory/$account" && chmod 644 "$directory/$account" || exit 73
cat >"$new" && chmod 644 "$new" && { printf "Include %s\n" "$new"; cat "$main"; } >"$trial" || exit 72
"$sshd" -t -f "$trial" || exit 64
case " $(effective "$trial") " in *" $directory/%u "* | *" $directory/$account "*) ;; *) exit 65 ;; esac
sync
mv -f "$new" "$conf" || exit 72
"$sshd" -t -f "$main" || { rm -f "$conf"; exit 64; }
case " $(effective "$main") " in
*" $directory/%u "* | *" $directory/$account "*) ;;
*) rm -f "$conf"; exit 65 ;;
esac
sync
reload
printf "BASILICA-ROOT 1\n"
"""
)

_REMOVE = (
    _COMMON
    + r"""
if [ -e "$directory/$account" ] && grep -q "[^[:space:]]" "$directory/$account"; then exit 68; fi
trap "" HUP INT TERM PIPE
if [ -e "$conf" ]; then
    mv -f "$conf" "$conf.gone" || exit 72
    "$sshd" -t -f "$main" || { mv -f "$conf.gone" "$conf"; exit 63; }
    rm -f "$conf.gone"
    sync
    reload
fi
rm -f "$directory/$account" "$conf.new"
rmdir "$directory" 2>/dev/null
printf "BASILICA-ROOT 1\n"
"""
)

_GUESTS = (
    'printf "BASILICA-ROOT 1\\n"; [ "$(id -u)" = 0 ] && echo root; '
    "command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null && echo sudo; "
    'for g in $(id -nG); do case $g in docker|podman|lxd|disk) echo "$g" ;; esac; done; true'
)
_WAYS = {
    "root": "the account is root itself",
    "sudo": "the account may use sudo without a password",
    "docker": "the account is in the group docker, which can become root",
    "podman": "the account is in the group podman",
    "lxd": "the account is in the group lxd, which can become root",
    "disk": "the account is in the group disk, which can write every file",
}

_REFUSALS: dict[int, tuple[str, str, str]] = {
    60: ("no_sshd", "the program sshd was not found", "this works with OpenSSH's sshd only"),
    61: (
        "other_config",
        "sshd there reads another configuration than /etc/ssh/sshd_config",
        f"add by hand: AuthorizedKeysFile … {ROOT_DIRECTORY}/%u",
    ),
    62: (
        "no_include",
        "/etc/ssh/sshd_config includes no sshd_config.d/*.conf before its first Match",
        "put at its top: Include /etc/ssh/sshd_config.d/*.conf (OpenSSH 8.2 and newer)",
    ),
    63: ("broken_config", "sshd -t refuses the configuration as it stands", "mend it first: sshd -t"),
    64: ("refused_config", "sshd -t refuses what would be added; nothing was changed", "see sshd's words"),
    65: (
        "not_effective",
        "another line of sshd's configuration decides which key files are read; nothing was changed",
        "see which: sshd -T -C user=ACCOUNT,host=localhost,addr=127.0.0.1",
    ),
    66: ("not_reloaded", "sshd could not be told to read its configuration anew", "systemctl reload ssh"),
    67: ("no_account", "that account is unknown there", "see the node's user name in the configuration"),
    68: ("in_use", f"the key file in {ROOT_DIRECTORY} still holds lines", "take out those that are not the miner's"),
    70: ("interrupted", "the change was interrupted on the node", "do it again"),
    72: ("write_failed", "a file could not be written in /etc/ssh", "look at disk space, and at mount options"),
    73: ("read_only", f"{ROOT_DIRECTORY} could not be made", "look at disk space, and at mount options"),
    86: ("no_root", "that login is neither root nor may it use sudo without a password", "name another login"),
}


async def look(pool: NodePool, target: NodeTarget, root: RootFile) -> RootLook:
    """What would be changed, and what the account can do by itself. Raises KeyFileRefused and SshFailure."""
    facts = dict(line.partition(" ")[::2] for line in (await _run(pool, root, _LOOK)).splitlines())
    files = tuple(facts.get("files", "").split())
    if not files or not all(_WORD.fullmatch(one) for one in files):
        raise KeyFileRefused(
            f"{root.login.label}: AuthorizedKeysFile is not understood: {failures.plain(facts.get('files', ''), 200)}",
            reason="other_config",
            hint=f"add by hand: AuthorizedKeysFile … {ROOT_DIRECTORY}/%u",
        )
    result = await pool.run(target, _GUESTS, timeout_s=_TIMEOUT_S, max_output_bytes=4096)
    ways = result.stdout.decode("utf-8", "replace").splitlines()
    return RootLook(
        failures.plain(facts.get("sshd", ""), 200),
        files,
        any(one.startswith(ROOT_DIRECTORY + "/") for one in files),
        bool(facts.get("master", "").strip()),
        tuple(words for way, words in _WAYS.items() if way in ways),
    )


async def install(pool: NodePool, root: RootFile, found: RootLook) -> None:
    """Make the file and let sshd read it. Raises KeyFileRefused, with nothing changed, and SshFailure."""
    await _run(pool, root, _INSTALL, drop_in_text(root.account, found.key_files).encode("ascii"))


async def remove(pool: NodePool, root: RootFile) -> None:
    """Take the file and its mention away; may be repeated. Raises KeyFileRefused (``in_use``) and SshFailure."""
    await _run(pool, root, _REMOVE)


async def _run(pool: NodePool, root: RootFile, script: str, stdin: bytes = b"") -> str:
    if not is_plain_account(root.account):
        raise KeyFileRefused(
            f"the account's name {failures.plain(root.account, 40)} cannot stand in sshd's configuration",
            reason="account_name",
            hint="use an account whose name has letters, digits, '.', '_' and '-' only",
        )
    command = as_root(script, f"root-file {root.account} {drop_in(root.account)} {ROOT_DIRECTORY}")
    result = await pool.run(
        root.login, command, stdin=stdin, timeout_s=_TIMEOUT_S, max_output_bytes=65536, remote_limit_s=30
    )
    _, found, answer = result.stdout.partition(_BEGIN)  # a shell may greet before it
    if result.exit_status == 0 and found:
        return answer.decode("utf-8", "replace")
    said = failures.plain(result.stderr, 300)
    if result.exit_status in _REFUSALS:
        reason, message, hint = _REFUSALS[result.exit_status]
        detail = f" ({said})" if said else ""
        raise KeyFileRefused(f"{root.login.label}: {message}{detail}", reason=reason, hint=hint)
    raise SshChannelFailed(
        f"{root.login.label} did not run the program (status {result.exit_status}): {said or 'no message'}",
        hint="the login needs a POSIX shell",
    )
