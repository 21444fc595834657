# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a kind of proof says: findings, each by a rule that has a reason and a remedy."""

from __future__ import annotations

import typing as t


class Finding(t.NamedTuple):
    """One thing that the proof found. `status` is an outcome's; `rule` is a row of docs/preflight.md."""

    subject: str
    status: str
    rule: str
    summary: str
    remedy: str = ""
    details: t.Mapping[str, t.Any] = {}

    @property
    def text(self) -> str:
        """Problem and remedy in one line."""
        return f"{self.summary.rstrip('.')}. {self.remedy}" if self.remedy else self.summary


class Looked(t.NamedTuple):
    """What one kind found, and in one line what it looked at, for the case that all is well."""

    findings: list[Finding]
    summary: str
    details: t.Mapping[str, t.Any] = {}
