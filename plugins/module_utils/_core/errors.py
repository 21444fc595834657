# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one family of exceptions that the collection's helpers raise.

Helpers raise, `_core.runbook.run` turns what reaches it into `fail_json` once.
"""

from __future__ import annotations


class RunbookError(Exception):
    """A task cannot do its job. The message names the thing, the value and the remedy."""


class InputError(RunbookError):
    """What the user wrote cannot be used; raised before anything was changed."""

    def __init__(self, option: str, value: object, problem: str, remedy: str) -> None:
        super().__init__(f"{option}: {value!r} {problem}. {remedy}")
        self.option = option


class MissingProgram(RunbookError):
    """A program that the work needs is not installed on the host."""

    def __init__(self, program: str, package: str) -> None:
        super().__init__(
            f"{program} is not installed on this host. Install the package {package} "
            "(the role sre.runbooks.prerequisites does)."
        )
        self.program = program


class CommandFailed(RunbookError):
    """A program ended with another status than 0, or ran past its time limit."""

    def __init__(self, program: str, rc: int, stderr: str, timeout: float | None = None) -> None:
        if rc in (124, 137) and timeout is not None:
            reason = f"did not end within {timeout:g} s"
        else:
            reason = f"ended with status {rc}"
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        # The first lines say what happened, the last one what it was about.
        told = lines if len(lines) <= 3 else [*lines[:2], lines[-1]]
        super().__init__(f"{program} {reason}" + (f": {' / '.join(told)}" if told else ""))
        self.rc = rc
        self.stderr = stderr


class Busy(RunbookError):
    """Another run holds the lock."""


class TargetDown(RunbookError):
    """What is checked does not answer or is not there: `critical`, in contrast to a check that could not be made."""
