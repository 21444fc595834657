# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines for the terminal that ansible-playbook writes to, in the colours that Ansible gives its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from ansible import constants
from ansible.utils.display import Display

from ansible_collections.sre.runbooks.plugins.plugin_utils.table import DEFAULT_WIDTH, Line

COLOURS = {
    "ok": "COLOR_OK",
    "skipped": "COLOR_SKIP",
    "unknown": "COLOR_UNREACHABLE",
    "warning": "COLOR_WARN",
    "critical": "COLOR_ERROR",
}


def show(lines: Iterable[Line]) -> None:
    """Print `lines` after an empty one."""
    display = Display()
    display.display("")
    for line, status in lines:
        display.display(line, color=getattr(constants, COLOURS[status]) if status else None)


def terminal_width() -> int:
    """Return the columns of the terminal that ansible-playbook writes to; this worker's own streams lead nowhere."""
    with contextlib.suppress(ValueError, KeyError):
        return int(os.environ["COLUMNS"])
    with contextlib.suppress(OSError):
        descriptor = os.open(f"/proc/{os.getppid()}/fd/1", os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.get_terminal_size(descriptor).columns
        finally:
            os.close(descriptor)
    return DEFAULT_WIDTH
