"""The POSIX shell programs that read and swap a key file on a node.

They run in dash, bash and busybox ash, need no other interpreter, and take nothing but numbers and hashes as
arguments; a file's new bytes come on stdin. The order of steps is what makes the swap safe:

1. one writer at a time (``flock`` on the directory, where the node has it);
2. the new content goes to a temporary file beside the resolved target, created exclusively, with the target's
   mode and owner, checked by length and hash and synced before anything else happens;
3. a hard link keeps the old inode reachable, and its hash must still be the one that was read;
4. rename, sync, wait 50 ms, look at the old inode again: an operator's ``>>`` that had it open is replayed, any
   other edit of it is put back and reported as a change.

The same programs keep the file that only root can write (``RootFile``): other places and modes, and ``sudo -n`` where
the login is not root.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from engine.ssh.target import ROOT_DIRECTORY, KeyPlace, RootFile

BEGIN = b"BASILICA-KEYFILE 1\n"
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Exit:
    """An exit status of the programs: the reason's stable word and what the operator can do."""

    reason: str
    message: str
    hint: str


CHANGED_STATUS = 79
NOT_TOLD_STATUS = 87
EXITS: dict[int, Exit] = {
    70: Exit("interrupted", "the change was interrupted on the node", "it is tried again"),
    71: Exit("no_home", "the account's home directory cannot be entered", "create it and give it to the account"),
    72: Exit("write_failed", "the new key file could not be written", "look at disk space and quota on the node"),
    73: Exit(
        "read_only", "no file can be created beside authorized_keys", "make the directory writable for the account"
    ),
    74: Exit("unreadable", "authorized_keys or its directory cannot be read", "give it to the account, mode 600 (700)"),
    75: Exit("locked", "another program holds the lock on the .ssh directory", "see which one: lsof ~/.ssh"),
    76: Exit("immutable", "authorized_keys is immutable", "run as root: chattr -i on the file and its directory"),
    77: Exit(
        "no_hard_link", "the file system refuses a hard link", "keep authorized_keys on a local POSIX file system"
    ),
    78: Exit("not_regular", "authorized_keys is not a regular file", "replace it by a regular file"),
    CHANGED_STATUS: Exit("changed", "authorized_keys changed meanwhile", "it is read again"),
    80: Exit("verify_failed", "the node did not store what was sent", "look at disk space and the kernel log"),
    82: Exit("no_hash_tool", "the node has neither sha256sum nor openssl", "install coreutils"),
    83: Exit("dangling_link", "authorized_keys is a link to nothing", "remove the link or create its target"),
    84: Exit("owner", "authorized_keys belongs to another user", "give it to the account: chown"),
    85: Exit("too_large", f"authorized_keys is larger than {MAX_BYTES} bytes", "clean the file up by hand"),
    86: Exit(
        "no_root", "the login is neither root nor may it use sudo without a password", "name a login that is, or may"
    ),
    NOT_TOLD_STATUS: Exit(
        "other_key_file",
        "sshd is no longer told to read the key file that only root can write",
        "set it up again: basilica-tui keys protect; or go back: basilica-tui keys protect --undo",
    ),
}

_COMMON = r"""
LC_ALL=C
export LC_ALL
umask 077
hash256() {
    if command -v sha256sum >/dev/null 2>&1; then set -- $(sha256sum)
    else set -- $(openssl dgst -sha256 -r); fi
    printf %s "$1"
}
[ "$(printf abc | hash256)" = ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad ] || exit 82
resolve() {
    if [ -e "$d" ] || [ -L "$d" ]; then
        [ -d "$d" ] || exit 78
        { [ -r "$d" ] && [ -x "$d" ]; } || exit 74
    fi
    p=$f
    if [ -L "$f" ]; then
        [ -e "$f" ] || exit 83
        p=$(readlink -f "$f") || exit 83
    fi
    kind=absent
    if [ -e "$p" ]; then
        [ -f "$p" ] || exit 78
        [ -r "$p" ] || exit 74
        kind=file
    fi
    dir=${p%/*}
}
show() {
    printf "BASILICA-KEYFILE 1\nuid %s\nkind %s\n" "$(id -u)" "$kind"
    printf "home %s\n" "$(ls -ldnL "$h")"
    [ -z "$told" ] || printf "told 1\n"
    [ -d "$dir" ] && printf "dir %s\n" "$(ls -ldnL "$dir")"
    if [ "$kind" = file ]; then
        size=$(($(wc -c <"$p")))
        [ "$size" -le 1048576 ] || exit 85
        [ -L "$f" ] && printf "link 1\n"
        printf "file %s\nsize %s\nhash %s\npath %s\n\n" "$(ls -ldn "$p")" "$size" "$(hash256 <"$p")" "$p"
        cat "$p" || exit 74
    else
        printf "path %s\n\n" "$p"
    fi
}
"""

