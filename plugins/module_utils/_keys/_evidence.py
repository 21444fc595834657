# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What consumers have said of a key: whether it may be made, promoted, revoked.

Evidence comes as `reports`: {host: {key: {seen, held: [fingerprints], proven, released: [labels], users: [names],
names, problem}}}; `names` says that a user can be named beside each key. A host of which nothing
came has proven nothing.
"""

from __future__ import annotations

import typing as t

Reports = t.Mapping[str, t.Mapping[str, t.Any]]
NOTHING = "no answer about this key (not reachable, not in this play, or not told of it)"


class Evidence:
    """Of one key, by the hosts that must be heard; each method returns what is missing, nothing when all is there."""

    def __init__(self, key: str, expected: t.Sequence[str], reports: Reports) -> None:
        self._told = [(host, (reports.get(host) or {}).get(key) or {}) for host in expected]

    def held(self) -> set[str]:
        """The fingerprints that consumers hold."""
        return {mark for _host, report in self._told for mark in report.get("held") or []}

    def users(self) -> set[str]:
        """The users that consumers have beside their keys."""
        return {user for _host, report in self._told for user in report.get("users") or []}

    def nameless(self) -> str:
        """Whose files have no place for a user beside the key."""
        return _listed(
            [f"{host}: holds a key without its user" for host, report in self._told if not report.get("names")]
        )

    def unreported(self) -> str:
        """Who has not been seen in this run."""
        return _listed(
            [f"{host}: {report.get('problem') or NOTHING}" for host, report in self._told if not report.get("seen")]
        )

    def unreleased(self, pending: t.Mapping[str, t.Any]) -> str:
        """Who may still hold a key that was given up, or be brought it by a run that does not know."""
        return _listed(
            [
                f"{host}: {report.get('problem') or 'has not let go of the new key'}"
                for host, report in self._told
                if pending["label"] not in (report.get("released") or [])
                or (pending.get("fingerprint") and pending["fingerprint"] in (report.get("held") or []))
            ]
        )

    def unproven(self, wanted: str) -> str:
        """Who has not proven the key with this fingerprint."""
        return _listed(
            [
                f"{host}: {report.get('problem') or 'no proof'}"
                for host, report in self._told
                if not report.get("proven") or set(report.get("held") or []) != {wanted}
            ]
        )


def _listed(problems: t.Sequence[str]) -> str:
    more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
    return "; ".join(problems[:3]) + more
