# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The distribution's own report, sos(1), unpacked, so that the secrets in it are taken out as everywhere else."""

from __future__ import annotations

import os
import shutil
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _find
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import PIECE
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _lines

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "the report of the program sos"
MOST = 5000
# Of its own log sizes in MiB: the rest is cut by this collector.
LOG_MIB = 5


def would(settings: Settings) -> list[str]:
    """Its plugins."""
    return list(settings.sos.plugins) or ["all plugins that sos enables"]


def collect(work: Work) -> None:
    """sos makes its tree in a folder of ours, which is read and removed."""
    require("sos")
    folder = os.path.join(work.settings.directory, f".sos.{os.getpid()}{files.PARTIAL}")
    os.mkdir(folder, 0o700)
    try:
        _report(work, folder)
        _read(work, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _report(work: Work, folder: str) -> None:
    plugins = ["--only-plugins", ",".join(work.settings.sos.plugins)] if work.settings.sos.plugins else []
    argv = [
        "sos", "report", "--batch", "--build", "--quiet", "--tmp-dir", folder, f"--log-size={LOG_MIB}",
        f"--plugin-timeout={max(1, int(work.left() / 2))}", *plugins,
    ]  # fmt: skip
    # It has most of the time, and what is left is for reading; what it made until its end is read in any case.
    done = work.commands.run(argv, timeout=work.left() * 0.8, check=False)
    with work.part("sos/output.txt") as part:
        part.text(done.stdout + done.stderr)
        if done.rc:
            part.problem(f"sos ended with status {done.rc}")


def _read(work: Work, folder: str) -> None:
    left = work.settings.sos.bytes
    count = binary = 0
    for path, info in _find.files(folder):
        name = path[len(folder) :].strip("/").partition("/")[2] or os.path.basename(path)
        if count >= MOST or left <= 0:
            with work.part("sos/left_out.txt") as part:
                part.truncated()
                part.text(f"more files were there than sos.bytes ({work.settings.sos.bytes}) or {MOST} files")
            break
        raw = _binary(path)
        if raw:
            binary += 1
            continue
        count += 1
        size = min(info.st_size, left, work.settings.limits.part)
        left -= size
        with work.part(f"sos/{name}") as part:
            if size < info.st_size:
                part.truncated()
            part.blocks(_lines.blocks(_content(path, info.st_size - size)))
    if not count:
        raise RunbookError("sos made nothing that could be read")
    with work.part("sos/read.txt") as part:
        part.text(f"{count} files of text; {binary} others were left out, for secrets cannot be found in them")


def _binary(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return b"\0" in stream.read(4096)
    except OSError:
        return True


def _content(path: str, start: int) -> t.Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        stream.seek(start)
        while chunk := stream.read(PIECE):
            yield chunk
