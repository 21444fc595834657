# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes, found by a pattern in their command line or by a pid file."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil, pattern
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("processes", "memory_percent", "cpu_percent", "open_files", "age_seconds")
OPTIONS: dict[str, t.Any] = {"pattern": {"type": "str"}, "pidfile": {"type": "path"}}
DEFAULT_BOUNDS: dict[str, t.Any] = {"processes": {"critical": "< 1"}}
MEASURES_OVER_TIME = True
INHERENT = True
CPU_INTERVAL = 0.1
# No other check goes on while the command lines are searched.
MATCH_SECONDS = 0.5


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """Exactly one way to find the processes."""
    if bool(options["pattern"]) == bool(options["pidfile"]):
        raise InputError(
            "pattern", options["pattern"], "must be given when pidfile is not", "Give exactly one of the two."
        )
    if options["pattern"]:
        pattern.compiled(options["pattern"], "pattern")


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Measure: memory, CPU (over 0.1 s) and open files of the process that has most, age of the youngest."""
    psutil = _psutil.get()
    found = (
        _by_pidfile(psutil, options["pidfile"]) if options["pidfile"] else _by_pattern(psutil, options["pattern"], host)
    )
    cpu = _cpu_percent(psutil, found)
    figures = [{**_figures(psutil, process, host.now), **cpu.get(process.pid, {})} for process in found]
    figures = [each for each in figures if "age_seconds" in each]
    metrics: dict[str, float] = {"processes": len(figures)}
    for name, choose in (("memory_percent", max), ("cpu_percent", max), ("open_files", max), ("age_seconds", min)):
        known = [each[name] for each in figures if name in each]
        if known:
            metrics[name] = round(choose(known), 3)
    what = options["pattern"] or options["pidfile"]
    memory = f", the largest has {metrics['memory_percent']:.1f} % of memory" if "memory_percent" in metrics else ""
    return [Observation(metrics, f"{len(figures)} processes of {what}{memory}")]


def _by_pidfile(psutil: t.Any, path: str) -> list[t.Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            return [psutil.Process(int(stream.readline()))]
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return []


def _by_pattern(psutil: t.Any, text: str, host: Host) -> list[t.Any]:
    """Processes whose command line matches, without our own kin.

    Ancestors are the connection that carries this module. Children are the client programs of the checks made at the
    same time: psql must not pass for the server that it asks.
    """
    lines = _command_lines(psutil)
    matching = host.aside(lambda: _matching(text, lines))
    if not matching:
        return []
    this = psutil.Process()
    own = {this.pid, *(each.pid for each in this.parents())}
    found = []
    for pid in matching:
        # It may have ended meanwhile.
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return [each for each in found if each.pid not in own and not _descends(psutil, each, this.pid)]


def _command_lines(psutil: t.Any) -> dict[int, str]:
    """Every process's command line. psutil's own objects would read three files of each process instead of this one."""
    lines = {}
    for pid in psutil.pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as stream:
            lines[pid] = os.fsdecode(stream.read().rstrip(b"\0").replace(b"\0", b" "))
    return lines


def _matching(text: str, lines: t.Mapping[int, str]) -> list[int]:
    """The processes whose line the expression is in; `TooSlow` when it would take for ever."""
    expression = pattern.compiled(text, "pattern")
    with pattern.Watch(MATCH_SECONDS) as watch:
        watch.begin("pattern", text)
        try:
            return [pid for pid, line in lines.items() if expression.search(line)]
        finally:
            watch.end()


def _descends(psutil: t.Any, process: t.Any, ancestor: int) -> bool:
    """Whether `process` is below `ancestor`; one that has ended meanwhile is as good as ours."""
    try:
        return any(each.pid == ancestor for each in process.parents())
    except psutil.NoSuchProcess:
        return True


def _cpu_percent(psutil: t.Any, found: t.Sequence[t.Any]) -> dict[int, dict[str, float]]:
    """The use of one CPU by each process over `CPU_INTERVAL` seconds."""
    started = time.monotonic()
    before = {process.pid: _cpu_seconds(psutil, process) for process in found}
    if found:
        time.sleep(CPU_INTERVAL)
    return {
        process.pid: {
            "cpu_percent": 100
            * max(0.0, _cpu_seconds(psutil, process) - before[process.pid])
            / (time.monotonic() - started)
        }
        for process in found
    }


def _cpu_seconds(psutil: t.Any, process: t.Any) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _figures(psutil: t.Any, process: t.Any, now: float) -> dict[str, float]:
    """The figures of one process; empty when it has ended, without open files when they may not be seen."""
    try:
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return {}
            figures = {
                "memory_percent": process.memory_percent(),
                "age_seconds": max(0.0, now - process.create_time()),
            }
    except psutil.Error:
        return {}
    with contextlib.suppress(psutil.Error):
        figures["open_files"] = process.num_fds()
    return figures
