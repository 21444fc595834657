# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Redis: the RDB file that a replica gets, restored into a scratch server for the proof.

The server forks and sends what it had at that moment; its own files and its configuration are not touched. Nobody can ask
a moment later how many keys that were, so redis-check-rdb counts them in the stream while it passes. When nothing was written
meanwhile, the keys of each database are compared with the source's as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing, _redis_scratch
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import (
    Dump,
    Mismatch,
    Preflight,
    Source,
    Work,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core import redis
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Completed
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import (
    CommandFailed,
    InputError,
    MissingProgram,
    RunbookError,
)

OPTIONS: dict[str, t.Any] = redis.CONNECTION
EXTENSION = ".rdb"
QUERY_SECONDS = 60.0
_PIECE = 1 << 18
_MAGIC = b"REDIS"
# redis-cli leaves the mark that ends a stream of unknown length in it, when it writes to its standard output. The end of an RDB file itself
# is 0xFF with eight bytes of checksum, so its last 40 bytes never are digits alone.
_STREAM_MARK = re.compile(rb"[0-9a-f]{40}\Z")
_HELD_BYTES = 64
_CHECKSUM_BYTES = 8
_CHECK = ["redis-check-rdb", "/dev/stdin"]
_KEYS = re.compile(r"\[info\] (\d+) keys read")
_CHECKED = "RDB looks OK!"
_REMEDY = "See that the server runs, and check host, port, socket, user and password of this source."


def check(source: dict[str, t.Any], where: str) -> None:
    """A port is one."""
    if not 0 < source["port"] < 65536:
        raise InputError(f"{where}.port", source["port"], "is no port", "Give one from 1 to 65535, or a socket.")


def programs(source: Source, level: str) -> list[str]:
    """The client where the server is not in a container; what proves a copy runs on the host in any case."""
    proofs = {"checksum": [], "archive": ["redis-check-rdb"], "restored": ["redis-check-rdb", "redis-server"]}
    return ([] if source["container"] else ["redis-cli"]) + proofs[level]


def preflight(source: Source, work: Work) -> Preflight:
    """The server answers and has loaded its data. A proof needs its data set as a file, which is no larger than its memory."""
    info = _info(source, work)
    if info.get("loading") == "1":
        raise RunbookError("the server is loading its data. Run again when it is done.")
    size = redis.dataset_bytes(info)
    done = work.commands.run(["redis-cli", "--version"], target=redis.target(source), timeout=QUERY_SECONDS)
    versions = {"server": info["redis_version"], "client": done.stdout.partition(" ")[2].strip()}
    return Preflight(size, size if work.level == "restored" else 0, versions)


def sweep(source: Source, work: Work) -> list[str]:
    """A scratch server ends with the run that started it, and its files lie in the backup folder."""
    return []


def dump(source: Source, partial: str, work: Work) -> Dump:
    """Fetch the RDB file as a replica does."""
    before = _info(source, work)
    results: dict[str, str] = {}
    whole: list[bool] = []

    def store(answers: t.IO[bytes], checker: t.IO[bytes] | None) -> None:
        results["sha256"] = _packing.store(
            work.commands,
            work.packing.pack(),
            partial,
            lambda sink: whole.append(_pour(answers, sink, checker)),
            timeout=work.seconds(),
        )

    def talk(_requests: t.IO[bytes], answers: t.IO[bytes]) -> None:
        if work.level == "checksum":
            store(answers, None)
            return
        try:
            done = work.commands.converse(
                [_CHECK], lambda requests, _out: store(answers, requests), timeout=work.seconds()
            )
        except CommandFailed:
            # What it has to say is said by the proof, which reads what is on the disk.
            if "sha256" not in results:
                raise
        else:
            results["report"] = done.stdout

    work.commands.converse(
        [[*redis.client(source), "--rdb", "-"]], talk, target=redis.target(source), secrets=redis.secrets(source),
        timeout=work.seconds(),
    )  # fmt: skip
    if whole != [True]:
        raise RunbookError("the transfer ended before its end. See the server's log.")
    after = _info(source, work)
    figures = {
        "before": _redis_scratch.keyspace(before),
        "after": _redis_scratch.keyspace(after),
        "quiet": _quiet(before, after),
        "keys": _keys(results.get("report", "")),
        "used_memory_bytes": int(after.get("used_memory", "0")),
        **_files(source, work),
    }
    warnings = []
    if after.get("role") == "slave" and after.get("master_link_status") != "up":
        warnings.append("the server is a replica that has lost its primary: the copy is as old as that")
    return Dump(results["sha256"], figures, tuple(warnings))


def read(source: Source, path: str, work: Work) -> dict[str, t.Any]:
    """Let redis-check-rdb read the whole file, to its checksum."""
    try:
        done = work.commands.pipeline([*work.unpack(path), _CHECK], timeout=work.seconds())
    except MissingProgram:
        raise
    except CommandFailed as error:
        raise _redis_scratch.verdict(path, str(error)) from error
    if _CHECKED not in done.stdout:
        raise _redis_scratch.verdict(path, " / ".join(done.stdout.splitlines()[-3:]))
    return {"keys": _keys(done.stdout)}


def restore(source: Source, path: str, figures: t.Mapping[str, t.Any], work: Work) -> dict[str, t.Any]:
    """Load the file into a scratch server and compare the numbers of keys."""
    found, seconds = _redis_scratch.load(path, figures.get("used_memory_bytes", 0), work)
    total = sum(found.values())
    expected = figures.get("keys")
    if expected is not None and total != expected:
        raise Mismatch(f"{path}: the restored copy has {total} keys, the dump had {expected}")
    if figures.get("quiet") and found != figures["before"]:
        raise Mismatch(
            f"{path}: the restored copy has {_shown(found)}, the source had {_shown(figures['before'])}, and nothing was written"
        )
    if not total and figures.get("before") and figures.get("after"):
        raise Mismatch(f"{path}: the restored copy has no keys, the source had {_shown(figures['before'])}")
    return {"databases": len(found), "keys": total, "restore_seconds": round(seconds, 3)}


def _pour(answers: t.IO[bytes], sink: t.IO[bytes], checker: t.IO[bytes] | None) -> bool:
    """Pass the file on to both, without the mark that may follow it; whether it is whole."""
    held, begun = b"", False
    for piece in iter(lambda: answers.read(_PIECE), b""):
        held += piece
        if not begun and not held.startswith(_MAGIC[: len(held)]):
            raise RunbookError("redis-cli --rdb gives no RDB file. Update redis-tools.")
        begun = True
        checker = _give(held[:-_HELD_BYTES], sink, checker)
        held = held[-_HELD_BYTES:]
    held = _STREAM_MARK.sub(b"", held)
    _give(held, sink, checker)
    return held[-_CHECKSUM_BYTES - 1 : -_CHECKSUM_BYTES] == b"\xff"


def _give(data: bytes, sink: t.IO[bytes], checker: t.IO[bytes] | None) -> t.IO[bytes] | None:
    """Write to both; return the checker, or None when it wants no more."""
    sink.write(data)
    if checker is None:
        return None
    with contextlib.suppress(BrokenPipeError):
        checker.write(data)
        return checker
    return None


def _info(source: Source, work: Work) -> dict[str, str]:
    """The fields of INFO; RunbookError when the server does not give them."""
    limit = min(each for each in (QUERY_SECONDS, work.seconds()) if each is not None)
    try:
        text, done = _ask(source, "INFO\n", limit, work)
    except CommandFailed as error:
        raise RunbookError(f"Redis at {redis.place(source)}: {error}. {_REMEDY}") from error
    info = redis.info(text)
    if "redis_version" not in info:
        raise RunbookError(f"Redis at {redis.place(source)}: {redis.problem(done._replace(stdout=text))}. {_REMEDY}")
    return info


def _ask(source: Source, lines: str, limit: float, work: Work) -> tuple[str, Completed]:
    """What redis-cli prints for these commands, untouched: the command gateway blots out the password, which may be part of a number."""
    found: list[bytes] = []

    def talk(requests: t.IO[bytes], answers: t.IO[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError):
            requests.write(lines.encode())
            requests.close()
        found.append(answers.read())

    done = work.commands.converse(
        [redis.client(source)], talk, target=redis.target(source), secrets=redis.secrets(source), timeout=limit
    )
    return found[0].decode(errors="replace") if found else "", done


def _files(source: Source, work: Work) -> dict[str, str]:
    """Where the server keeps its data, for a restore, which finds it stopped; nothing where the user may not ask."""
    text, _done = _ask(source, "CONFIG GET dir\nCONFIG GET dbfilename\nCONFIG GET appendonly\n", QUERY_SECONDS, work)
    lines = text.splitlines()
    found = dict(zip(lines[::2], lines[1::2]))
    if not {"dir", "dbfilename", "appendonly"} <= found.keys():
        return {}
    return {"file": os.path.join(found["dir"], found["dbfilename"]), "appendonly": found["appendonly"]}


def _quiet(before: t.Mapping[str, str], after: t.Mapping[str, str]) -> bool:
    """Whether nothing was written between the two answers, as far as the server's counters tell it."""
    names = ("run_id", "rdb_changes_since_last_save", "rdb_last_save_time", "expired_keys", "evicted_keys")
    return all(name in before and before[name] == after.get(name) for name in names)


def _keys(report: str) -> int | None:
    """What redis-check-rdb counted."""
    found = _KEYS.search(report)
    return int(found[1]) if found and _CHECKED in report else None


def _shown(keys: t.Mapping[str, int]) -> str:
    return ", ".join(f"{number} keys in database {name}" for name, number in sorted(keys.items())) or "no keys"
