# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one gateway for commands: argv lists, time limits, secrets by environment, other users and containers."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import (
    CommandFailed,
    MissingProgram,
    RunbookError,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core.watchdog import GRACE_SECONDS, Watchdog

PACKAGES = {
    "age": "age", "age-keygen": "age", "bash": "bash", "chronyc": "chrony", "dd": "coreutils", "grep": "grep", "gzip": "gzip",
    "journalctl": "systemd", "mariadb": "mariadb-client", "mariadb-dump": "mariadb-client", "mariadb-install-db": "mariadb-server",
    "mariadbd": "mariadb-server", "mysql": "mariadb-client", "mysqldump": "mariadb-client", "openssl": "openssl",
    "pg_dump": "postgresql-client", "pg_dumpall": "postgresql-client", "pg_restore": "postgresql-client", "psql": "postgresql-client",
    "redis-check-rdb": "redis-tools", "redis-cli": "redis-tools", "redis-server": "redis-tools",
    "restic": "restic", "setpriv": "util-linux", "sha256sum": "coreutils", "sqlite3": "sqlite3",
    "sshd": "openssh-server", "sos": "sosreport", "sudo": "sudo", "systemctl": "systemd", "tar": "tar", "tee": "coreutils", "timeout": "coreutils",
    "wc": "coreutils", "xz": "xz-utils", "zstd": "zstd",
}  # fmt: skip
TIMED_OUT = 124
_STATUS_MARK = "pipeline-status:"


class Completed(t.NamedTuple):
    """What a program left: exit status (that of the first failed part of a pipeline) and its output as text."""

    rc: int
    stdout: str
    stderr: str


class Target(t.NamedTuple):
    """Where and as whom a program runs: as the module's user, as `run_as`, or inside `container`."""

    run_as: str | None = None
    container: str | None = None


HERE = Target()


