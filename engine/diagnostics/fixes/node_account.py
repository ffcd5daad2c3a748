"""Fixes of the account on a node: the key, modes and owners, the user itself, its shell.

Scripts run as root look at nothing that the account could have replaced by a link; what belongs to the account is
written as the account.
"""

from __future__ import annotations

import shlex

from engine.diagnostics.fixes.common import CannotFixError, Case, Fix
from engine.diagnostics.plan import PinHostKey, ProveLogin, RemoveKeyLines, Step

_APPEND = """umask 077
mkdir -p ~/.ssh && chmod 700 ~/.ssh
f=~/.ssh/authorized_keys
if [ -s "$f" ] && [ -n "$(tail -c 1 "$f")" ]; then echo >>"$f"; fi
grep -qxF "$line" "$f" 2>/dev/null || printf '%s\\n' "$line" >>"$f"
chmod 600 "$f" && grep -qxF "$line" "$f"
"""
_TAKE_OUT = (
    'f=~/.ssh/authorized_keys; grep -vxF "$line" "$f" >"$f.basilica" ; cat "$f.basilica" >"$f"; rm "$f.basilica"'
)
_AS_ACCOUNT = """set -e
account={account}
HOME=$(getent passwd "$account" | cut -d: -f6); export HOME
[ -n "$HOME" ] && cd "$HOME"
if command -v runuser >/dev/null 2>&1; then exec runuser -u "$account" -- sh -c {body}; fi
exec su -s /bin/sh -c {body} "$account"
"""


def _as_account(case: Case, body: str) -> str:
    return _AS_ACCOUNT.format(account=case.account, body=shlex.quote(body))


def _authorize(case: Case) -> tuple[Step, ...]:
    if not case.public_line:
        raise CannotFixError("the miner's own key is not known")
    line = f"line={shlex.quote(case.public_line)}\n"
    undo = f"the line {_short(case.public_line)} is taken out again"
    add, back = line + _APPEND, line + _TAKE_OUT
    if not case.admin:
        title = "add the miner's public key, as ssh-copy-id does"
        return (case.account_step(title, add, undo, by_password=True, undo_script=back),)
    title = "add the miner's public key to the account's authorized_keys"
    return (case.root_step(title, _as_account(case, add), undo, undo_script=_as_account(case, back)),)


_MODES = """set -e
account=%s
entry=$(getent passwd "$account"); home=$(echo "$entry" | cut -d: -f6); group=$(id -gn "$account")
for p in "$home" "$home/.ssh" "$home/.ssh/authorized_keys"; do
  [ -e "$p" ] && [ ! -L "$p" ] || continue
  old=$(stat -c '%%a %%u:%%g' "$p")
  echo "undo chown -h ${old#* } '$p' && chmod ${old%% *} '$p'"
  chown -h "$account:$group" "$p"
done
chmod go-w "$home"
[ ! -d "$home/.ssh" ] || [ -L "$home/.ssh" ] || chmod 700 "$home/.ssh"
f=$home/.ssh/authorized_keys
[ ! -f "$f" ] || [ -L "$f" ] || chmod 600 "$f"
"""


def _modes(case: Case) -> tuple[Step, ...]:
    script = _MODES % case.account
    return (
        case.root_step(
            "give home, .ssh and authorized_keys to the account and close them to others",
            script,
            "the owners and modes of before are set again",
        ),
    )


def _create_user(case: Case) -> tuple[Step, ...]:
    name = case.account
    script = f"""set -e
shell=/bin/bash; [ -x "$shell" ] || shell=/bin/sh
useradd -m -s "$shell" {name}
echo "undo userdel -r {name}"
usermod -p '*' {name}
if getent group docker >/dev/null; then usermod -aG docker {name}; fi
"""
    create = case.root_step(
        "create the account with its home, a shell, no password and the group docker",
        script,
        f"userdel -r {case.target.username}",
    )
    return (create, *_authorize(case))


def _shell(case: Case) -> tuple[Step, ...]:
    script = f"""set -e
old=$(getent passwd {case.account} | cut -d: -f7)
shell=/bin/bash; [ -x "$shell" ] || shell=/bin/sh
usermod -s "$shell" {case.account}
echo "undo usermod -s '$old' {case.account}"
"""
    return (case.root_step("give the account a shell that runs commands", script, "the shell of before is set again"),)


def _unlock(case: Case) -> tuple[Step, ...]:
    script = f"""set -e
usermod -p '*' {case.account}
usermod -e '' {case.account}
"""
    return (
        case.root_step(
            "unlock the account; it still has no password that anybody could type",
            script,
            f"usermod -L {case.target.username}",
        ),
    )


def _no_password_change(case: Case) -> tuple[Step, ...]:
    script = f"""set -e
old=$(getent shadow {case.account} | cut -d: -f3)
echo "undo chage -d '$old' {case.account}"
chage -d "$(date +%F)" {case.account}
"""
    return (
        case.root_step(
            "take the demand for another password off the account", script, f"chage -d 0 {case.target.username}"
        ),
    )


