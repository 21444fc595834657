# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring up the program that ends a lease (`_keeper`), so that it needs nothing of the run that began it.

Its sources go to `maintenance/keeper.pyz` of the state folder. Where systemd runs the host, root makes it a unit that is enabled: restarted when
killed, and there again after a boot. Elsewhere it is a process of its own.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import time
import typing as t
import zipfile

from ansible_collections.sre.runbooks.plugins.module_utils._core import connect, errors, files, lock, state, units, web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance import (
    _keeper,
    _lease,
    _registry,
    _switch,
    command,
    file,
    http,
)

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

PACKED = (connect, errors, files, lock, state, units, web, _keeper, _lease, _registry, _switch, command, file, http)
ARCHIVE = "keeper.pyz"
START_SECONDS = 20.0
SYSTEMD = "/run/systemd/system"
UNIT = """\
[Unit]
Description=Ends the maintenance {name} at the end of its lease

[Service]
ExecStart={argv}
Restart=on-failure
RestartSec=5
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def keep(state_dir: str, name: str, commands: Commands) -> str:
    """Make sure that a keeper of the lease `name` lives; return how it was brought up, empty when it was there."""
    if _keeper.alive(state_dir, name):
        return ""
    archive = os.path.join(_lease.folder(state_dir), ARCHIVE)
    _pack(archive)
    argv = [sys.executable, "-I", archive, os.path.abspath(state_dir), name]
    problem = ""
    if os.geteuid() == 0 and os.path.isdir(SYSTEMD):
        try:
            _as_unit(argv, name, commands)
            _seen(state_dir, name)
            return _keeper.unit(name)
        except (RunbookError, OSError) as error:
            problem = f"{error}; "
    try:
        commands.run([*argv, "--detach"], timeout=START_SECONDS)
        _seen(state_dir, name)
    except RunbookError as error:
        raise RunbookError(
            f"what ends the lease cannot be started: {problem}{error}. Nothing was switched on."
        ) from error
    return "a process of its own"


def _seen(state_dir: str, name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _keeper.alive(state_dir, name):
        if time.monotonic() > deadline:
            raise RunbookError(f"it has not begun within {START_SECONDS:g} s")
        time.sleep(0.05)


def _pack(path: str) -> None:
    """Write the archive; what is there already is left, for a keeper may be reading it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        # The same sources make the same file: no time of now.
        for name, text in sorted(_sources().items()):
            archive.writestr(zipfile.ZipInfo(name), text)
    try:
        with open(path, "rb") as stream:
            if stream.read() == made.getvalue():
                return
    except OSError:
        pass
    files.make_directory(os.path.dirname(path))
    files.write(path, made.getvalue())


def _sources() -> dict[str, str]:
    found = {"__main__.py": f"from {_keeper.__name__} import main\nmain()\n"}
    for module in PACKED:
        parts = module.__name__.split(".")
        for count in range(1, len(parts)):
            found["/".join([*parts[:count], "__init__.py"])] = ""
        loader: t.Any = module.__loader__ or importlib.import_module(module.__name__).__loader__
        found["/".join(parts) + ".py"] = loader.get_source(module.__name__)
    return found


def _as_unit(argv: t.Sequence[str], name: str, commands: Commands) -> None:
    words = " ".join(_word(each) for each in [*argv, "--unit"])
    unit = _keeper.unit(name)
    files.write(os.path.join(_keeper.UNITS, unit), UNIT.format(name=name, argv=words).encode(), 0o644)
    for verb in (["daemon-reload"], ["enable", "--quiet", "--", unit], ["restart", "--", unit]):
        commands.run(["systemctl", *verb], timeout=START_SECONDS)


def _word(text: str) -> str:
    """A word of ExecStart=, whatever stands in it."""
    for mark, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        text = text.replace(mark, written)
    return f'"{text}"'
