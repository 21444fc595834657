# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a kind of target is, of which a number of instances run.

A kind is a module beside this one with
  OPTIONS                 argument spec of its own options
  check(options, where)   raises InputError for options that cannot be used and fills in what depends on others; reads nothing of the host
  running(options, work)  -> the numbers of the instances that run, in order; RunbookError where they cannot be told. Changes nothing
  more(options, work, running, count) -> start `count` further ones, and wait until they run
  fewer(options, work, running, count) -> let the `count` highest of `running` end what they do, and stop them
Called again after it was killed, each of the two last begins with what runs then.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

Options = t.Mapping[str, t.Any]


class Work(t.NamedTuple):
    """What a kind may use; `deadline` is a time of the monotonic clock."""

    commands: Commands
    deadline: float

    def seconds(self, most: float) -> float:
        """The time that is left, at most `most`; RunbookError when there is none."""
        left = min(most, self.deadline - time.monotonic())
        if left <= 0:
            raise RunbookError("the time limit (timeout) has passed. Raise it.")
        return left
