"""Fixes of a node's sshd: one drop-in file, checked by ``sshd -t``, proved by a second login.

A line of another file that would win against the drop-in is commented out, and comes back with the undo.

A change that locks us out could not be taken back by us. So the node itself takes it back unless somebody who got in
confirms it in time, also when this program or its host dies in between.
"""

from __future__ import annotations

from engine.diagnostics.fixes.common import Case, Fix
from engine.diagnostics.fixes.node_account import prove
from engine.diagnostics.plan import Step

DROP_IN = "/etc/ssh/sshd_config.d/00-basilica.conf"
RETURN_S = 30
"""Longer than the proof of a second login may take."""
_UNCONFIRMED = "/run/basilica-unconfirmed"
_RELOAD = """reload() {
  if [ -d /run/systemd/system ]; then systemctl reload ssh 2>/dev/null || systemctl reload sshd
  else kill -HUP "$(cat "$(sshd -T 2>/dev/null | sed -n 's/^pidfile //p')")"; fi
  sleep 1 # sshd closes its port for a moment
}
"""
_BACK = """back() {
  if [ -e "$f.before" ]; then mv "$f.before" "$f"; else rm -f "$f"; fi
  cat "$main.before-basilica" >"$main"
  for o in /etc/ssh/sshd_config.d/*.conf.before-basilica; do
    if [ -e "$o" ]; then cat "$o" >"${o%.before-basilica}"; rm -f "$o"; fi
  done
}
"""
_HEAD = f"""set -e
PATH=$PATH:/usr/sbin:/sbin
f={DROP_IN}; main=/etc/ssh/sshd_config
{_BACK}{_RELOAD}"""
_WRITE = """mkdir -p /etc/ssh/sshd_config.d /run/sshd
if [ -e "$f" ]; then cp -p "$f" "$f.before"; else rm -f "$f.before"; fi
cp -p "$main" "$main.before-basilica"
# An administrator who is root must keep the way in; without passwords it is a safe one.
root=no; [ -n "$SUDO_USER" ] || root=prohibit-password
cat >"$f.new" <<END
LINES
END
chmod 644 "$f.new"; mv "$f.new" "$f"
grep -qiE '^[[:space:]]*Include[[:space:]]+/etc/ssh/sshd_config.d/' "$main" || {
  { echo 'Include /etc/ssh/sshd_config.d/*.conf'; cat "$main.before-basilica"; } >"$main"; }
rm -f /etc/ssh/sshd_config.d/*.conf.before-basilica
# Of MaxStartups some versions take the last line, of everything else all take the first: other lines give way.
wanted=$(sed -n 's/^MaxStartups //p' "$f")
if [ -n "$wanted" ] && [ "$(sshd -T 2>/dev/null | sed -n 's/^maxstartups //p')" != "$wanted" ]; then
  for o in "$main" /etc/ssh/sshd_config.d/*.conf; do
    [ "$o" != "$f" ] && [ -f "$o" ] && grep -qiE '^[[:space:]]*MaxStartups[[:space:]=]' "$o" || continue
    [ "$o" = "$main" ] || cp -p "$o" "$o.before-basilica"
    sed -E 's/^[[:space:]]*[Mm][Aa][Xx][Ss][Tt][Aa][Rr][Tt][Uu][Pp][Ss][[:space:]=]/# basilica-tui: &/' "$o" >"$f.new"
    cat "$f.new" >"$o"; rm -f "$f.new"
  done
fi
if ! problem=$(sshd -t 2>&1); then back; echo "sshd -t refuses: $problem" >&2; exit 1; fi
id=$$; echo "$id" >TOKEN; export f main id
nohup sh -c "$(cat <<'END'
BACKsleep SECONDS
[ "$(cat TOKEN 2>/dev/null)" = "$id" ] || exit 0
rm -f TOKEN
back
reload
END
)" </dev/null >/dev/null 2>&1 &
reload
"""
_UNDO = "the drop-in of before is put back and sshd reloads"


def _harden(case: Case) -> tuple[Step, ...]:
    lines = (
        "PubkeyAuthentication yes",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin $root",
        "X11Forwarding no",
        "UseDNS no",
        "MaxStartups 30:30:100",
        "MaxSessions 100",
    )
    return _drop_in(case, "harden sshd as the network's guide asks", lines, with_account=True)


def _allow(case: Case) -> tuple[Step, ...]:
    name = case.target.username
    wanted = {
        "pubkey_off": ("PubkeyAuthentication yes",),
        "more_methods": ("AuthenticationMethods publickey",),
        "other_key_file": ("AuthorizedKeysFile .ssh/authorized_keys",),
        "algorithm_off": ("PubkeyAcceptedAlgorithms +ssh-ed25519,rsa-sha2-512,rsa-sha2-256",),
        "not_allowed": ("AllowGroups *",) if case.data.get("word") == "allowgroups" else (f"AllowUsers {name}",),
    }[case.result.cause]
    lines = (f"Match User {name}", *(f"    {line}" for line in wanted))
    return _drop_in(case, f"let {name} log in with keys", lines, with_account=False)


def _drop_in(case: Case, title: str, lines: tuple[str, ...], *, with_account: bool) -> tuple[Step, ...]:
    script = _HEAD + (
        _WRITE.replace("LINES", "\n".join(lines))
        .replace("BACK", _BACK + _RELOAD)
        .replace("TOKEN", _UNCONFIRMED)
        .replace("SECONDS", str(RETURN_S))
    )
    undo = f"{_HEAD}rm -f {_UNCONFIRMED}\nback\nreload\n"
    return (
        case.root_step(
            title,
            script,
            f"{_UNDO}; by the node itself {RETURN_S} s later, unless it is confirmed",
            undo_script=undo,
            returns_after_s=RETURN_S,
        ),
        prove(case, with_account=with_account),
        case.root_step("confirm the change, so that the node keeps it", f"rm -f {_UNCONFIRMED}\n", "as the first step"),
    )


FIXES = (
    Fix(
        "node.harden",
        "harden sshd: keys only, room for validators",
        _harden,
        "passwords stop working on the node; the second login proves that a way in is left",
    ),
    Fix("node.sshd_allow", "let the miner's account in with its key", _allow),
)
