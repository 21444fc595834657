# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL cluster of its own for the proof of globals: made by initdb, reached by a socket that is closed to others.

It lives in a temporary folder, for the account that it runs as (never root) cannot reach the backups. It ends with its
maker: the kernel tells it when that is killed, and the next run removes the folder.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
import shutil
import signal
import stat
import tempfile
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch, Source, Work
from ansible_collections.sre.runbooks.plugins.module_utils._backup._postgresql_session import answer, ask
from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import HERE, Completed, Target
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size

START_SECONDS = 60.0
# What a new cluster takes, with room for roles.
_NEEDED_BYTES = 64 << 20
_PAUSE_SECONDS = 0.03
# Nothing in it has to last, and nothing of a statement (the hash of a password) may stand in its messages. Tablespaces lie
# inside it, whatever the script says.
_SETTINGS = (
    "listen_addresses=", "fsync=off", "full_page_writes=off", "shared_buffers=8MB", "max_connections=10", "autovacuum=off",
    "log_min_error_statement=panic", "log_statement=none", "log_min_messages=fatal", "logging_collector=off",
    "allow_in_place_tablespaces=on", "port=5432",
)  # fmt: skip
_TABLESPACE = re.compile(rb"(\s*CREATE\s+TABLESPACE\s.*\sLOCATION\s+)E?'(?:[^']|'')*'(\s*;\s*)", re.DOTALL)
_HASHES = re.compile(r"SCRAM-SHA-256\$[^'\s]*|md5[0-9a-f]{32}", re.IGNORECASE)
# All that pg_dumpall writes of globals.
_KINDS = re.compile(
    rb"(SET|GRANT|REVOKE|(CREATE|ALTER) (ROLE|TABLESPACE)|COMMENT ON (ROLE|TABLESPACE)|SECURITY LABEL ON (ROLE|TABLESPACE)) "
)
_SIGNS = re.compile(rb"['\";$\\]")


class _Cluster(t.NamedTuple):
    """A cluster in `folder` that runs as `target`; `superuser` is called as that of the cluster the script is from."""

    work: Work
    target: Target
    folder: str
    superuser: str

    def run(self, argv: t.Sequence[str], **options: t.Any) -> Completed:
        """Run a program in the folder: the account may not be allowed to be where this process is."""
        argv = ["env", f"--chdir={self.folder}", *argv]
        return self.work.commands.run(argv, target=self.target, timeout=self.work.seconds(), **options)

    def psql(self) -> list[str]:
        """The client on it."""
        return [
            postgresql.client("psql", {}),
            "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse",
            "--no-password", f"--host={self.folder}", "--port=5432", f"--username={self.superuser}", "--dbname=postgres",
        ]  # fmt: skip


def sweep(work: Work) -> list[str]:
    """Remove the folders that killed runs left; none that belongs to somebody else."""
    swept = []
    for path in glob.glob(glob.escape(os.path.join(tempfile.gettempdir(), _prefix(work))) + "*"):
        info = os.lstat(path)
        if stat.S_ISDIR(info.st_mode) and os.geteuid() in (0, info.st_uid):
            shutil.rmtree(path, ignore_errors=True)
            swept.append(path)
    return swept


def run(source: Source, superuser: str, stages: t.Sequence[t.Sequence[str]], sql: str, work: Work) -> list[str]:
    """Make a cluster, run the script that the pipeline `stages` writes, and return the lines that the query `sql` gives then."""
    initdb, postgres = _program("initdb"), _program("postgres")
    account = None if os.geteuid() else _account(source)
    folder = _make_folder(work, account)
    try:
        cluster = _Cluster(work, HERE if account is None else Target(account.pw_name), folder, superuser)
        place = [f"--pgdata={folder}/data", f"--username={superuser}", "--encoding=UTF8", "--locale=C"]
        cluster.run([initdb, *place, "--auth=trust", "--no-sync", "--wal-segsize=1"])
        return _serve(cluster, postgres, stages, sql)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def statements(script: t.Iterable[bytes]) -> t.Iterator[bytes]:
    """The statements of a script of pg_dumpall, whose lines are given; comments and commands of psql are left out.

    Quotes inside quotes are doubled there, so that each one begins or ends something. A command of psql, a second
    statement in a line or a dollar outside of quotes is Mismatch: pg_dumpall writes none, and psql would obey it.
    """
    statement: list[bytes] = []
    quote = b""
    for line in script:
        if not statement and (not line.strip() or line.startswith((b"--", b"\\"))):
            continue
        statement.append(line)
        text = line.rstrip()
        for found in _SIGNS.finditer(text):
            sign = found[0]
            if quote:
                quote = b"" if sign == quote else quote
            elif sign in (b"'", b'"'):
                quote = sign
            elif sign != b";" or found.end() != len(text):
                raise Mismatch(
                    "the script holds a command of psql, or two statements in a line: pg_dumpall writes neither"
                )
        if not quote and text.endswith(b";"):
            yield b"".join(statement)
            statement = []
    if statement:
        raise Mismatch("the script ends within a statement")


