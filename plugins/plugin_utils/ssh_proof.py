# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A second connection to a host with one key and nothing else: the proof that this key opens it, or does not any more."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.loader import connection_loader

OPENED = "sre-runbooks-opened"
# Options that come first count in ssh; of private keys all count, in their order, so that what was accepted must be looked at besides.
ALONE = (
    "LogLevel=DEBUG1", "BatchMode=yes", "ControlMaster=no", "ControlPath=none", "ControlPersist=no", "IdentitiesOnly=yes",
    "IdentityAgent=none", "PreferredAuthentications=publickey", "PubkeyAuthentication=yes", "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no", "HostbasedAuthentication=no", "GSSAPIAuthentication=no", "ForwardAgent=no", "ForwardX11=no",
)  # fmt: skip
_ACCEPTED = re.compile(r"^debug1: Server accepts key: .*\b(SHA256:[A-Za-z0-9+/]+)", re.MULTILINE)
_REFUSED = re.compile(r"Permission denied|Too many authentication failures|No more authentication methods")
_AWAY = re.compile(
    r"Connection refused|Connection timed out|No route to host|Network is unreachable|Could not resolve hostname|"
    r"Connection (?:closed|reset) by|kex_exchange_identification|Operation timed out|Connection to .* timed out|banner exchange",
)


class Answer(t.NamedTuple):
    """What came of a connection: the fingerprint of the key that opened the host, whether all were refused, else what went wrong."""

    opened: str
    refused: bool
    away: bool
    problem: str


def options_of(names: Mapping[str, t.Any], template: t.Callable[[t.Any], t.Any]) -> dict[str, t.Any]:
    """Of a task's variables those that the plugin `ssh` reads, templated."""
    wanted = constants.config.get_plugin_vars("connection", "ssh")
    return {name: template(names[name]) for name in wanted if name in names}


def connect(
    play_context: t.Any,
    task_keys: Mapping[str, t.Any],
    variables: Mapping[str, t.Any],
    private_key: str,
    user: str | None = None,
) -> Answer:
    """Open the host as the first connection was, with its host key checked alike, but with this key alone."""
    # By its full name first, for a strategy may lead the short one elsewhere.
    connection = connection_loader.get("ansible.builtin.ssh", play_context) or connection_loader.get(
        "ssh", play_context
    )
    connection.set_options(task_keys=dict(task_keys), var_options=dict(variables))
    alone = " ".join(f"-o {option}" for option in (*ALONE, f"IdentityFile='\"{private_key}\"'"))
    connection.set_option("ssh_args", f"{alone} {connection.get_option('ssh_args') or ''}")
    connection.set_option("private_key_file", private_key)
    connection.set_option("password", None)
    connection.set_option("reconnection_retries", 0)
    if user:
        connection.set_option("remote_user", user)
    try:
        status, output, errors = connection.exec_command(f"echo {OPENED}", sudoable=False)
    except AnsibleError as error:
        status, output, errors = 255, b"", str(error).encode()
    finally:
        connection.close()
    return _read(status, to_text(output), to_text(errors))


def _read(status: int, output: str, errors: str) -> Answer:
    accepted = _ACCEPTED.findall(errors)
    if status == 0 and OPENED in output:
        if not accepted:
            return Answer("", False, False, "ssh does not tell which key was accepted. Install OpenSSH 8.0 or newer.")
        return Answer(accepted[-1], False, False, "")
    # What matters is said last; the debug lines before it are many.
    said = [line.strip() for line in errors.splitlines() if line.strip() and "debug1:" not in line]
    reason = (said[-1] if said else f"ssh ended with status {status}")[-300:]
    if _REFUSED.search(reason) and not accepted:
        return Answer("", True, False, reason)
    return Answer("", False, bool(_AWAY.search(reason)) and not accepted, reason)