class Commands:
    """Runs programs through the `run_command` of an AnsibleModule. Safe to use from several threads."""

    def __init__(self, run_command: t.Callable[..., tuple[int, str, str]]) -> None:
        self._run_command = run_command

    def run(
        self,
        argv: t.Sequence[str],
        *,
        target: Target = HERE,
        secrets: t.Mapping[str, str] | None = None,
        environment: t.Mapping[str, str] | None = None,
        timeout: float | None = None,
        data: str | None = None,
        check: bool = True,
        meanwhile: t.Callable[[t.Any], None] | None = None,
    ) -> Completed:
        """Run one program.

        `secrets` go into the environment only and are blotted out of the output; `timeout` is in seconds. With `check`
        another status than 0 raises `CommandFailed`. `meanwhile` gets the process, a Popen object, as soon as it runs, and
        may read its output: what it leaves comes back. `data` is the program's input, of which it may leave as much as it likes.
        """
        if data is None:
            return self._execute([argv], target, secrets, environment, timeout, None, check, talk=meanwhile)
        # run_command would tell of a broken pipe when a program ends before it has read all; what the program says tells more.
        content = data.encode("utf-8", "surrogateescape")
        with _Conversation(lambda requests, _answers: t.cast("None", requests.write(content))) as conversation:
            return self._execute([argv], target, secrets, environment, timeout, conversation, check)

    def pipeline(
        self,
        stages: t.Sequence[t.Sequence[str]],
        *,
        target: Target = HERE,
        secrets: t.Mapping[str, str] | None = None,
        environment: t.Mapping[str, str] | None = None,
        timeout: float | None = None,
        at: int = 0,
    ) -> Completed:
        """Run programs joined by pipes; every exit status is checked. Only the one with the index `at` runs at `target`."""
        return self._execute(stages, target, secrets, environment, timeout, None, True, at % len(stages))

    def converse(
        self,
        stages: t.Sequence[t.Sequence[str]],
        talk: t.Callable[[t.IO[bytes], t.IO[bytes]], None],
        *,
        target: Target = HERE,
        secrets: t.Mapping[str, str] | None = None,
        environment: t.Mapping[str, str] | None = None,
        timeout: float | None = None,
        at: int = 0,
    ) -> Completed:
        """Run a pipeline that `talk` writes to and reads from while it runs; its input is closed when `talk` returns.

        What `talk` did not read comes back as output. A reader that dies ends `talk` by BrokenPipeError, which is not
        passed on: the program's own failure tells more. When this process is killed, the programs see the end of their input.
        """
        with _Conversation(talk) as conversation:
            return self._execute(stages, target, secrets, environment, timeout, conversation, True, at % len(stages))

    def _execute(
        self,
        stages: t.Sequence[t.Sequence[str]],
        target: Target,
        secrets: t.Mapping[str, str] | None,
        environment: t.Mapping[str, str] | None,
        timeout: float | None,
        conversation: _Conversation | None,
        check: bool,
        at: int = 0,
        talk: t.Callable[[t.Any], None] | None = None,
    ) -> Completed:
        hidden = dict(secrets or {})
        env = {"LC_ALL": "C.UTF-8", **_home(target), **(environment or {}), **hidden}
        placed = [
            _placed(list(stage), target, [*(environment or {}), *hidden], timeout)
            if index == at
            else [require(stage[0]), *stage[1:]]
            for index, stage in enumerate(stages)
        ]
        argv = placed[0] if len(placed) == 1 else _joined(placed)
        watchdog = Watchdog(timeout)
        data: t.Any = None
        if conversation is not None:
            talk, data = conversation.begin, conversation.pending

        def started(process: t.Any) -> None:
            watchdog.watch(process)
            if talk is not None:
                talk(process)

        try:
            with watchdog:
                rc, stdout, stderr = self._run_command(
                    argv, environ_update=env, data=data, binary_data=True, expand_user_and_vars=False,
                    errors="surrogate_then_replace", handle_exceptions=False, before_communicate_callback=started,
                )  # fmt: skip
        except OSError as error:
            raise RunbookError(f"{stages[0][0]}: cannot be started: {error.strerror}") from error
        except ValueError as error:
            if "null byte" not in str(error):
                raise
            raise RunbookError(f"{stages[0][0]}: cannot be started: an argument holds a null byte") from error
        result = Completed(rc, stdout, stderr)
        program = " | ".join(os.path.basename(stage[0]) for stage in stages)
        if len(stages) > 1:
            result, program = _first_failure(result, stages)
        if watchdog.barked:
            result = result._replace(rc=TIMED_OUT)
        result = Completed(result.rc, _blot(result.stdout, hidden.values()), _blot(result.stderr, hidden.values()))
        if check and result.rc != 0:
            raise CommandFailed(program, result.rc, result.stderr, timeout)
        return result


class _Conversation:
    """Lets `talk` use the pipes of a program that `run_command` has started.

    `run_command` opens the program's input only when it has data for it, and looks at the data again after its callback:
    by then there is none left, so that it does not write.
    """

    def __init__(self, talk: t.Callable[[t.IO[bytes], t.IO[bytes]], None]) -> None:
        self._talk = talk
        self._problem: RunbookError | OSError | None = None
        self.pending = bytearray(b"\0")

    def __enter__(self) -> _Conversation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """What went wrong in `talk` comes first: the program was ended because of it."""
        if self._problem is not None:
            raise self._problem

    def begin(self, process: t.Any) -> None:
        """Talk to `process`, a Popen object."""
        try:
            self._talk(process.stdin, process.stdout)
        except BrokenPipeError:
            pass
        except (RunbookError, OSError) as error:
            self._problem = error
            # A signal reaches the first process only; the others end by writing to a pipe that nobody reads any more.
            with contextlib.suppress(OSError):
                process.terminate()
            forsake(process.stdout)
        finally:
            self.pending.clear()
            with contextlib.suppress(OSError):
                process.stdin.close()


