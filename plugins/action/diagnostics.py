# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a bundle on the host and bring it here. Documented in plugins/modules/diagnostics.py.

ansible.builtin.fetch reads a file that only another user may read in one piece, which takes several times its size of the
host's memory, and leaves it here readable by others.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import shlex
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome, worst

MODULE = "sre.runbooks.diagnostics"
BLOCK = 1 << 20
# Blocks in one go: what comes is a third longer, and is held here twice.
BLOCKS = 4
ATTEMPTS = 3


class ActionModule(ActionBase):
    """The action C(sre.runbooks.diagnostics)."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        result.update(self._execute_module(module_name=MODULE, module_args=self._task.args, task_vars=task_vars))
        folder = self._task.args.get("fetch_directory")
        bundle = result.get("bundle")
        if not folder or not bundle or result.get("failed"):
            return result
        host = str((task_vars or {}).get("inventory_hostname", "host"))
        try:
            bundle["fetched"] = self._fetch(bundle, Path(str(folder)).expanduser(), host)
        except (RunbookError, OSError) as error:
            told = f"the bundle stays on the host, {bundle['path']}: {error}"
            result["outcomes"].append(outcome("diagnostics:fetch", "diagnostics", "critical", told))
            result["status"] = worst(each["status"] for each in result["outcomes"])
        return result

    def _fetch(self, bundle: dict[str, t.Any], folder: Path, host: str) -> str:
        """Bring the bundle here piece by piece and compare its sum; return its path."""
        place = folder / (re.sub(r"[^A-Za-z0-9._-]", "_", host).lstrip(".") or "host")
        files.make_directory(str(folder), 0o700)
        files.make_directory(str(place), 0o700)
        path = place / Path(bundle["path"]).name
        partial = Path(files.partial_name(str(path)))
        digest = hashlib.sha256()
        try:
            partial.unlink(missing_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                for number in range(0, -(-bundle["size_bytes"] // BLOCK), BLOCKS):
                    wanted = min(BLOCKS * BLOCK, bundle["size_bytes"] - number * BLOCK)
                    piece = self._piece(bundle["path"], number, wanted)
                    digest.update(piece)
                    target.write(piece)
            if digest.hexdigest() != bundle["sha256"]:
                raise RunbookError(f"its SHA-256 here is {digest.hexdigest()}, that of the host {bundle['sha256']}")
            files.publish(str(partial), str(path))
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return str(path)

    def _piece(self, path: str, number: int, wanted: int) -> bytes:
        """Some blocks of the file, as text, for that is what a connection carries."""
        command = f"dd if={shlex.quote(path)} bs={BLOCK} skip={number} count={BLOCKS} 2>/dev/null | base64"
        problem = ""
        for _attempt in range(ATTEMPTS):
            done = self._low_level_execute_command(command, sudoable=True)
            try:
                piece = base64.b64decode(done["stdout"])
            except (binascii.Error, ValueError) as error:
                problem = str(error)
                continue
            if done["rc"] == 0 and len(piece) == wanted:
                return piece
            problem = done["stderr"].strip() or f"{len(piece)} of {wanted} bytes came"
        raise RunbookError(f"it could not be read: {problem}")
