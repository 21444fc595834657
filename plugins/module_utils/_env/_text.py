# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the formats share: dotted names, and characters that no format takes.

A format is a module beside this one with pure functions of text, positions kept, so that all but the value stays byte for byte:
  EMPTY                            what a new file begins with
  read(text, variable)             -> the value that counts, None when there is none (or none yet: null)
  replaced(text, variable, value)  -> the text with the value in it, added when the variable is not there
  settled(text, variable, value)   -> whether all readers of the file see this value already
  others(text, variable)           -> all else that stands in the file, to be compared before and after
  notes(text, variable)            -> what the user should know, such as that the variable stands there twice
  refuse(variable)                 raises RunbookError for what is no variable's name
They raise RunbookError, which names neither the file (the caller does) nor ever a value.
"""

from __future__ import annotations

import re

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\ud800-\udfff]")


def segments(variable: str) -> list[str]:
    """`a.b.c` in its parts; a dot that belongs to a name is written with a backslash before it."""
    found = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", variable)]
    if not all(found):
        raise RunbookError(
            "an empty name stands between dots. Write names joined by single dots, as in server.api.key."
        )
    return found


def refuse_control(value: str) -> None:
    """RunbookError when `value` has control characters besides tabulator and line feed, or is no text."""
    if _CONTROL.search(value):
        raise RunbookError("the value has control characters, which readers take differently. Choose a value without.")


def line_end(text: str) -> str:
    """How lines of `text` end."""
    return "\r\n" if "\r\n" in text else "\n"


def appended(text: str, line: str) -> str:
    """`text` with one line more; a file without a line end at its end stays one."""
    end = line_end(text)
    if not text or text.endswith("\n"):
        return f"{text}{line}{end}"
    return f"{text}{end}{line}"
