# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host keeps of a lease: `maintenance/<name>.json` in the state folder, mode 0600, for a switch may need secrets to go off.

  name, owner, reason; kind, options  whose, why, and what is switched
  state   begun (nothing may have been switched yet) or on
  ours    whether the mode is ours to switch off; false where it was on before
  seconds, began, ends                the last length, times of the wall clock, for people and for after a reboot
  boot, ends_boot                     which boot, and its end by the clock that runs since then and that nobody can set
  problem                             why it could not be switched off at its end
What happened stands in `maintenance.json`: the last EVENTS events, without options.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files, lock, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance import _registry

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._maintenance._switch import Work

FOLDER = "maintenance"
JOURNAL = "maintenance"
EVENTS = 100

Lease = dict[str, t.Any]


def folder(state_dir: str) -> str:
    """Where the leases lie."""
    return os.path.join(state_dir, FOLDER)


def hold(state_dir: str, wait: float) -> contextlib.AbstractContextManager[None]:
    """One at a time changes leases, or switches; raises Busy."""
    return lock.hold(os.path.join(state_dir, "locks"), FOLDER, wait)


def load(state_dir: str, name: str) -> Lease | None:
    """The lease called `name`."""
    found = state.load(folder(state_dir), name)
    if found and not {"owner", "kind", "options", "ours", "ends"} <= found.keys():
        raise state.unreadable(folder(state_dir), name, "it is no lease")
    return found or None


def names(state_dir: str) -> list[str]:
    """The names of all leases."""
    try:
        return sorted(each[:-5] for each in os.listdir(folder(state_dir)) if each.endswith(".json") and each[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunbookError(
            f"{folder(state_dir)}: cannot be read: {error.strerror}. Make it a folder of ours."
        ) from error


def save(state_dir: str, lease: Lease) -> None:
    """Keep it."""
    state.save(folder(state_dir), lease["name"], lease)


def remove(state_dir: str, name: str) -> None:
    """Forget it, and the secrets in it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder(state_dir), f"{name}.json"))
        files.fsync_directory(folder(state_dir))


def boot() -> str:
    """Which boot this is."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def since_boot() -> float:
    """Seconds since the boot, those in which the host slept among them; nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def extend(lease: Lease, seconds: float) -> None:
    """It ends `seconds` from now."""
    lease.update(seconds=seconds, ends=time.time() + seconds, boot=boot(), ends_boot=since_boot() + seconds)


def left(lease: Lease) -> float:
    """Seconds until its end. After a reboot the wall clock says so, and never more than the whole length."""
    if lease["boot"] and lease["boot"] == boot():
        return float(lease["ends_boot"]) - since_boot()
    return min(float(lease["ends"]) - time.time(), float(lease["seconds"]))


def until(lease: Lease) -> str:
    """Its end, for a person, by the wall clock as it is now."""
    return show(time.time() + left(lease))


def show(moment: float) -> str:
    """Seconds since 1970 as people read them."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def note(state_dir: str, lease: t.Mapping[str, t.Any], event: str, text: str = "") -> None:
    """Write down what happened."""
    document = state.load(state_dir, JOURNAL)
    kept = document.get("events")
    events = kept if isinstance(kept, list) else []
    events.append({"at": time.time(), "name": lease["name"], "owner": lease["owner"], "event": event, "text": text})
    state.save(state_dir, JOURNAL, {"events": events[-EVENTS:]})


def last(state_dir: str, name: str) -> dict[str, t.Any]:
    """The last event of this name."""
    kept = state.load(state_dir, JOURNAL).get("events")
    found = [each for each in kept or [] if isinstance(each, dict) and each.get("name") == name]
    return found[-1] if found else {}


def release(state_dir: str, lease: Lease, event: str, work: Work) -> str:
    """Switch off what is ours and forget the lease; RunbookError when it stays on, and then the lease stays too."""
    text = "was on before the lease, and stays"
    if lease["ours"]:
        family = _registry.load(lease["kind"])
        if family.look(lease["options"], work) is False:
            text = "was off"
        else:
            text = family.turn(lease["options"], False, work)
            if family.look(lease["options"], work):
                raise RunbookError(f"{family.target(lease['options'])} is still in maintenance after: {text}")
    note(state_dir, lease, event, text)
    remove(state_dir, lease["name"])
    return text
