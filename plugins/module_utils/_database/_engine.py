# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a database engine is to maintenance, and what it may use.

An engine is a module beside this one with
  OPTIONS    argument spec of its own options; secrets are `no_log`
  check(source, where)            raises InputError for options that cannot be used, fills in defaults that depend on
                                  other options; reads nothing of the host
for database_vacuum
  look(source, work) -> View      how the database is and what should be done, without changing anything
  examine(source, view, work) -> Examined
                                  looks for damage; raises Damaged when there is some
  apply(source, step, work) -> Done
                                  does one step; raises Locked or Over when it could not be done now
for database_indexes
  survey(source, wanted, limits, work) -> Survey
                                  the state of each wanted index, what is conspicuous, and what is slow; changes nothing
  create(source, index, state, work) -> str
                                  makes one index that is missing or broken without keeping writers from their work

`source` holds the validated options. All raise RunbookError with the thing, the value and the remedy.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

Source = t.Mapping[str, t.Any]


class Damaged(RunbookError):
    """The database holds what cannot be right; nothing may be written to it before somebody has looked."""


class Locked(RunbookError):
    """Somebody else held a lock for longer than `lock_timeout`."""


class Over(RunbookError):
    """The time of this run is used up."""


class Absent(RunbookError):
    """There is nothing to do here, such as on a standby."""


class Step(t.NamedTuple):
    """One thing to do: `target` is a table (or the file), `bytes` what it reads or writes, `since` when it was last done."""

    target: str
    action: str
    reason: str
    bytes: int
    since: float = 0.0
    details: t.Mapping[str, t.Any] = {}


class View(t.NamedTuple):
    """How a database is: bytes in all, metrics, the steps that are due (most urgent first), and what a person should know.

    `hold` is why a step may be due again as soon as it was done.
    """

    size_bytes: int
    metrics: dict[str, float]
    steps: list[Step]
    notes: list[str]
    details: t.Mapping[str, t.Any] = {}
    hold: str = ""


class Examined(t.NamedTuple):
    """What was looked at; not `whole` when the time was too short for all of it."""

    text: str
    whole: bool = True


class Done(t.NamedTuple):
    """What a step did. `warning` is what kept it from its whole effect; `memory` is kept for the next run."""

    changed: bool
    warning: str = ""
    memory: t.Mapping[str, t.Any] | None = None


class Work(t.NamedTuple):
    """What an engine may use for one database.

    `lock_seconds` is the longest wait for a lock, `deadline` a time of the monotonic clock or None, `memory` what earlier
    runs kept, by target. When it is `dry`, nothing may be written, not even what only opening a file would write.
    """

    commands: Commands
    lock_seconds: float
    deadline: float | None = None
    memory: t.Mapping[str, t.Any] = {}
    dry: bool = False

    def seconds(self) -> float | None:
        """The time that is left; `Over` when there is none."""
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Over("the time limit has passed")
        return left


class Index(t.NamedTuple):
    """An index that must exist."""

    table: str
    schema: str | None
    columns: tuple[str, ...]
    name: str
    unique: bool
    where: str | None
    method: str | None


class State(t.NamedTuple):
    """`kind` is present, missing, broken (left by a killed run), building, different or impossible; `text` tells more."""

    kind: str
    text: str = ""


class Finding(t.NamedTuple):
    """Something conspicuous of `kind`, such as `foreign_key_without_index`; `advice` is what one could do."""

    kind: str
    target: str
    advice: str


class Query(t.NamedTuple):
    """A kind of statement without its values; `mean_seconds` over `calls`."""

    text: str
    calls: int
    mean_seconds: float
    total_seconds: float


class Limits(t.NamedTuple):
    """From when on something is worth telling; `age_seconds` is how long the statistics must have been kept."""

    table_bytes: int
    age_seconds: float
    calls: int
    queries: int


class Survey(t.NamedTuple):
    """`states` in the order of the wanted indexes; `queries` is None when there is no record, `told` why a server keeps none."""

    states: list[State]
    findings: list[Finding]
    queries: list[Query] | None
    told: str = ""
    metrics: t.Mapping[str, float] = {}