_HOME = r"""
told=
cd "$HOME" || exit 71
h=$HOME
d=.ssh
f=.ssh/authorized_keys
dirmode=700
filemode=600
"""
_ROOT = r"""
told=
cd / || exit 71
h=/etc/ssh
d={directory}
f=$d/{account}
dirmode=755
filemode=644
grep -qs "AuthorizedKeysFile.*$d/%u" /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf && told=1
"""
_READ = (
    _COMMON
    + r"""
resolve
show
"""
)

_SWAP = (
    _COMMON
    + r"""
old=$1 new=$2 length=$3 oldlength=$4 tag=$5
t= k=
trap 'rm -f ${t:+"$t"} ${k:+"$k"}' EXIT
trap "exit 70" HUP INT TERM PIPE
if ! [ -e "$d" ]; then mkdir -m "$dirmode" "$d" || exit 73; fi
resolve
if command -v flock >/dev/null 2>&1; then
    exec 9<"$dir" || exit 74
    n=0
    until flock -n 9; do
        n=$((n + 1))
        [ "$n" -lt 60 ] || exit 75
        sleep 0.1 2>/dev/null || sleep 1
    done
    resolve
fi
find "$dir" -maxdepth 1 -name ".basilica-ak.*" -type f -mmin +10 -exec rm -f {} \; 2>/dev/null
frozen() {
    case " $(lsattr -d "$1" 2>/dev/null)" in
    *" "*[ia]*" $1") return 0 ;;
    esac
    return 1
}
[ "$kind" = file ] && { [ -O "$p" ] || [ "$(id -u)" = 0 ] || exit 84; }
n=$dir/.basilica-ak.$tag.new
if ! (set -C; : >"$n"); then
    frozen "$dir" && exit 76
    exit 73
fi
t=$n
if [ "$kind" = file ]; then
    [ "$old" != absent ] || exit 79
    [ "$(hash256 <"$p")" = "$old" ] || exit 79
    cp -p "$p" "$t" || exit 72
else
    [ "$old" = absent ] || exit 79
fi
[ "$kind" = file ] || chmod "$filemode" "$t" || exit 72
cat >"$t" || exit 72
[ "$(($(wc -c <"$t")))" -eq "$length" ] || exit 80
[ "$(hash256 <"$t")" = "$new" ] || exit 80
sync "$t" 2>/dev/null || sync || exit 72
if [ "$old" = absent ]; then
    ln "$t" "$p" || { [ -e "$p" ] && exit 79; exit 77; }
    sync "$dir" 2>/dev/null || sync
else
    n=$dir/.basilica-ak.$tag.old
    if ! ln "$p" "$n"; then
        frozen "$p" && exit 76
        exit 77
    fi
    k=$n
    [ "$(hash256 <"$k")" = "$old" ] || exit 79
    trap "" HUP INT TERM PIPE
    [ "$p" -ef "$k" ] || exit 79
    mv -f "$t" "$p" || exit 72
    sync "$dir" 2>/dev/null || sync
    sleep 0.05 2>/dev/null || sleep 1
    if [ "$(hash256 <"$k")" != "$old" ]; then
        if [ "$(head -c "$oldlength" "$k" | hash256)" = "$old" ]; then
            tail -c +"$((oldlength + 1))" "$k" >>"$p" || { mv -f "$k" "$p"; exit 72; }
        else
            mv -f "$k" "$p"
            exit 79
        fi
    fi
fi
rm -f "$t" ${k:+"$k"}
t= k=
kind=file
show
"""
)


_AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec {program}; fi; sudo -n true 2>/dev/null || exit 86; exec sudo -n {program}'
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,31}")


def read_command(place: KeyPlace) -> str:
    """Print the key file's facts and bytes."""
    return _command(place, _READ, "read")


def swap_command(place: KeyPlace, *, old_hash: str, new_hash: str, new_length: int, old_length: int, tag: str) -> str:
    """Replace the file with that old hash (``absent`` for none) by stdin, then print like ``read_command``."""
    numbers = f"{_hex(old_hash)} {_hex(new_hash)} {new_length:d} {old_length:d} {_hex(tag)}"
    return _command(place, _SWAP, f"swap {numbers}")


def as_root(script: str, arguments: str = "x") -> str:
    """A command that runs the script as root: at once, or by ``sudo -n``; status 86 when neither is possible.

    ``arguments`` are put behind as they are.
    """
    return _AS_ROOT.format(program=f"sh -c {shlex.quote(script)} {arguments}")


def is_plain_account(name: str) -> bool:
    """Whether an account's name can stand in a path, in sshd's configuration and in a shell program as it is."""
    return _ACCOUNT.fullmatch(name) is not None


def _command(place: KeyPlace, program: str, arguments: str) -> str:
    if not isinstance(place, RootFile):
        return f"exec sh -c {shlex.quote(_HOME + program)} {arguments}"
    if not is_plain_account(place.account):
        raise ValueError(f"not fit for a path: {place.account!r}")
    return as_root(_ROOT.format(directory=ROOT_DIRECTORY, account=place.account) + program, arguments)


def _hex(text: str) -> str:
    if text == "absent":
        return text
    int(text, 16)
    return text
