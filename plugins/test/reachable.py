# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host has answered so far in this run: the guard of every stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ansible.errors import AnsibleTemplatePluginError


class HostVars(Protocol):
    """What is needed of ansible-core's C(hostvars): the variables of one host, untemplated."""

    def __contains__(self, item: object) -> bool: ...

    def raw_get(self, host_name: str) -> Any: ...


def reachable(host: str, hostvars: HostVars) -> bool:
    """False once a registered C(*_result) of C(host) says that it could not be reached.

    Reads the raw variables: asking C(hostvars[host]) for its values would template each of them.
    """
    raw_get = getattr(hostvars, "raw_get", None)
    if raw_get is None:
        raise AnsibleTemplatePluginError(
            f"The test sre.runbooks.reachable takes hostvars, as in "
            f'"inventory_hostname is sre.runbooks.reachable(hostvars)", not a value of type {type(hostvars).__name__}.'
        )
    if host not in hostvars:
        raise AnsibleTemplatePluginError(f"The test sre.runbooks.reachable knows no host {host!r} in this inventory.")
    return not any(
        name.endswith("_result") and isinstance(value, Mapping) and value.get("unreachable") is True
        for name, value in raw_get(host).items()
    )


class TestModule:
    """Entry point of ansible-core."""

    def tests(self) -> dict[str, Callable[..., bool]]:
        return {"reachable": reachable}
