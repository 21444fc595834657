# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hosts have said of an SSH key in one run."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping


class Heard(t.NamedTuple):
    """What hosts have said in this run, each by host; `lost` are those that could not be reached, at whatever stage."""

    status: Mapping[str, Mapping[str, t.Any]]
    add: Mapping[str, Mapping[str, t.Any]]
    prove: Mapping[str, Mapping[str, t.Any]]
    latest: Mapping[str, Mapping[str, t.Any]]
    lost: frozenset[str]


def heard(raw: t.Callable[[str], Mapping[str, t.Any]], hosts: Iterable[str]) -> Heard:
    """What the registered results of the role's stages say, by host."""
    found: dict[str, dict[str, Mapping[str, t.Any]]] = {"status": {}, "add": {}, "prove": {}, "latest": {}}
    lost = set()
    for host in hosts:
        variables = raw(host)
        for stage in ("status", "add", "prove", "rollback", "revoke"):
            result = variables.get(f"__ssh_keys_{stage}_result")
            if not isinstance(result, Mapping):
                continue
            if result.get("unreachable") is True:
                lost.add(host)
            report = result.get("report")
            if result.get("failed") is True and not isinstance(report, Mapping):
                report = {"problem": str(result.get("msg") or "failed")[:300]}
            if not isinstance(report, Mapping):
                continue
            if report.get("away"):
                lost.add(host)
            if stage in found:
                found[stage][host] = report
            if not report.get("problem"):
                found["latest"][host] = {**found["latest"].get(host, {}), **report}
    return Heard(found["status"], found["add"], found["prove"], found["latest"], frozenset(lost))
