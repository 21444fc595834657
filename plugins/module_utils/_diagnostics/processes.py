# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes with what they use; command lines without secrets, and no environment, which is full of them."""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "processes with CPU, memory, threads, open files and command line; no environment"
INTERVAL = 0.5
LONGEST = 2000
_FIELDS = [
    "pid",
    "ppid",
    "username",
    "name",
    "status",
    "create_time",
    "cpu_times",
    "memory_info",
    "num_threads",
    "cmdline",
]
_SECRET_OPTION = re.compile(
    r"(?i)--?[\w-]*(?:pass(?:word|wd|phrase)?|pwd|secret|token|api-?key|access-?key|private-?key|credential)[\w-]*"
)
# The programs to which a short option hands a password.
_SHORT = {"-p": re.compile(r"(?:mysql|mariadb)"), "-a": re.compile(r"redis-cli"), "-u": re.compile(r"curl|wget")}


def collect(work: Work) -> None:
    """A table by the use of the processor, and one line of JSON for each process."""
    psutil = _psutil.get()
    before = {process.pid: process.info["cpu_times"] for process in psutil.process_iter(["cpu_times"])}
    seen = time.monotonic()
    time.sleep(INTERVAL)
    rows = []
    for process in psutil.process_iter(_FIELDS):
        work.left()
        rows.append(_row(process, before.get(process.pid), time.monotonic() - seen, work))
    rows.sort(key=_busy, reverse=True)
    with work.part("processes/processes.txt") as part:
        part.text(
            f"{'pid':>8} {'ppid':>8} {'user':<16} {'cpu%':>6} {'rss_kib':>10} {'thr':>5} {'files':>6} {'state':<10} command"
        )
        part.text(
            "\n".join(
                f"{row['pid']:>8} {row['ppid'] or 0:>8} {row['user']!s:<16} {row['cpu_percent']:>6} {row['rss_bytes'] // 1024:>10} "
                f"{row['threads'] or 0:>5} {'-' if row['open_files'] is None else row['open_files']:>6} {row['state']:<10} {row['command'] or row['name']}"
                for row in rows
            )
        )
    with work.part("processes/processes.jsonl") as part:
        part.rows(rows)


def _busy(row: t.Mapping[str, t.Any]) -> tuple[float, int]:
    return row["cpu_percent"], row["rss_bytes"]


def _row(process: t.Any, before: t.Any, elapsed: float, work: Work) -> dict[str, t.Any]:
    info = process.info
    now = info["cpu_times"]
    used = now.user + now.system - before.user - before.system if now and before else 0.0
    return {
        "pid": process.pid,
        "ppid": info["ppid"],
        "user": info["username"],
        "name": info["name"],
        "state": info["status"],
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(info["create_time"] or 0)),
        "cpu_percent": round(100 * used / elapsed, 1),
        "cpu_seconds": round(now.user + now.system, 1) if now else None,
        "rss_bytes": info["memory_info"].rss if info["memory_info"] else 0,
        "threads": info["num_threads"],
        "open_files": _open_files(process),
        "command": command(info["cmdline"] or [], work.hide),
    }


def _open_files(process: t.Any) -> int | None:
    """Their number; None for a process of somebody else."""
    psutil = _psutil.get()
    try:
        return int(process.num_fds())
    except (psutil.Error, OSError):
        return None


def command(words: t.Sequence[str], hide: t.Callable[[str], str]) -> str:
    """A command line; values of options that name a secret are hidden here, where it is known which word belongs to which."""
    shown: list[str] = []
    secret = False
    program = words[0].rpartition("/")[2] if words else ""
    for word in words:
        if secret and not word.startswith("-"):
            word = hide(word) if word else word
        secret = False
        short = _SHORT.get(word[:2])
        if _SECRET_OPTION.fullmatch(word):
            secret = True
        elif short is not None and short.search(program):
            value = word[2:]
            secret = not value and word != "-p"
            if value:
                word = word[:2] + hide(value)
        shown.append(word)
    return " ".join(" ".join(shown).split())[:LONGEST]
