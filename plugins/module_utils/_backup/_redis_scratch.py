# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Redis server for a proof: no port, no persistence, its files in the backup folder, gone with the run that started it."""

from __future__ import annotations

import os
import shutil
import socket
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch, Work
from ansible_collections.sre.runbooks.plugins.module_utils._core import files, redis
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size

# What a data set needs beyond the memory that its server used.
MEMORY_SHARE = 1.2
# More than anybody has; an empty one costs a few bytes.
DATABASES = 10000
_PAUSE_SECONDS = 0.02
_ANSWER_SECONDS = 60.0
# What the programs say when they, not the file, are the reason.
_CIRCUMSTANCES = (
    "Can't handle RDB format version", "module", "Out Of Memory", "No space left", "Permission denied", "did not end within",
)  # fmt: skip


def load(path: str, used_memory_bytes: int, work: Work) -> tuple[dict[str, int], float]:
    """Keys by database of a server that has loaded the copy `path`, and the seconds that it took."""
    program = shutil.which("redis-server") or require("redis-check-rdb")
    _enough_memory(used_memory_bytes)
    folder = work.scratch("restore")
    files.make_directory(folder)
    # A path of a socket has at most 107 characters, that of a backup folder may have more.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # They are one program, which goes by the name it is called by; Debian's package of the other name would start a service.
        os.symlink(program, os.path.join(folder, "redis-server"))
        started = time.monotonic()
        _packing.unpack_to(work.commands, work.unpack(path), os.path.join(folder, "copy.rdb"), work.seconds())
        return _serve(path, folder, f"/proc/{os.getpid()}/fd/{descriptor}/s", work), time.monotonic() - started
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def keyspace(info: t.Mapping[str, str]) -> dict[str, int]:
    """Keys by number of the database, out of the fields of INFO."""
    return {
        name[2:]: int(value.partition("keys=")[2].partition(",")[0])
        for name, value in info.items()
        if name.startswith("db") and name[2:].isdigit()
    }


def verdict(path: str, text: str) -> RunbookError:
    """A file that a program does not understand or has no room for is not for that a broken one."""
    if any(sign.lower() in text.lower() for sign in _CIRCUMSTANCES):
        return RunbookError(
            f"{path}: the Redis programs of this host cannot read it: {text}. Install those of the server's release, or set verify: checksum."
        )
    return Mismatch(f"{path}: cannot be restored: {text}")


def _serve(path: str, folder: str, address: str, work: Work) -> dict[str, int]:
    results: list[dict[str, int]] = []

    def talk(process: t.Any) -> None:
        try:
            while process.poll() is None and not results:
                info = _ask(address)
                if info.get("loading") == "0":
                    results.append(keyspace(info))
                else:
                    time.sleep(_PAUSE_SECONDS)
        finally:
            # What it has is worth nothing any more.
            process.kill()
            process.wait()

    # The kernel ends the server when this process is killed, and prefers it to all others when memory runs out. As a replica (of
    # nobody) it keeps keys whose time has passed, so that the numbers do not depend on when the proof is made.
    argv = [
        "setpriv", "--pdeathsig", "KILL", "choom", "--adjust", "1000", "--", os.path.join(folder, "redis-server"), "--port", "0", "--unixsocket", address,
        "--unixsocketperm", "700", "--dir", folder, "--dbfilename", "copy.rdb", "--save", "", "--appendonly", "no",
        "--daemonize", "no", "--databases", str(DATABASES), "--replicaof", "127.0.0.1", "1", "--loglevel", "warning",
    ]  # fmt: skip
    done = work.commands.run(argv, timeout=work.seconds(), check=False, meanwhile=talk)
    if not results:
        work.seconds()
        lines = [line.partition(" # ")[2] or line for line in (done.stdout + done.stderr).splitlines()]
        raise verdict(path, " / ".join(lines[-3:]) or f"redis-server ended with status {done.rc}")
    return results[0]


def _ask(address: str) -> dict[str, str]:
    """The fields of INFO; none while the server does not listen yet."""
    text = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        try:
            connection.connect(address)
            connection.sendall(b"INFO\r\nQUIT\r\n")
            for piece in iter(lambda: connection.recv(1 << 16), b""):
                text += piece
        except OSError:
            return {}
    return redis.info(text.decode(errors="replace"))


def _enough_memory(used_memory_bytes: int) -> None:
    with open("/proc/meminfo", encoding="ascii") as stream:
        fields = dict(line.split(":", 1) for line in stream)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    needed = int(used_memory_bytes * MEMORY_SHARE)
    if needed > available:
        raise RunbookError(
            f"a scratch server would need {show_size(needed)} of memory, {show_size(available)} are available. "
            "Set verify: archive for this source, or prove its copies on another host."
        )
