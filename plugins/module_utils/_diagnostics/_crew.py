# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collectors at work: in threads, each in its time; the main thread takes out the secrets and keeps what they send."""

from __future__ import annotations

import queue
import threading
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import MissingProgram, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.watchdog import GRACE_SECONDS
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _registry
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._redact import Redactor
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._spool import Part, Spool
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._summary import Collected
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import NothingHere, OutOfTime, Work

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings

# Most of the time they wait for programs; more at once would take the processors of a host that is in trouble.
WORKERS = 3
_AHEAD = 16
# A program that is told to end has this long, and then some.
_PATIENCE = GRACE_SECONDS + 1.5


class Crew:
    """Runs collectors and fills the spool."""

    def __init__(self, settings: Settings, commands: Commands, redactor: Redactor, spool: Spool) -> None:
        self._settings = settings
        self._commands = commands
        self._redactor = redactor
        self._spool = spool
        # Imported here: a thread that imports may hold a lock that a child of it waits for.
        self._collectors = {name: _registry.load(name) for name in settings.collect}
        self._messages: queue.Queue[tuple[str, str, t.Any, t.Any]] = queue.Queue(_AHEAD)
        self._todo: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._over = threading.Event()
        self._deadline = time.monotonic() + settings.limits.seconds
        self._running: dict[str, tuple[Work, float]] = {}
        self._parts: dict[object, Part] = {}
        self._names: set[str] = set()
        self._done: dict[str, Collected] = {}

    def run(self) -> list[Collected]:
        """What became of each collector, in the order of the settings."""
        for name in self._collectors:
            self._todo.put(name)
        for _number in range(min(WORKERS, len(self._collectors))):
            threading.Thread(target=self._work, daemon=True).start()
        try:
            while len(self._done) < len(self._collectors):
                try:
                    self._take(*self._messages.get(timeout=0.1))
                except queue.Empty:
                    pass
                self._give_up()
        finally:
            self._over.set()
        for part in self._spool.parts:
            self._close(part)
        return [self._done[name] for name in self._collectors]

    def _work(self) -> None:
        """A thread: one collector after the other."""
        while not self._over.is_set():
            try:
                name = self._todo.get_nowait()
            except queue.Empty:
                return
            seconds = self._seconds(name)
            work = Work(name, self._settings, self._commands, seconds, self._send, self._redactor.placeholder)
            status, reason = "ok", ""
            self._send("begin", name, work, seconds)
            try:
                work.left()
                self._collectors[name].collect(work)
            except NothingHere as error:
                status, reason = "skipped", str(error)
            except MissingProgram as error:
                status, reason = ("failed" if self._settings.asked else "skipped"), str(error)
            except OutOfTime as error:
                status, reason = "timed_out", str(error)
            except (RunbookError, OSError) as error:
                status, reason = "failed", str(error)
            except Exception as error:  # noqa: BLE001  what one collector does not know keeps no other from its work
                status, reason = "failed", f"{type(error).__name__}: {error}"
            if status == "failed" and "did not end within" in reason:
                status = "timed_out"
            try:
                self._send("end", name, status, reason)
            except OutOfTime:
                return

    def _seconds(self, name: str) -> float:
        own = self._settings.sos.seconds if name == "sos" else self._settings.limits.collector
        left = self._deadline - time.monotonic()
        return own if name == "sos" else max(0.0, min(own, left))

    def _send(self, kind: str, name: str, key: t.Any, value: t.Any) -> None:
        """Hand something to the main thread; waits while that has enough to do."""
        while not self._over.is_set() and name not in self._done:
            try:
                self._messages.put((kind, name, key, value), timeout=0.5)
                return
            except queue.Full:
                continue
        raise OutOfTime("its time was used up")

    def _take(self, kind: str, name: str, key: t.Any, value: t.Any) -> None:
        if name in self._done:
            return
        if kind == "begin":
            self._running[name] = (key, time.monotonic() + value + _PATIENCE)
        elif kind == "end":
            self._finish(name, key, value)
        elif kind == "part":
            self._begin(key, name, value)
        else:
            self._fill(self._parts[key], kind, value)

    def _begin(self, key: object, collector: str, name: str) -> None:
        number, chosen = 1, name
        while chosen in self._names:
            number += 1
            chosen = f"{name}~{number}"
        self._names.add(chosen)
        self._parts[key] = part = Part(chosen, collector)
        self._spool.parts.append(part)

    def _fill(self, part: Part, kind: str, value: t.Any) -> None:
        if kind == "data":
            try:
                self._spool.add(part, self._redactor.block(value, part.keys))
            except RunbookError as error:  # an expression of the user that does not end
                part.problem = str(error)
                self._spool.add(
                    part, f"({len(value)} bytes left out, for they could not be searched for secrets)\n".encode()
                )
        elif kind == "problem":
            part.problem = part.problem or value
        elif kind == "note":
            part.note = "; ".join(each for each in (part.note, value) if each)
        elif kind == "truncated":
            part.truncated = True
        elif kind == "ended":
            part.seconds = value
            self._close(part)

    def _close(self, part: Part) -> None:
        rest = self._redactor.end(part.keys)
        if rest:
            self._spool.add(part, rest)
        self._spool.end(part)

    def _finish(self, name: str, status: str, reason: str) -> None:
        work, _until = self._running.pop(name)
        self._done[name] = Collected(name, status, reason, time.monotonic() - work.began)

    def _give_up(self) -> None:
        """Leave those alone that do not come back, and let others begin in their place."""
        now = time.monotonic()
        for name, (work, until) in list(self._running.items()):
            if now < until:
                continue
            del self._running[name]
            reason = "it hangs, and was left alone when its time was used up"
            self._done[name] = Collected(name, "timed_out", reason, now - work.began)
            for part in self._parts.values():
                if part.collector == name:
                    part.problem = part.problem or "not ended: its time was used up"
            threading.Thread(target=self._work, daemon=True).start()
