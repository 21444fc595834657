# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""psutil, or an error that says how to get it."""

from __future__ import annotations

import sys
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

try:
    import psutil
except ImportError:
    psutil = None  # type: ignore[assignment]


def get() -> t.Any:
    """Return the module psutil."""
    if psutil is None:
        raise RunbookError(
            f"psutil is not installed for {sys.executable}. Install the package python3-psutil "
            "(the role sre.runbooks.prerequisites does)."
        )
    return psutil