def adapted(statement: bytes, superuser: str) -> bytes | None:
    """A statement as the scratch cluster can run it: its superuser is there already, tablespaces have no place of their own.

    Mismatch for one that makes no role, tablespace or right: a superuser's statement can start programs.
    """
    if not _KINDS.match(statement):
        raise Mismatch("the script holds a statement that pg_dumpall does not write for globals")
    name = superuser.encode()
    if statement.strip() in (b"CREATE ROLE %s;" % name, b'CREATE ROLE "%s";' % name.replace(b'"', b'""')):
        return None
    if statement.split()[:2] == [b"CREATE", b"TABLESPACE"]:
        match = _TABLESPACE.fullmatch(statement)
        if match is None:
            raise Mismatch("the script makes a tablespace in a way that pg_dumpall does not")
        return match[1] + b"''" + match[2]
    return statement


def _serve(cluster: _Cluster, postgres: str, stages: t.Sequence[t.Sequence[str]], sql: str) -> list[str]:
    """Let the server run as long as the script takes; the kernel ends it when this process is killed."""
    lines: list[str] = []
    problems: list[RunbookError | OSError] = []

    def use(server: t.Any) -> None:
        try:
            if _ready(cluster, server):
                lines.extend(_script(cluster, stages, sql))
        except (RunbookError, OSError) as error:
            problems.append(error)
        finally:
            server.send_signal(signal.SIGINT)

    settings = [part for each in _SETTINGS for part in ("-c", each)]
    argv = [
        "setpriv",
        "--pdeathsig=INT",
        "--",
        postgres,
        "-D",
        f"{cluster.folder}/data",
        "-k",
        cluster.folder,
        *settings,
    ]
    ended = cluster.run(argv, meanwhile=use, check=False)
    # It tells more than how the server ended because of it.
    if problems:
        raise problems[0]
    if ended.rc:
        raise RunbookError(
            f"the scratch cluster in {cluster.folder} ended with status {ended.rc}: {ended.stderr.strip()[-500:]}"
        )
    return lines


def _ready(cluster: _Cluster, server: t.Any) -> bool:
    """Wait until the server answers; False when it ended instead."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None:
        socket = os.path.join(cluster.folder, ".s.PGSQL.5432")
        if os.path.exists(socket) and cluster.run([*cluster.psql(), "--command="], check=False).rc == 0:
            return True
        if time.monotonic() > deadline:
            raise RunbookError(f"the scratch cluster in {cluster.folder} did not answer within {START_SECONDS:g} s.")
        time.sleep(_PAUSE_SECONDS)
    return False


def _script(cluster: _Cluster, stages: t.Sequence[t.Sequence[str]], sql: str) -> list[str]:
    """Run the script and the query in one session: the script may take the right to log in from the superuser."""
    lines: list[str] = []

    def feed(requests: t.IO[bytes], answers: t.IO[bytes]) -> None:
        def pass_on(_nothing: t.IO[bytes], script: t.IO[bytes]) -> None:
            for statement in statements(iter(script.readline, b"")):
                allowed = adapted(statement, cluster.superuser)
                if allowed is not None:
                    requests.write(allowed)

        cluster.work.commands.converse(stages, pass_on, timeout=cluster.work.seconds())
        ask(requests, sql)
        lines.extend(answer(answers) or ())

    # What it says has to fit into a pipe, for nobody reads it meanwhile.
    quiet = {"PGOPTIONS": "-c client_min_messages=error"}
    try:
        cluster.work.commands.converse(
            [cluster.psql()], feed, target=cluster.target, environment=quiet, timeout=cluster.work.seconds()
        )
    except CommandFailed as error:
        # What psql says may quote the statement that failed.
        reason = _HASHES.sub("********", str(error))
        if error.rc in (124, 137) or any(sign in reason for sign in ("No space left", "server closed the connection")):
            raise RunbookError(reason) from None
        raise Mismatch(f"cannot be restored: {reason}") from None
    return lines


def _program(name: str) -> str:
    path = postgresql.client(name, {})
    if os.path.isabs(path) or shutil.which(path):
        return path
    raise RunbookError(
        f"{name} is not installed on this host: a copy of globals is proven in a scratch cluster. Install the package "
        "postgresql, or set verify to archive for this source."
    )


def _account(source: Source) -> pwd.struct_passwd:
    """Who may run the cluster when this process is root's: the source's user, or the one that PostgreSQL's packages make."""
    for name in (None if source["container"] else source["run_as"], "postgres", "nobody"):
        if name is not None and name != "root":
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
    raise RunbookError("there is no user to run a scratch cluster as. Set run_as, or set verify to archive.")


def _make_folder(work: Work, account: pwd.struct_passwd | None) -> str:
    place = tempfile.gettempdir()
    free = shutil.disk_usage(place).free
    if free < _NEEDED_BYTES:
        raise RunbookError(
            f"{place}: a scratch cluster needs {show_size(_NEEDED_BYTES)}, {show_size(free)} are free. Make room, or set "
            "TMPDIR to a larger file system."
        )
    folder = tempfile.mkdtemp(prefix=_prefix(work), dir=place)
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder


def _prefix(work: Work) -> str:
    return f"sre-runbooks-{work.token}-"
