# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a stabilising action is.

An action is a module beside this one with
  OPTIONS                 argument spec of its own options; secrets are `no_log`
  LIMIT                   how often it may be taken where the user gives no limit, such as "3/h"
  check(options, where)   raises InputError for options that cannot be used and fills in what depends on others; reads nothing of the host
  target(options)         -> what the limit counts: the same text for the same thing, whatever the action is called
  look(options, work)     -> Look: what is there before, and what would be done; RunbookError where it cannot be done. Changes nothing
  apply(options, before, work) -> one line of what was done; RunbookError when it failed
and, where what it does can be taken back,
  undo(options, before, work)  -> one line of what was taken back

`before` is small JSON that the journal keeps from before `apply` on: a run that was killed calls `apply` once more with it, so that
doing it again leads to the same end. Values of secrets stand in no text and not in `before`.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

Options = t.Mapping[str, t.Any]


class Look(t.NamedTuple):
    """What is there, as the journal keeps it, and what the action would do, for a person."""

    before: dict[str, t.Any]
    would: str


class Work(t.NamedTuple):
    """What an action may use. `services` are the units of the system; `deadline` is a time of the monotonic clock."""

    commands: Commands
    state_dir: str
    deadline: float
    hide: t.Callable[[set[str]], None]

    def seconds(self, most: float) -> float:
        """The time that is left, at most `most`; RunbookError when there is none."""
        left = min(most, self.deadline - time.monotonic())
        if left <= 0:
            raise RunbookError("the time limit (timeout) has passed. Raise it.")
        return left
