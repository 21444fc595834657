# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is told, and of what: the list of contacts, read without repeating what it keeps secret (I6)."""

from __future__ import annotations

import collections
import dataclasses
import re
import typing as t
from collections.abc import Collection, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

LEVELS = ("support", "engineering", "management")
RANKS = {"unknown": 1, "warning": 2, "critical": 3, "P4": 1, "P3": 2, "P2": 3, "P1": 4}
"""Statuses of outcomes and severities of incidents that a contact can ask for, and which of two is the worse."""

SAME_AS = {"P1": "critical", "P2": "critical", "P3": "warning", "P4": "warning"}
"""The status that a severity counts as for a contact which asks for statuses."""

_KEYS = ("name", "level", "urls", "for", "kinds", "tags")


@dataclasses.dataclass(frozen=True)
class Target:
    """One URL of a contact. `name` may be shown (the service, numbered from its second on), `url` never."""

    name: str
    url: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Contact:
    """Somebody, the ways to reach them, and what they want to hear; an empty filter lets everything through."""

    name: str
    level: str
    targets: tuple[Target, ...]
    wants: frozenset[str]
    kinds: frozenset[str]
    tags: frozenset[str]

    def hears(self, kind: str, tags: Collection[str]) -> bool:
        """Tell whether this contact wants to hear of `kind`, which concerns `tags` (systems, types)."""
        return (not self.kinds or kind in self.kinds) and (not self.tags or not self.tags.isdisjoint(tags))

    def minds(self, status: str) -> bool:
        """Tell whether a problem of `status`, or an incident of that severity, is bad enough for this contact."""
        return not self.wants or status in self.wants or SAME_AS.get(status, "") in self.wants


def read_contacts(raw: Sequence[t.Any]) -> list[Contact]:
    """Return the contacts of the option `contacts`; raises InputError, which never shows an URL."""
    if not isinstance(raw, (list, tuple)):
        raise InputError("contacts", type(raw).__name__, "is no list", "Write it as [{name: …, urls: [ … ]}].")
    contacts = [_contact(f"contacts[{number}]", each) for number, each in enumerate(raw)]
    names = collections.Counter(each.name for each in contacts)
    for name, count in names.items():
        if count > 1:
            raise InputError(
                "contacts", name, f"is the name of {count} contacts", "Give each contact a name of its own."
            )
    return contacts


def _contact(option: str, raw: t.Any) -> Contact:
    if not isinstance(raw, Mapping):
        raise InputError(option, type(raw).__name__, "is no contact", "Write it as {name: …, urls: [ … ]}.")
    strange = sorted(str(key) for key in raw if key not in _KEYS)
    if strange:
        raise InputError(option, strange[0], "is no option of a contact", f"Use some of {', '.join(_KEYS)}.")
    name = str(raw.get("name") or "").strip()
    if not name or "://" in name:
        raise InputError(
            f"{option}.name", "" if not name else "…", "is no name", "Give the contact a name; it is shown."
        )
    level = str(raw.get("level") or "")
    if level and level not in LEVELS:
        raise InputError(f"{option}.level", level, f"is no level (contact {name})", f"Use one of {', '.join(LEVELS)}.")
    wants = _texts(f"{option}.for", raw.get("for"))
    for each in wants:
        if each not in RANKS:
            raise InputError(
                f"{option}.for",
                each,
                f"is neither a status nor a severity (contact {name})",
                f"Use some of {', '.join(RANKS)}.",
            )
    kinds, tags = _texts(f"{option}.kinds", raw.get("kinds")), _texts(f"{option}.tags", raw.get("tags"))
    return Contact(
        name, level, _targets(f"{option}.urls", name, raw.get("urls")), *map(frozenset, (wants, kinds, tags))
    )


def _targets(option: str, name: str, raw: t.Any) -> tuple[Target, ...]:
    urls = _texts(option, raw, secret=True)
    if not urls:
        raise InputError(
            option, [], f"reaches nobody (contact {name})", "Give at least one URL that Apprise understands."
        )
    seen: collections.Counter[str] = collections.Counter()
    targets = []
    for number, url in enumerate(urls):
        found = re.match(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://", url)
        if found is None:
            # What it says instead may be a token that was pasted alone.
            raise InputError(
                f"{option}[{number}]",
                "…",
                f"is no URL (contact {name})",
                "Write it as <service>://…, as Apprise documents it.",
            )
        service = found[1].lower()
        seen[service] += 1
        targets.append(Target(service if seen[service] == 1 else f"{service}#{seen[service]}", url.strip()))
    return tuple(targets)


def _texts(option: str, raw: t.Any, secret: bool = False) -> list[str]:
    if raw is None:
        return []
    values = [raw] if isinstance(raw, str) else raw
    if not isinstance(values, (list, tuple)) or not all(isinstance(each, str) for each in values):
        raise InputError(option, "…" if secret else raw, "is no list of texts", "Write it as [ …, … ].")
    return [str(each) for each in values]


def chosen(raw: Sequence[t.Any] | None, contacts: Sequence[Contact]) -> dict[str, str]:
    """Return the contacts that an escalation names, with the level that is escalated to.

    An entry is a name, a mapping with `name` or `contact`, or a mapping with only a `level`. Raises InputError for one that
    is not there.
    """
    found: dict[str, str] = {}
    for each in raw or []:
        entry = each if isinstance(each, Mapping) else {"name": each}
        name, level = str(entry.get("name") or entry.get("contact") or ""), str(entry.get("level") or "")
        names = [one.name for one in contacts if (one.name == name if name else one.level == level)]
        if not names:
            known = ", ".join(one.name for one in contacts) or "(none)"
            raise InputError("escalate", name or level, "is no contact", f"The contacts are {known}.")
        for one in contacts:
            if one.name in names:
                found.setdefault(one.name, level or one.level)
    return found
