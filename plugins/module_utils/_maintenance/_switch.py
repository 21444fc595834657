# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a switch of maintenance mode is.

A kind of switch is a module beside this one with
  OPTIONS                 argument spec of its own options; secrets are `no_log`
  check(options, where)   raises InputError for options that cannot be used and fills in what depends on others; reads nothing of the host
  target(options)         -> what is switched: the same text for the same thing
  look(options, work)     -> whether the mode is on; None where that cannot be known. RunbookError where it should be known and is not
  turn(options, on, work) -> one line of what was done; RunbookError when it failed. Doing it twice leads to the same end

The program that ends a lease (`_keeper`) uses these modules too, without Ansible: they import the standard library and `_core` alone. Checked
options are JSON, for the lease keeps them.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

Options = t.Mapping[str, t.Any]


class Work(t.NamedTuple):
    """What a switch may use: `run(argv, seconds)` runs a program and gives its exit status and output; `deadline` is of the monotonic clock."""

    run: t.Callable[[t.Sequence[str], float], tuple[int, str]]
    deadline: float

    def seconds(self, most: float) -> float:
        """The time that is left, at most `most`; RunbookError when there is none."""
        left = min(most, self.deadline - time.monotonic())
        if left <= 0:
            raise RunbookError("the time for switching has passed. Raise the switch's timeout.")
        return left
