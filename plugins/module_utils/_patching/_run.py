# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host patched: in its window, healed first, planned, with room, recorded, restarted, and looked at after.

What was begun is in `patching.json` of the state folder: `open` (a run that has not ended: began, packages as {name: [before, after]},
auto) and `runs`, the last ones. A run that finds `open` ends what dpkg left half done, and keeps the versions from before it.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, outcome, state, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _once, packages
from ansible_collections.sre.runbooks.plugins.module_utils._health import _run as health
from ansible_collections.sre.runbooks.plugins.module_utils._patching import _certbot, _restart, _window
from ansible_collections.sre.runbooks.plugins.module_utils._patching._apt import Apt, Plan

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
    from ansible_collections.sre.runbooks.plugins.module_utils._patching._settings import Settings

STAGE = "patching"
DOCUMENT = "patching"
RUNS_KEPT = 20
TOLD = 8
CHECKS_SECONDS = 30.0
PAUSE = 1.0


class Work:
    """One run of the module on a host."""

    def __init__(self, settings: Settings, host: Host, state_dir: str, check: bool) -> None:
        self._settings = settings
        self._given = settings.given
        self._host = host
        self._state_dir = state_dir
        self._check = check
        self._outcomes: list[dict[str, t.Any]] = []
        self._changed = False
        self._versions: dict[str, list[str]] = {}

    def run(self) -> dict[str, t.Any]:
        """Return the envelope."""
        window = _window.state(self._settings.windows, self._host.now)
        left = None if self._given["now"] or window.until is None else window.until - self._host.now
        if not self._given["now"] and (not window.open or (left or 0) < self._settings.least_time):
            return self._outside(window, left)
        if self._check:
            return self._work()
        # Two at once would not harm, for apt has a lock of its own; the second would tell what the first has done.
        with lock.hold(self._state_dir, DOCUMENT):
            return self._work()

    def _outside(self, window: _window.State, left: float | None) -> dict[str, t.Any]:
        begins = f"the next one begins at {_iso(window.next)}" if window.next else "there is none any more"
        why = "no maintenance window is open"
        if window.open:
            why = f"the maintenance window ends in {units.show_duration(left or 0)}, sooner than least_time"
        told = outcome.outcome(STAGE, STAGE, "skipped", f"{why}; {begins}", details={"next": _iso(window.next)})
        return outcome.envelope([told], False, reboot=False, versions={})

    def _work(self) -> dict[str, t.Any]:
        sick = {} if self._check else self._health()
        patched = True
        if self._given["updates"] != "none":
            patched = self._guarded(self._patch)
        if patched and (self._given["restart"] or self._check) and self._given["updates"] != "none":
            self._restart()
        if self._given["certbot"]:
            outcomes, changed = _certbot.renew(self._given, self._settings.timeout, self._host, self._check)
            self._outcomes += outcomes
            self._changed = self._changed or changed
        reboot = self._reboot()
        if not self._check and (self._changed or self._settings.checks):
            self._after(sick)
        return outcome.envelope(self._outcomes, self._changed, reboot=reboot, versions=self._versions)

    def _guarded(self, work: t.Callable[[], None]) -> bool:
        """Whether it could be done; a failure is an outcome, so that the services are looked at all the same."""
        try:
            work()
        except RunbookError as error:
            self._tell(STAGE, "critical", f"not updated: {error}")
            return False
        return True

    def _tell(self, subject: str, status: str, summary: str, **more: t.Any) -> None:
        self._outcomes.append(outcome.outcome(subject, STAGE, status, summary, **more))

    def _patch(self) -> None:
        apt = Apt(self._host, self._settings.lock_timeout, self._settings.timeout)
        document = state.load(self._state_dir, DOCUMENT)
        begun = document.get("open") or {}
        healed = apt.interrupted()
        if healed and not self._check:
            apt.heal()
            self._changed = True
        if self._given["refresh"] and not self._check:
            apt.refresh()
        if self._check and healed:
            self._tell(STAGE, "warning", f"would be ended first: {healed}")
            return
        plan = apt.plan(self._given["updates"], self._given["packages"], self._held)
        if plan.removed:
            raise RunbookError(
                f"apt would remove {', '.join(plan.removed[:TOLD])}. Do it by hand, or hold what needs it."
            )
        self._room(apt, plan)
        if self._check:
            self._planned(plan, healed)
            return
        self._install(apt, plan, document, begun, healed)

    def _held(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._given["hold"])

    def _room(self, apt: Apt, plan: Plan) -> None:
        """Refuse before anything is changed when a file system has too little."""
        if not plan.packages:
            return
        by_device: dict[int, tuple[str, int]] = {}
        for folder, size in apt.needed(plan.packages).items():
            place = folder
            while not os.path.isdir(place):
                place = os.path.dirname(place)
            device = os.stat(place).st_dev
            known = by_device.get(device, (place, 0))
            by_device[device] = (known[0], known[1] + size)
        for place, size in by_device.values():
            free = shutil.disk_usage(place).free
            if free - size < self._settings.free:
                raise RunbookError(
                    f"{place} has {units.show_size(free)} free; the updates need {units.show_size(size)}, and "
                    f"{units.show_size(self._settings.free)} (option free) must be left. Make room, or limit packages."
                )

    def _planned(self, plan: Plan, healed: str) -> None:
        listed = {each.name: [each.before, each.after] for each in plan.packages}
        text = f"{len(listed)} updates would be installed{_names(listed)}" if listed else "nothing to update"
        self._changed = bool(listed) or bool(healed)
        self._versions = listed
        self._tell(STAGE, "ok", text, metrics=_metrics(plan), details={"plan": listed})

    def _install(
        self, apt: Apt, plan: Plan, document: dict[str, t.Any], begun: t.Mapping[str, t.Any], healed: str
    ) -> None:
        """Record, fetch, install, compare; what an earlier run has begun counts as this one's."""
        earlier: dict[str, list[str]] = dict(begun.get("packages") or {})
        wanted = {**earlier}
        for each in plan.packages:
            wanted[each.name] = [earlier.get(each.name, [each.before])[0], each.after]
        auto = sorted({*(begun.get("auto") or ()), *apt.automatic([each.name for each in plan.packages])})
        if plan.packages:
            document["open"] = {"began": begun.get("began") or self._host.now, "packages": wanted, "auto": auto}
            state.save(self._state_dir, DOCUMENT, document)
            self._changed = True
            apt.download(plan.packages)
            apt.install(plan.packages)
        if auto:
            apt.keep_automatic(auto)
        now = apt.versions(sorted(wanted)) if wanted else {}
        self._versions = {name: [pair[0], now[name]] for name, pair in wanted.items() if now[name] != pair[0]}
        self._compare(plan, now, healed)
        if wanted:
            ended = {"began": begun.get("began") or self._host.now, "ended": time.time(), "packages": self._versions}
            document["runs"] = [*(document.get("runs") or []), ended][-RUNS_KEPT:]
            document.pop("open", None)
            state.save(self._state_dir, DOCUMENT, document)

    def _compare(self, plan: Plan, now: t.Mapping[str, str], healed: str) -> None:
        missing = [each.name for each in plan.packages if now[each.name] != each.after]
        details: dict[str, t.Any] = {"versions": self._versions}
        if self._versions:
            back = [f"{name}={pair[0]}" for name, pair in sorted(self._versions.items()) if pair[0]]
            details["way_back"] = ["apt-get", "install", "--allow-downgrades", *back]
        ended = f"{healed}, which was ended; " if healed else ""
        if missing:
            text = f"{ended}not installed as planned: {', '.join(missing[:TOLD])}"
            self._tell(STAGE, "critical", text, metrics=_metrics(plan), details=details)
            return
        text = (
            f"{len(self._versions)} packages updated{_names(self._versions)}" if self._versions else "nothing to update"
        )
        self._tell(STAGE, "ok", f"{ended}{text}", metrics=_metrics(plan), details=details)

    def _restart(self) -> None:
        actions = _restart.plan(_restart.waiting(), self._given)
        if self._check:
            for each in actions:
                what = " ".join(each.argv) if each.argv else "nothing, it is left to a person or a reboot"
                self._tell(f"restart:{each.name}", "ok", f"{each.name} runs what was replaced ({each.why}): {what}")
            return
        if actions:
            outcomes = _restart.perform(actions, self._host)
            self._outcomes += outcomes
            self._changed = self._changed or any(each.argv for each in actions)

    def _reboot(self) -> bool:
        """Whether the role should boot the host anew now."""
        held = [each.name for each in _restart.plan(_restart.waiting(), self._given) if each.held]
        due = packages.reboot_due() or (bool(held) and self._given["updates"] != "none")
        if not due:
            return False
        wanted = self._given["reboot"] == "when_needed"
        why = f"{', '.join(held[:TOLD])} still run what was replaced" if held else "what was updated needs it"
        text = f"a reboot is due: {why}" if wanted else f"a reboot is due, and left to you (reboot: never): {why}"
        self._tell("reboot", "ok" if wanted else "warning", text)
        if self._check or not wanted:
            return False
        window = _window.state(self._settings.windows, time.time())
        if not self._given["now"] and not window.open:
            self._outcomes[-1].update(status="warning", summary=f"{text}; the maintenance window is over")
            return False
        return True

    def _health(self) -> dict[str, str]:
        """The status of each check's outcomes."""
        return {each["subject"]: each["status"] for each in self._look()}

    def _look(self) -> list[dict[str, t.Any]]:
        return _once.look(self._settings.checks, self._host, health.limits(16, CHECKS_SECONDS))

    def _after(self, sick: t.Mapping[str, str]) -> None:
        """The checks, again and again while they are critical and there is time: services take theirs to start."""
        deadline = time.monotonic() + self._settings.checks_within
        outcomes = self._look()
        while any(each["status"] == "critical" for each in outcomes) and time.monotonic() < deadline:
            time.sleep(PAUSE)
            outcomes = self._look()
        for each in outcomes:
            if each["status"] == "critical" and sick.get(each["subject"]) == "critical":
                each["summary"] += " (and before the updates too)"
            each["stage"] = STAGE
            self._outcomes.append(each)


def _names(versions: t.Mapping[str, t.Any]) -> str:
    shown = ", ".join(sorted(versions)[:TOLD])
    return f" ({shown}{', …' if len(versions) > TOLD else ''})"


def _metrics(plan: Plan) -> dict[str, float]:
    return {"updates": len(plan.packages), "security_updates": sum(each.security for each in plan.packages)}


def _iso(moment: float | None) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) if moment is not None else ""
