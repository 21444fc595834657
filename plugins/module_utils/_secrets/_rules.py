# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What engines do not look for: secrets in command lines, query strings and headers (K4)."""

from __future__ import annotations

import re
import typing as t

COMMAND, QUERY, HEADER = "Command line", "Query string", "Authorization header"
VARIABLE, ENCODED = "Variable", "Git credentials"
OWN = (COMMAND, QUERY, HEADER, VARIABLE, ENCODED)
_WORD = r"""(?:"([^"\n]{4,200})"|'([^'\n]{4,200})'|([^\s"'|;&<>]{4,200}))"""
_NAMES = r"(?:PASS|PASSWD|PASSWORD|PWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|SECRET_?KEY|ACCESS_?KEY|PRIVATE_?KEY|MONDAY_?KEY|AUTH_?KEY)"
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = (
    # The option that takes a password, of programs that are called with one.
    (COMMAND, re.compile(rf"\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump|mariadb-admin)\b[^\n|;&]*?\s-p{_WORD}")),
    (COMMAND, re.compile(rf"\bsshpass\s+-p\s*{_WORD}")),
    (COMMAND, re.compile(rf"\bredis-cli\b[^\n|;&]*?\s-a\s+{_WORD}")),
    (COMMAND, re.compile(rf"\b(?:curl|wget)\b[^\n|;&]*?\s(?:-u|--user)[ =]?[\"']?[^\s:\"']+:{_WORD}")),
    (COMMAND, re.compile(rf"\b(?:docker|podman)\s+login\b[^\n|;&]*?\s-p[ =]?{_WORD}")),
    (COMMAND, re.compile(rf"(?i)(?<![\w-])--(?:password|passwd|pass|token|api-?key|secret|secret-key|access-token|auth-token)[= ]{_WORD}")),
    (COMMAND, re.compile(rf"\b(?:PGPASSWORD|MYSQL_PWD|REDISCLI_AUTH|SSHPASS|RESTIC_PASSWORD|BORG_PASSPHRASE|VAULT_TOKEN)={_WORD}")),
    (VARIABLE, re.compile(rf"\b[A-Z0-9_]*{_NAMES}=(?![=\s]){_WORD}")),
    (QUERY, re.compile(r"(?i)[?&](?:[\w-]*token|api[_-]?key|apikey|key|password|passwd|pwd|secret|client_secret|sig(?:nature)?)=([^\s&\"'#<>]{8,500})")),
    (HEADER, re.compile(r"(?i)\bauthorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token|apikey)\s+([A-Za-z0-9._~+/=-]{8,2000})")),
    (HEADER, re.compile(r"(?i)\bx-(?:api-key|auth-token|access-token)[\"']?\s*[:=]\s*[\"']?([A-Za-z0-9._~+/=-]{8,500})")),
)  # fmt: skip


class Hit(t.NamedTuple):
    """A rule that matched: the line of the staged text, the kind, the value."""

    line: int
    kind: str
    value: str


def hits(text: str) -> t.Iterator[Hit]:
    """What the rules find in `text`, by rule."""
    for kind, expression in _RULES:
        position, line = 0, 1
        for match in expression.finditer(text):
            value = next((group for group in match.groups() if group), "")
            line += text.count("\n", position, match.start())
            position = match.start()
            yield Hit(line, kind, value)
