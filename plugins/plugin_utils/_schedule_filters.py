# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters about windows and schedules; each takes them as an inventory has them."""

from __future__ import annotations

import datetime
import functools
import re
import time
import typing as t
from collections.abc import Callable

from ansible.errors import AnsibleTemplatePluginError

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import duration
from ansible_collections.sre.runbooks.plugins.plugin_utils import schedule

PREFIX = "sre-runbooks-"
# Where nothing else is said, a rule for AWX begins here: always at the same moment, so that a second run changes nothing.
ANCHOR = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp()
_WEEK, _HOUR = 7 * 86400.0, 3600.0
_SHOWN = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)


def _told(function: Callable[..., t.Any]) -> Callable[..., t.Any]:
    """Have Ansible tell what is wrong with an entry."""

    @functools.wraps(function)
    def filtered(*given: t.Any, **named: t.Any) -> t.Any:
        try:
            return function(*given, **named)
        except RunbookError as error:
            raise AnsibleTemplatePluginError(str(error)) from None

    return filtered


@_told
def window_stretches(
    windows: t.Any, playbook: str = "", now: t.Any = None, option: str = "runbooks_windows"
) -> list[dict[str, str]]:
    """When they are open next, as windows that hosts read without any zone: `{begin, end}`."""
    moment = _moment(now, "now")
    read = schedule.read_windows(windows, option, playbook)
    # A host's clock may be behind the controller's.
    found = schedule.stretches(read, moment - _HOUR, moment + _WEEK)
    later = schedule.state(read, moment + _WEEK).next if not any(begin > moment for begin, _end in found) else None
    if later is not None:
        found += [each for each in schedule.stretches(read, later, later + 1) if each not in found]
    if read and not found:
        # All are over, which is something else than having none.
        found = schedule.stretches([each for each in read if each.once], 0, moment)[-1:] or [(0.0, 1.0)]
    return [{"begin": _utc(begin), "end": _utc(end)} for begin, end in found]


@_told
def schedule_rrule(entry: t.Any, anchor: t.Any = None, option: str = "runbooks_schedules") -> str:
    """The rule of one schedule as AWX accepts it."""
    (read,) = schedule.read_schedules([entry], option)
    if anchor is not None:
        return read.rrule(_moment(anchor, "anchor"))
    start = read.rule.start
    return read.rrule(ANCHOR if start is None else start.replace(tzinfo=read.rule.zone).timestamp())


@_told
def schedule_upcoming(
    entries: t.Any, count: int = 1, after: t.Any = None, option: str = "runbooks_schedules"
) -> list[dict[str, t.Any]]:
    """The next times of each schedule that is enabled, by the clocks of its zone."""
    moment = _moment(after, "after")
    found = []
    for each in schedule.read_schedules(entries, option):
        times = [datetime.datetime.fromtimestamp(one, each.rule.zone) for one in each.upcoming(moment, int(count))]
        if each.enabled:
            told = [time.isoformat(timespec="seconds") for time in times]
            found.append(
                {"name": each.name, "playbook": each.playbook, "hosts": each.hosts, "zone": each.zone, "at": told}
            )
    return found


@_told
def schedule_timers(
    entries: t.Any, program: str = "ansible-playbook", arguments: t.Any = (), directory: str = "/etc/sre-runbooks/schedules",
    delay: t.Any = "0s", timeout: t.Any = "4h", now: t.Any = None, option: str = "runbooks_schedules",
) -> list[dict[str, t.Any]]:  # fmt: skip
    """What the units of each schedule say. `arguments` come before those of the schedule."""
    moment = _moment(now, "now")
    seconds = {
        "delay": int(duration(delay, "schedule_random_delay")),
        "timeout": int(duration(timeout, "schedule_timeout")),
    }
    found = []
    for each in schedule.read_schedules(entries, option):
        # A name of three parts, or a file, is as it is.
        playbook = each.playbook if re.search(r"[./]", each.playbook) else f"sre.runbooks.{each.playbook}"
        argv = [program, *map(str, arguments), *_arguments(each, directory), playbook]
        found.append(
            {
                "name": each.name, "unit": f"{PREFIX}{each.name}", "playbook": playbook, "enabled": each.enabled,
                "description": each.description or f"{playbook} on {each.hosts}", "argv": argv,
                "exec_start": " ".join(quoted(word) for word in argv), "on_calendar": each.on_calendar(moment),
                # Their values may be secrets, and this is shown.
                "variables": sorted(map(str, each.extra_vars)), **seconds,
            }
        )  # fmt: skip
    return found


def _arguments(each: schedule.Schedule, directory: str) -> list[str]:
    given = {
        "limit": "" if each.hosts == "all" else each.hosts,
        "tags": ",".join(each.tags),
        "skip-tags": ",".join(each.skip_tags),
    }
    given["extra-vars"] = f"@{directory}/{each.name}.json" if each.extra_vars else ""
    return [f"--{name}={value}" for name, value in given.items() if value]


@_told
def schedule_elapses(
    shown: str, entries: t.Any, delay: t.Any = "0s", now: t.Any = None, option: str = "runbooks_schedules"
) -> list[dict[str, t.Any]]:
    """Compare what `systemctl show` tells of the timers, by the clocks of UTC, with when each schedule is next."""
    later = int(duration(delay, "schedule_random_delay"))
    moment = _moment(now, "now")
    blocks = [dict(_SHOWN.findall(block)) for block in shown.strip().split("\n\n")]
    units = {block.get("Id", ""): block for block in blocks}
    found = []
    for each in schedule.read_schedules(entries, option):
        unit = units.get(f"{PREFIX}{each.name}.timer", {})
        said = _elapse(unit.get("NextElapseUSecRealtime", ""))
        # What should have begun already may still be delayed.
        expected = each.upcoming(moment - later, 2) if each.enabled else []
        same = said is None if not expected else said is not None and any(0 <= said - one <= later for one in expected)
        # While it runs, systemd does not know yet when it does so again.
        running = each.enabled and unit.get("SubState") == "running"
        active = unit.get("ActiveState") == ("active" if each.enabled else "inactive")
        found.append(_compared(each, said, expected[0] if expected else None, active and (same or running)))
    return found


def _compared(each: schedule.Schedule, said: float | None, expected: float | None, same: bool) -> dict[str, t.Any]:
    if not same:
        text = f"should run next at {_utc(expected)}, and its timer will at {_utc(said)}"
    elif not each.enabled:
        text = "is not enabled"
    else:
        text = f"runs {each.playbook} next at {_utc(said)}" if said is not None else f"runs {each.playbook} just now"
    return {
        "subject": f"timer:{each.name}", "stage": "schedule", "status": "ok" if same else "critical", "summary": text,
        "metrics": {}, "details": {"next": _utc(said), "expected": _utc(expected)},
    }  # fmt: skip


def quoted(word: str) -> str:
    """A word of ExecStart that systemd takes as it is: no specifier, no variable, no end of its quotes."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("%", "%%"), ("$", "$$")):
        word = word.replace(plain, escaped)
    return f'"{word}"'


def _elapse(text: str) -> float | None:
    match = re.fullmatch(r"\w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", text.strip())
    return datetime.datetime.fromisoformat(f"{match[1]}+00:00").timestamp() if match else None


def _moment(given: t.Any, option: str) -> float:
    """Seconds since the epoch, or a time with a zone; now where nothing is given."""
    if given is None:
        return time.time()
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return float(given)
    return schedule.read_moment(given, option)


def _utc(moment: float | None) -> str:
    if moment is None:
        return "no time"
    return f"{datetime.datetime.fromtimestamp(moment, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
