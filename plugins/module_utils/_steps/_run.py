# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the steps one after the other, each in a session of its own, so that what it started ends with it when its time is over."""

from __future__ import annotations

import os
import pwd
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, plugin
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import TIMED_OUT, Commands, Target, require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES, envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._steps import _read

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._steps._settings import Settings, Step

STAGE = "site_steps"
# Tells the program which cadence it is run for.
VARIABLE = "SRE_RUNBOOKS_CADENCE"


class Steps:
    """One call on one host."""

    def __init__(self, settings: Settings, commands: Commands, state_dir: str, dry: bool) -> None:
        self._settings = settings
        self._commands = commands
        self._locks = os.path.join(state_dir, "locks")
        self._dry = dry
        self._deadline = time.monotonic() + settings.timeout
        self._changed = False

    def run(self) -> dict[str, t.Any]:
        """Return the envelope; its outcomes are in the order of the steps."""
        outcomes: list[dict[str, t.Any]] = []
        stopped = ""
        for step in self._settings.steps:
            if stopped:
                text = f"not begun, for {stopped} (stop_on: {self._settings.stop_on})"
                outcomes.append(outcome(step.subject, STAGE, "skipped", text))
                continue
            outcomes.append(self._one(step))
            if self._stops(outcomes[-1]["status"]):
                stopped = f"{step.name} is {outcomes[-1]['status']}"
        plan = "".join(f"{step.name}: {_shown(step)}\n" for step in self._settings.steps if self._dry)
        return envelope(outcomes, self._changed, diff={"before": "", "after": plan})

    def _stops(self, status: str) -> bool:
        bound = self._settings.stop_on
        return bound != "never" and not self._dry and STATUSES.index(status) >= STATUSES.index(bound)

    def _one(self, step: Step) -> dict[str, t.Any]:
        """A step that could not be made is critical: it is work, and nobody else does it."""
        began = time.monotonic()
        try:
            argv = self._argv(step)
            if self._dry:
                self._changed = self._changed or step.changes
                return outcome(step.subject, STAGE, "ok", f"would run {_shown(step)}")
            left = min(step.timeout, self._deadline - began)
            if left <= 0:
                raise RunbookError("not begun: the time of all steps (timeout) is over. Raise it.")
            # Two runs of one step, such as a person's and the schedule's, would work on the same things.
            with lock.hold(self._locks, f"{STAGE}-{step.name.replace(' ', '_')}"):
                said = self._said(step, argv, left)
        except Busy as error:
            return outcome(step.subject, STAGE, "skipped", f"not begun: {error}")
        except RunbookError as error:
            metrics = {"duration_seconds": round(time.monotonic() - began, 3)}
            return outcome(step.subject, STAGE, "critical", str(error), metrics=metrics)
        metrics = {"duration_seconds": round(time.monotonic() - began, 3), **said.figures}
        return outcome(step.subject, STAGE, said.status, said.summary, metrics=metrics, details=said.details)

    def _said(self, step: Step, argv: list[str], seconds: float) -> plugin.Said:
        name = os.path.basename(step.argv[0])
        output = plugin.Output()
        self._changed = self._changed or step.changes
        done = self._commands.run(
            argv, target=Target(run_as=step.run_as), secrets=step.environment, environment={VARIABLE: self._settings.cadence},
            timeout=seconds, check=False, meanwhile=output.read,
        )  # fmt: skip
        if done.rc == TIMED_OUT:
            raise RunbookError(f"{name}: did not end within {seconds:g} s, killed with all that it had started")
        stdout, stderr = output.texts()
        if not stdout and stderr.startswith(("setpriv: ", "sudo: ", "env: ")):
            raise RunbookError(f"{name}: cannot be run: {stderr.strip().splitlines()[-1]}")
        return _read.said(_read.Ended(name, done.rc, stdout, stderr, step.environment.values()), step.expect)

    def _argv(self, step: Step) -> list[str]:
        """The program in its folder, in a session of its own; RunbookError where it cannot be run."""
        program = step.argv[0]
        if step.chdir is not None and "/" in program:
            program = os.path.join(step.chdir, program)
        folder = ["env", f"--chdir={step.chdir}"] if step.chdir is not None else []
        if _by_sudo(step):
            # What the other user sees is not for this one to judge. `timeout`, which is there, ends the whole group.
            return [*(folder or ["env"]), program, *step.argv[1:]]
        if step.chdir is not None and not os.path.isdir(step.chdir):
            raise RunbookError(f"chdir: {step.chdir} is no folder. Make it, or correct the step.")
        if "/" in program and not os.access(program, os.F_OK):
            raise RunbookError(f"argv: {program}: No such file or directory. Install the program, or correct its path.")
        return ["setsid", *folder, require(program), *step.argv[1:]]


def _by_sudo(step: Step) -> bool:
    return bool(step.run_as) and os.geteuid() != 0 and step.run_as != pwd.getpwuid(os.geteuid()).pw_name


def _shown(step: Step) -> str:
    """The command for a person."""
    secrets = [value for value in step.environment.values() if len(value) >= _read.SHORTEST_SECRET]
    who = f" as {step.run_as}" if step.run_as else ""
    where = f" in {step.chdir}" if step.chdir else ""
    return plugin.hidden(" ".join(step.argv), secrets)[: _read.SUMMARY_LENGTH] + who + where


def run(settings: Settings, commands: Commands, state_dir: str, dry: bool) -> dict[str, t.Any]:
    """Run the steps of the cadence."""
    return Steps(settings, commands, state_dir, dry).run()