def forsake(pipe: t.IO[bytes]) -> None:
    """Close the reading end of a pipe whose file object is still needed: from now on it is at its end."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        os.dup2(nothing, pipe.fileno())
    finally:
        os.close(nothing)


def require(program: str) -> str:
    """The path of `program`; `MissingProgram` names the package that brings it."""
    path = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if path is None:
        name = os.path.basename(program)
        raise MissingProgram(name, PACKAGES.get(name, name))
    return path


def _placed(argv: list[str], target: Target, names: t.Sequence[str], timeout: float | None = None) -> list[str]:
    """Prefix `argv` so that it runs at `target`; `names` are the variables that must get there."""
    if target.container:
        runtime = "podman" if shutil.which("podman") else "docker"
        passed = [part for name in names for part in ("--env", name)]
        user = ["--user", target.run_as] if target.run_as else []
        return [require(runtime), "exec", "--interactive", *passed, *user, target.container, *argv]
    path = require(argv[0])
    if target.run_as is None or target.run_as == pwd.getpwuid(os.geteuid()).pw_name:
        return [path, *argv[1:]]
    if os.geteuid() == 0:
        groups = [f"--reuid={target.run_as}", f"--regid={_account(target.run_as).pw_gid}", "--init-groups"]
        return [require("setpriv"), *groups, "--", path, *argv[1:]]
    keep = [f"--preserve-env={','.join(names)}"] if names else []
    # Below sudo runs another user, whose processes this one may not end.
    limit = [require("timeout"), f"--kill-after={GRACE_SECONDS:g}", f"{timeout:g}"] if timeout is not None else []
    return [require("sudo"), "--non-interactive", *keep, f"--user={target.run_as}", "--", *limit, path, *argv[1:]]


def _account(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError as error:
        raise RunbookError(f"run_as: no user {name!r} on this host. Create it, or name another.") from error


def _home(target: Target) -> dict[str, str]:
    """setpriv keeps HOME; clients would look for their files in a folder that is not theirs."""
    if target.run_as and not target.container:
        return {"HOME": _account(target.run_as).pw_dir}
    return {}


def _joined(stages: list[list[str]]) -> list[str]:
    """A pipeline as one argv.

    bash gets a text that depends on nothing but the number of programs; the programs are positional parameters, so no
    part of them is ever read as shell. `$1`, `$2`, … are their lengths,
    `s1`, `s2`, … the places where they begin.
    """
    count = len(stages)
    first = [
        f"s{number}=$(({' + '.join([str(count + 1), *[f'${{{n}}}' for n in range(1, number)]])}))"
        for number in range(1, count + 1)
    ]
    parts = [f'"${{@:s{number}:${{{number}}}}}"' for number in range(1, count + 1)]
    script = f'{"; ".join(first)}; {" | ".join(parts)}; echo "{_STATUS_MARK}${{PIPESTATUS[*]}}" >&2'
    lengths = [str(len(stage)) for stage in stages]
    return [require("bash"), "-c", script, "pipeline", *lengths, *[part for stage in stages for part in stage]]


def _first_failure(result: Completed, stages: t.Sequence[t.Sequence[str]]) -> tuple[Completed, str]:
    """Take the mark off the error output; the program to blame is the first one that failed on its own account.

    A writer whose reader died ends by SIGPIPE (141): that is the reader's failure, not its own.
    """
    text, mark, statuses = result.stderr.rpartition(_STATUS_MARK)
    if not mark:
        return result, " | ".join(os.path.basename(stage[0]) for stage in stages)
    codes = [int(code) for code in statuses.partition("\n")[0].split()]
    own = [index for index, code in enumerate(codes) if code not in (0, 141)]
    broken = own or [index for index, code in enumerate(codes) if code]
    if not broken:
        return Completed(0, result.stdout, text), ""
    return Completed(codes[broken[0]], result.stdout, text), os.path.basename(stages[broken[0]][0])


def _blot(text: str, secrets: t.Iterable[str]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "********")
    return text