_QUIET = """set -e
cd
for f in .bashrc .zshenv .kshrc; do
  [ -f "$f" ] && [ ! -L "$f" ] || continue
  grep -q 'basilica: quiet' "$f" && continue
  cp -p "$f" "$f.before-basilica"
  { echo 'case $- in *i*) ;; *) return 0 2>/dev/null || true ;; esac # basilica: quiet'
    cat "$f.before-basilica"; } >"$f"
  echo "undo mv '$PWD/$f.before-basilica' '$PWD/$f'"
done
"""


def _quiet(case: Case) -> tuple[Step, ...]:
    return (
        case.account_step(
            "let the shell's start files end early when nobody sits at a terminal",
            _QUIET,
            "the files of before are put back (NAME.before-basilica)",
        ),
    )


def _mutable(case: Case) -> tuple[Step, ...]:
    script = f"""set -e
home=$(getent passwd {case.account} | cut -d: -f6)
for p in "$home/.ssh" "$home/.ssh/authorized_keys"; do
  [ -e "$p" ] && [ ! -L "$p" ] || continue
  case $(lsattr -d "$p") in
    ????i*) chattr -i "$p"; echo "undo chattr +i '$p'" ;;
    ?????a*) chattr -a "$p"; echo "undo chattr +a '$p'" ;;
  esac
done
"""
    return (case.root_step("take the immutable and append-only attributes off", script, "chattr +i, or +a, again"),)


def _relabel(case: Case) -> tuple[Step, ...]:
    script = f"""set -e
command -v restorecon >/dev/null 2>&1 || {{ echo 'restorecon is not here: install policycoreutils' >&2; exit 1; }}
restorecon -Rv "$(getent passwd {case.account} | cut -d: -f6)/.ssh"
"""
    return (case.root_step("set the SELinux labels of the policy", script),)


def _accept_host_key(case: Case) -> tuple[Step, ...]:
    presented, pinned = case.data.get("presented", ""), case.data.get("pinned", "")
    if not presented:
        raise CannotFixError("the node has not presented a key")
    command = f"known_hosts: {case.target.address}\n  pinned   {pinned}\n  presents {presented}"
    step = Step(
        "trust the key that the node presents now",
        "this host",
        "you",
        command,
        PinHostKey(case.target, presented),
        "known_hosts is put back as it was",
    )
    return (step,)


def _leftovers(case: Case) -> tuple[Step, ...]:
    command = "authorized_keys: remove the lines whose last word is validator-…, keep all others byte for byte"
    step = Step(
        "remove the deployed miner's key lines",
        case.target.address,
        case.target.username,
        command,
        RemoveKeyLines(case.target),
        "the file is written back as it was",
    )
    return (step,)


def _strays(case: Case) -> tuple[Step, ...]:
    fingerprints = frozenset(case.data.get("fingerprints", "").split())
    if not fingerprints:
        raise CannotFixError("the lines are not known")
    command = "authorized_keys: remove the lines with these keys\n" + "\n".join(sorted(fingerprints))
    action = RemoveKeyLines(case.target, fingerprints)
    title, undo = "remove the key lines that nobody answers for", "the file is written back as it was"
    return (Step(title, case.target.address, case.target.username, command, action, undo),)


def prove(case: Case, *, with_account: bool) -> Step:
    """The second login after a change that could lock us out."""
    return Step(
        "log in a second time; if that fails, the change is taken back",
        case.target.address,
        case.admin or case.target.username,
        f"ssh -p {case.target.port} {case.admin}@{case.target.host} true",
        ProveLogin(case.target, with_account),
    )


def _short(line: str) -> str:
    words = line.split()
    return f"{words[0]} …{words[1][-8:]}" if len(words) > 1 else line


FIXES = (
    Fix("node.authorize", "put the miner's key into the account's authorized_keys", _authorize),
    Fix("node.modes", "repair owners and modes that sshd refuses", _modes),
    Fix("node.create_user", "create the account on the node", _create_user),
    Fix("node.shell", "give the account a working shell", _shell),
    Fix("node.unlock", "unlock the account", _unlock),
    Fix("node.no_password_change", "let the account in without a new password", _no_password_change),
    Fix("node.quiet_shell", "make the shell quiet for commands", _quiet),
    Fix("node.mutable", "make the key file changeable", _mutable),
    Fix(
        "node.relabel",
        "restore SELinux labels",
        _relabel,
        "never tried on a kernel with SELinux: the command is that of Red Hat's manual",
    ),
    Fix(
        "node.accept_host_key",
        "trust the node's new host key",
        _accept_host_key,
        "compare it on the node's own console first: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
    ),
    Fix(
        "access.remove_strays",
        "remove stray key lines",
        _strays,
        "look at them first: a line may be a colleague's",
    ),
    Fix(
        "node.remove_leftovers",
        "remove the deployed miner's key lines",
        _leftovers,
        "a deployed miner that still runs loses its access",
    ),
)
