# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets taken out of lines that are shown (L1; secrets stay out of results)."""

from __future__ import annotations

import re

HIDDEN = "********"
_READ = 2000
_NAMES = (
    r"pass(?:word|wd|phrase)|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|session(?:[_-]?id)?"
    r"|signature|monday[_-]?key"
)
_RULES = [
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY.*"), HIDDEN),
    (re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key)(\\?[\"']?\s*[:=]\s*\\?[\"']?)[^\"'\r\n]+"), rf"\1\2{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}://[^\s/:@\"']*):[^\s/@\"']+@"), rf"\1:{HIDDEN}@"),
    (
        re.compile(
            rf"(?i)((?:{_NAMES})[A-Za-z0-9_-]*\\?[\"']?\s*(?:=>|[:=])\s*)"
            r"(\\?\"(?:[^\"\\]|\\.)*\"?|'[^']*'?|[^\s,;&\"'}\])]+)"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"), HIDDEN),
    (
        re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk[-_](?:live|test|ant|proj)?|AKIA|ASIA|AIza|AGE-SECRET-KEY-1)[-\w]{12,}"),
        HIDDEN,
    ),
]  # fmt: skip
_EMAIL = re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def redact(text: str, length: int, emails: bool = False) -> str:
    """`text` on at most `length` characters, without secrets, control characters and, if asked, e-mail addresses."""
    shown = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text[:_READ])
    for expression, instead in _RULES:
        shown = expression.sub(instead, shown)
    if emails:
        shown = _EMAIL.sub(HIDDEN, shown)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"
