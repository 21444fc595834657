# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the module patching, read and checked before anything is looked at."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check, tls
from ansible_collections.sre.runbooks.plugins.module_utils._patching import _window

# Restarting one of these ends sessions, containers or the network: a reboot does it better.
NEVER = [
    "dbus.service", "dbus-broker.service", "systemd-logind.service", "getty@*", "serial-getty@*", "user@*", "gdm*", "lightdm*",
    "sddm*", "display-manager.service", "docker.service", "containerd.service", "networking.service", "NetworkManager.service",
    "systemd-networkd.service",
]  # fmt: skip
PROGRAM: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "match": {"type": "str", "required": True},
    "command": {"type": "list", "elements": "str", "required": True},
}
CERTIFICATE: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "host": {"type": "str", "required": True},
    "port": {"type": "int"},
    "server_name": {"type": "str"},
    "starttls": {"type": "str", "choices": list(tls.STARTTLS)},
    "ca_path": {"type": "path"},
    "reload": {"type": "str"},
    "command": {"type": "list", "elements": "str"},
}
SPEC: dict[str, t.Any] = {
    "windows": {"type": "list", "elements": "dict", "default": []},
    "now": {"type": "bool", "default": False},
    "least_time": {"type": "str", "default": "15m"},
    "updates": {"type": "str", "choices": ["security", "all", "none"], "default": "security"},
    "packages": {"type": "list", "elements": "str", "default": []},
    "hold": {"type": "list", "elements": "str", "default": []},
    "refresh": {"type": "bool", "default": True},
    "lock_timeout": {"type": "str", "default": "10m"},
    "timeout": {"type": "str", "default": "1h"},
    "free": {"type": "str", "default": "200MiB"},
    "restart": {"type": "bool", "default": True},
    "restart_order": {"type": "list", "elements": "str", "default": []},
    "restart_never": {"type": "list", "elements": "str", "default": NEVER},
    "programs": {"type": "list", "elements": "dict", "default": [], "options": PROGRAM},
    "reboot": {"type": "str", "choices": ["never", "when_needed"], "default": "never"},
    "checks": {"type": "list", "elements": "dict", "default": []},
    "checks_within": {"type": "str", "default": "60s"},
    "certbot": {"type": "bool", "default": False},
    "certbot_arguments": {"type": "list", "elements": "str", "default": []},
    "certificates": {"type": "list", "elements": "dict", "default": [], "options": CERTIFICATE},
}
# Secrets may stand in checks; a command line may hold one too.
CONCEALED = ("checks", "programs", "certificates")


class Settings(t.NamedTuple):
    """Times in seconds, sizes in bytes; `given` has the options that need no reading."""

    windows: list[_window.Window]
    least_time: float
    lock_timeout: float
    timeout: float
    free: int
    checks: list[_check.Check]
    checks_within: float
    given: t.Mapping[str, t.Any]


def read(params: t.Mapping[str, t.Any]) -> tuple[Settings, set[str]]:
    """Read all options; return them and the secrets that stand in them."""
    windows = _window.read(params["windows"], "windows") if params["windows"] or not params["now"] else []
    times = {
        name: units.duration(params[name], name) for name in ("least_time", "lock_timeout", "timeout", "checks_within")
    }
    if times["timeout"] <= 0:
        raise InputError("timeout", params["timeout"], "is no time", "Give more than 0 seconds.")
    for pattern in params["hold"]:
        if not pattern.strip("*?"):
            raise InputError("hold", pattern, "would hold everything", "Name packages, or run with updates: none.")
    for name in params["packages"]:
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.:-]*", name):
            raise InputError(
                "packages", name, "is no name of a package", "Write it as apt does; patterns are for hold."
            )
    for program in params["programs"]:
        try:
            re.compile(program["match"])
        except re.error as error:
            raise InputError(
                "programs.match", program["match"], f"is no regular expression ({error})", "Correct it."
            ) from error
    for index, each in enumerate(params["certificates"]):
        if each["reload"] and each["command"]:
            raise InputError(
                f"certificates[{index}].command", each["command"], "is one action too many", "Keep reload alone."
            )
    checks, secrets = _check.read(params["checks"])
    return Settings(
        windows, times["least_time"], times["lock_timeout"], times["timeout"], units.size(params["free"], "free"), checks,
        times["checks_within"], params,
    ), secrets  # fmt: skip
