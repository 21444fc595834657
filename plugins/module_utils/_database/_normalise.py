# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Statements without their values: what a user typed or stored never stands in a report."""

from __future__ import annotations

import re

LONGEST = 300
_STRING = r"'(?:[^'\\]|''|\\.)*(?:'|$)"
# Longest first. A literal that a server has cut off goes to the end of the text.
_TOKENS = re.compile(
    r"(?P<comment>/\*.*?(?:\*/|$)|--[^\n]*)"
    r"|(?P<dollar>\$(?P<tag>[A-Za-z_]\w*|)\$.*?(?:\$(?P=tag)\$|$))"
    rf"|(?P<string>(?:\b[EeNnBbXxUu]&?)?{_STRING})"
    r"|(?P<double>\"(?:[^\"\\]|\"\"|\\.)*(?:\"|$))"
    r"|(?P<identifier>`(?:[^`]|``)*(?:`|$)|[A-Za-z_\u0080-\uffff][\w$]*)"
    r"|(?P<parameter>\$\d+)"
    r"|(?P<number>0[xX][0-9A-Fa-f]+|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)",
    re.DOTALL,
)
_LIST = re.compile(r"\?(?:\s*,\s*\?)+")


def normalised(sql: str, double: str = "identifier") -> str:
    """`sql` on one line with `?` for every value; comments are left out, for programs put values there too.

    `double` tells what stands in double quotes: an `identifier` as in the standard, or a `string` as in MySQL.
    """

    def shown(match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind == "comment":
            return " "
        if match["identifier"] is not None or (match["double"] is not None and double == "identifier"):
            return match[0]
        return "?"

    text = " ".join(_LIST.sub("?, …", _TOKENS.sub(shown, sql)).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
