# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An empty MariaDB server for a proof: no network, its files in the backup folder, gone with the run that started it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Source, Work
from ansible_collections.sre.runbooks.plugins.module_utils._core import files, mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

START_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_OPTIONS = ["--no-defaults", "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", "--innodb-flush-method=fsync"]

# What is proven may change the password of root.
ADMIN = "sre_runbooks_proof"
_ADMIN = (
    f"CREATE USER {ADMIN}@localhost; GRANT ALL ON *.* TO {ADMIN}@localhost WITH GRANT OPTION; "
    f"GRANT PROXY ON ''@'%' TO {ADMIN}@localhost WITH GRANT OPTION;"
)

_Found = t.TypeVar("_Found")


def run(action: t.Callable[[Source], _Found], work: Work) -> _Found:
    """Start a server, call `action` with the source that reaches it, end it."""
    folder = work.scratch("server")
    results: list[_Found] = []
    files.make_directory(folder)
    # A path of a socket has at most 107 characters, that of a backup folder may have more.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        short = f"/proc/{os.getpid()}/fd/{descriptor}"
        source = {**dict.fromkeys(mysql.CONNECTION), "socket": f"{short}/s", "user": "root"}
        work.commands.run(
            ["mariadb-install-db", *_OPTIONS, f"--datadir={folder}/data", "--auth-root-authentication-method=normal",
             "--skip-test-db", f"--user={_user()}"],
            timeout=work.seconds(),
        )  # fmt: skip

        def talk(process: t.Any) -> None:
            try:
                _wait(source, process, work)
                source["user"] = ADMIN
                results.append(action(source))
            finally:
                # What it has is worth nothing any more.
                process.kill()
                process.wait()

        # The kernel ends the server when this process is killed.
        argv = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "mariadbd",
            *_OPTIONS,
            f"--datadir={folder}/data",
            f"--user={_user()}",
        ]
        argv += [f"--socket={short}/s", f"--pid-file={folder}/pid", "--skip-networking"]
        done = work.commands.run(argv, timeout=work.seconds(), check=False, meanwhile=talk)
        if not results:
            raise RunbookError(f"the scratch server ended: {' / '.join(done.stderr.splitlines()[-3:])}")
        return results[0]
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)


def _wait(source: Source, process: t.Any, work: Work) -> None:
    deadline = time.monotonic() + START_SECONDS
    while mysql.query(work.commands, source, _ADMIN, START_SECONDS, check=False).rc:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RunbookError("the scratch server does not answer. See that mariadbd starts on this host.")
        time.sleep(_PAUSE_SECONDS)


def _user() -> str:
    """mariadbd runs as root only when it is told to; this one has no network and ends in a moment."""
    return pwd.getpwuid(os.geteuid()).pw_name
