# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sshd would allow, as it says itself by `sshd -T`: for the users named, so that its Match blocks count."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._audit._audit import Context, Finding, Looked
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

OPTIONS: dict[str, t.Any] = {
    "config": {"type": "path"},
    "program": {"type": "path", "default": "sshd"},
    "users": {"type": "list", "elements": "str", "default": ["root"]},
    "address": {"type": "str", "default": "192.0.2.1"},
    "root_login": {"type": "str", "choices": ["never", "keys"], "default": "keys"},
}
WEAK = {
    "ciphers": re.compile(r"3des|arcfour|blowfish|cast128|-cbc"),
    "macs": re.compile(r"md5|hmac-sha1-96|ripemd"),
    "kexalgorithms": re.compile(r"group1-sha1|group14-sha1|group-exchange-sha1"),
    "hostkeyalgorithms": re.compile(r"^ssh-dss|^ssh-rsa(?:-cert|$)"),
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.@$-]*")


def refuse(options: t.Mapping[str, t.Any], where: str) -> None:
    """Users and the address go into one argument, parted by commas."""
    if not options["users"]:
        raise InputError(f"{where}.users", [], "names nobody", "Name the users whose logins matter, as in [root].")
    for user in options["users"]:
        if not _NAME.fullmatch(user):
            raise InputError(
                f"{where}.users", user, "is no name of a user", "Use letters, digits, dots, dashes and underscores."
            )
    if not re.fullmatch(r"[0-9a-fA-F.:]+", options["address"]):
        raise InputError(f"{where}.address", options["address"], "is no address", "Give the one that logins come from.")


def look(options: t.Mapping[str, t.Any], context: Context) -> list[Looked]:
    """One for sshd."""
    findings: dict[str, Finding] = {}
    for user in options["users"]:
        argv = [options["program"], "-T", "-C", f"user={user},host={options['address']},addr={options['address']}"]
        if options["config"]:
            argv += ["-f", options["config"]]
        text = context.host.commands.run(argv, timeout=context.timeout).stdout
        for each in judged(settings(text), user, options["root_login"]):
            findings.setdefault(each.id, each)
    return [Looked(list(findings.values()), f"logins of {', '.join(options['users'])} by sshd")]


def settings(text: str) -> dict[str, str]:
    """What `sshd -T` prints: a word and its value a line."""
    lines = (line.strip().partition(" ") for line in text.splitlines())
    return {name.lower(): value.strip() for name, _space, value in lines if name}


def judged(found: t.Mapping[str, str], user: str, root_login: str) -> list[Finding]:
    """What should not be so."""
    findings = []
    root = found.get("permitrootlogin", "")
    if user == "root" and root == "yes":
        findings.append(Finding("permitrootlogin", "critical", "root may log in by password (PermitRootLogin yes)"))
    elif user == "root" and root != "no" and root_login == "never":
        findings.append(Finding("permitrootlogin", "warning", f"root may log in (PermitRootLogin {root})"))
    may = user != "root" or root == "yes"
    if may and found.get("passwordauthentication") == "yes":
        text = f"{user} may log in by password (PasswordAuthentication yes)"
        findings.append(Finding("passwordauthentication", "warning", text))
    interactive = found.get("kbdinteractiveauthentication", found.get("challengeresponseauthentication"))
    if may and interactive == "yes":
        text = f"{user} may be asked for a password (KbdInteractiveAuthentication yes)"
        findings.append(Finding("kbdinteractiveauthentication", "warning", text))
    for name, text in (
        ("permitemptypasswords", "empty passwords are allowed"),
        ("permituserenvironment", "users set the environment of their logins"),
        ("hostbasedauthentication", "other hosts vouch for their users"),
    ):
        if found.get(name, "no") != "no":
            findings.append(Finding(name, "critical", f"{text} ({name} {found[name]})"))
    for name, pattern in WEAK.items():
        weak = [each for each in found.get(name, "").split(",") if pattern.search(each)]
        if weak:
            findings.append(Finding(name, "warning", f"weak {name}: {', '.join(weak)}"))
    return findings
