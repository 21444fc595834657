# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Regular expressions that users write: refused clearly when they are none, ended when they never would.

Python's engine backtracks: `(a+)+$` takes years over a line of forty letters. While it runs it looks for signals now and
then, so a timer can end it, but only in the main thread: elsewhere (worker threads, Mitogen) there is no limit.
"""

from __future__ import annotations

import re
import signal
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

SECONDS = 2.0
REMEDY = "Write a regular expression of Python's re."
Text = t.TypeVar("Text", str, bytes)


class TooSlow(RunbookError):
    """Matching an expression took longer than it may: catastrophic backtracking."""

    def __init__(self, option: str, text: object, seconds: float) -> None:
        super().__init__(
            f"{option}: {_shown(text)!r} took more than {seconds:g} s over one text (catastrophic backtracking). "
            "Rewrite it without repetitions inside repetitions, such as (a+)+ or (a|a)*."
        )
        self.option = option


def compiled(text: object, option: str, flags: int = 0, groups: t.Sequence[str] = ()) -> re.Pattern[str]:
    """Compile `text`; `InputError` names `option` when it is no expression or lacks one of the named `groups`."""
    if not isinstance(text, str) or not text:
        raise InputError(option, text, "is no regular expression", REMEDY)
    try:
        expression = re.compile(text, flags)
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        raise InputError(option, text, f"is no regular expression: {error}", REMEDY) from error
    for group in groups:
        if group not in expression.groupindex:
            raise InputError(option, text, f"has no group named {group}", f"Put (?P<{group}>…) around that part.")
    return expression


def search(expression: re.Pattern[Text], text: Text, option: str, seconds: float = SECONDS) -> re.Match[Text] | None:
    """Search `text`; `TooSlow` names `option` after `seconds`. For many searches use one `Watch` instead."""
    with Watch(seconds) as watch:
        watch.begin(option, expression.pattern)
        try:
            return expression.search(text)
        finally:
            watch.end()


class Watch:
    """Ends one match at a time that takes longer than `seconds` (and less than twice that), with one timer for many.

    `begin` and `end` go around each match or group of short matches; what lies outside, such as waiting for input, has no
    limit. Not in the main thread, or where somebody else uses the timer, it does nothing.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self.limited = False
        self._option = ""
        self._text: object = ""
        self._number = 0
        self._seen = -1
        self._before: t.Any = None

    def __enter__(self) -> Watch:
        if signal.getitimer(signal.ITIMER_REAL)[0]:
            return self
        try:
            self._before = signal.signal(signal.SIGALRM, self._look)
        except ValueError:  # not the main thread
            return self
        self.limited = True
        signal.setitimer(signal.ITIMER_REAL, self.seconds, self.seconds)
        return self

    def __exit__(self, *_reason: object) -> None:
        if self.limited:
            self.limited = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)

    def begin(self, option: str, text: object) -> None:
        """A match begins; both arguments are for the message."""
        self._number += 1
        self._text = text
        self._option = option

    def end(self) -> None:
        """No match is going on."""
        self._option = ""

    def _look(self, _number: int, _frame: object) -> None:
        """Raises when the match that was going on at the last look still is."""
        if self._option and self._seen == self._number:
            option, self._option = self._option, ""
            raise TooSlow(option, self._text, self.seconds)
        self._seen = self._number if self._option else -1


def _shown(text: object) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return shown if len(shown) <= 200 else f"{shown[:199]}…"
