# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each host of a rotation must know: its part of the keys, and what the other hosts have said so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleTemplatePluginError

_STATUSES = ("ok", "skipped", "unknown", "warning", "critical")


def parts(keys: Sequence[Mapping[str, Any]], host: str, groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The keys that `host` makes or uses, each with that part alone: a provider's secrets go to no consumer.

    A key without `provider.host` is made on the host itself; a consumer without `hosts` is on the provider's host.
    """
    found = []
    for key in keys:
        if not isinstance(key, Mapping):
            raise AnsibleTemplatePluginError(f"A key is a dictionary with a name, not {type(key).__name__}.")
        provider = dict(key.get("provider") or {})
        made_on = str(provider.get("host") or host)
        consumers = list(key.get("consumers") or [])
        hosts = [_hosts(consumer, made_on, groups, key.get("name")) for consumer in consumers]
        here = [consumer for consumer, where in zip(consumers, hosts, strict=True) if host in where]
        if made_on != host and not here:
            continue
        part = {**key, "provider_host": made_on, "consumers": [_without_hosts(each) for each in here]}
        part.pop("provider", None)
        if made_on == host:
            part.update(provider=provider, expected=list(dict.fromkeys(each for where in hosts for each in where)))
        found.append(part)
    return found


def _hosts(consumer: Mapping[str, Any], made_on: str, groups: Mapping[str, Sequence[str]], key: object) -> list[str]:
    given = consumer.get("hosts") or made_on
    names = [given] if isinstance(given, str) else list(given)
    known = set(groups.get("all", ()))
    found: list[str] = []
    for name in names:
        if name in groups:
            found += [str(each) for each in groups[name]]
        elif name in known:
            found.append(str(name))
        else:
            raise AnsibleTemplatePluginError(
                f"keys.{key}.consumers.hosts: {name!r} is no host and no group of this inventory. Correct the name."
            )
    return list(dict.fromkeys(found))


def _without_hosts(consumer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in consumer.items() if name != "hosts"}


def _said(hostvars: Any, host: str, variables: Iterable[str], what: str) -> dict[str, dict[str, Any]]:
    """What `host` has said of each key in these registered variables; a later one adds to what an earlier one said."""
    told: dict[str, dict[str, Any]] = {}
    if host not in hostvars:
        return told
    raw = hostvars.raw_get(host)
    for variable in variables:
        result = raw.get(variable)
        if not isinstance(result, Mapping) or not isinstance(result.get(what), Mapping):
            continue
        for name, said in result[what].items():
            told[name] = _joined(told.get(name, {}), said) if isinstance(said, Mapping) else said
    return told


def _joined(before: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said later counts, but of two problems the first, for it is what the other comes from."""
    problem = before.get("problem") if before.get("problem") and said.get("problem") else said.get("problem")
    return {**before, **said, **({"problem": problem} if problem is not None else {})}


def reports(part: Sequence[Mapping[str, Any]], hostvars: Any, variables: Sequence[str]) -> dict[str, Any]:
    """What the consumers of the keys that this host makes have said: {host: {key: report}}."""
    hosts = dict.fromkeys(host for key in part for host in key.get("expected", ()))
    return {host: _said(hostvars, host, variables, "reports") for host in hosts}


def orders(
    part: Sequence[Mapping[str, Any]], hostvars: Any, variables: Sequence[str], what: str = "facts"
) -> dict[str, Any]:
    """What the providers' hosts have said of the keys that this host uses: {key: facts}, or {key: value} of `made`."""
    found = {}
    for key in part:
        if key.get("consumers"):
            said = _said(hostvars, str(key["provider_host"]), variables, what)
            if key["name"] in said:
                found[key["name"]] = said[key["name"]]
    return found


def outcomes(results: Iterable[Any]) -> list[dict[str, Any]]:
    """One outcome for each subject of several stages: the worst; of failures the first, for the others come from it."""
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        for outcome in result.get("outcomes") or [] if isinstance(result, Mapping) else []:
            before = found.get(outcome["subject"])
            rank = _STATUSES.index(outcome["status"])
            worst = -1 if before is None else _STATUSES.index(before["status"])
            if rank > worst or rank == worst == 0:
                metrics = {**(before or {}).get("metrics", {}), **outcome.get("metrics", {})}
                found[outcome["subject"]] = {**outcome, "metrics": metrics}
    return list(found.values())
