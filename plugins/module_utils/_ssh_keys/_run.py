# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One stage of the rotation of an SSH key on one host.

`ssh_keys.json` of the state folder keeps for each key `refused`, the fingerprints that were given up: a run that does not know yet is
sent away when it brings one of them. What is in force is in the authorized_keys file itself.
"""

from __future__ import annotations

import hashlib
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, outcome, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _journal
from ansible_collections.sre.runbooks.plugins.module_utils._ssh_keys import _lines, _place

STAGE = "ssh_keys"
STAGES = ("status", "add", "prove", "revoke", "rollback")
LOCK_SECONDS = 30.0
REFUSED_KEPT = 20
SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "default": "automation"},
    "stage": {"type": "str", "choices": list(STAGES), "default": "status"},
    "user": {"type": "str"},
    "path": {"type": "path"},
    "key": {"type": "str", "no_log": False},
    "beside": {"type": "list", "elements": "str", "default": []},
    "remove": {"type": "list", "elements": "str", "default": []},
    "private_key": {"type": "path", "no_log": False},
    "dead": {"type": "list", "elements": "path", "default": []},
    "run": {"type": "str", "default": ""},
    "actor": {"type": "str", "default": ""},
}
NEEDED = {"add": "key", "revoke": "key", "rollback": "remove"}


class Said(t.NamedTuple):
    """What a stage comes to: its outcome, the fingerprints that the file holds then, and whether it was changed."""

    status: str
    summary: str
    held: list[str]
    changed: bool = False
    before: str = ""
    after: str = ""


class Host:
    """The authorized_keys file of one user of this host."""

    def __init__(self, params: t.Mapping[str, t.Any], journal: _journal.Journal, check: bool) -> None:
        self._params, self._journal, self._check = params, journal, check
        self.whose = _place.owner(params["user"], params["path"])
        self.entry = journal.entry(f"{params['name']} {self.whose.path}")
        self.key = _lines.public(params["key"], "key") if params["key"] else None
        self.beside = [_lines.public(each, "beside")[1] for each in params["beside"]]
        self.remove = [_lines.public(each, "remove")[1] for each in params["remove"]]

    def stage(self) -> Said:
        """Do the stage."""
        with _place.opened(self.whose) as place:
            if not self._check and self._params["stage"] not in ("status", "prove"):
                place.sweep(os.path.basename(self.whose.path))
            found = _place.load(place, self.whose)
            lines = _lines.split(found.text)
            new, said = self._decided(lines)
            text = _lines.joined(new)
            if text == found.text:
                return said
            if not any(line.blob for line in new):
                raise RunbookError("would hold no key any more. Nothing was changed.")
            if not self._check:
                self._audit(lines, new)
                place.save(self.whose.path, text, found, expected=found)
            return said._replace(changed=True, before=_shown(lines), after=_shown(new))

    def _decided(self, lines: list[_lines.Line]) -> tuple[list[_lines.Line], Said]:
        stage = self._params["stage"]
        if stage == "add":
            return self._add(lines)
        if stage in ("revoke", "rollback"):
            return self._remove(lines, stage)
        held = _held(lines)
        mark = _lines.fingerprint(self.key[1]) if self.key else ""
        if stage == "status" and self.key and mark not in held:
            return lines, Said("ok", f"does not hold {mark} yet", held)
        return lines, Said("ok", f"holds {mark}" if mark else f"holds {len(held)} key(s)", held)

    def _add(self, lines: list[_lines.Line]) -> tuple[list[_lines.Line], Said]:
        text, blob = self._key()
        mark = _lines.fingerprint(blob)
        if mark in (self.entry.get("refused") or []):
            raise RunbookError(f"{mark} was given up by another run, and is not taken any more. Run again.")
        new = _lines.added(lines, text, blob, self.beside)
        if not any(line.blob == blob for line in new):
            raise RunbookError(
                f"holds none of the keys that open it now ({', '.join(map(_lines.fingerprint, self.beside)) or 'none is known'}), so its options "
                f"are not known. Add the line of {mark} by hand, or name the file that sshd reads (path)."
            )
        return new, Said("ok", f"holds {mark}", _held(new))

    def _remove(self, lines: list[_lines.Line], stage: str) -> tuple[list[_lines.Line], Said]:
        """Take keys away; one that opens this host must be left."""
        stay = [self._key()[1]] if stage == "revoke" else self.beside
        if not any(line.blob in stay for line in lines):
            raise RunbookError("holds none of the keys that must go on to open it. Nothing was removed.")
        new = _lines.without(lines, [each for each in self.remove if each not in stay])
        gone = [mark for mark in _held(lines) if mark not in _held(new)]
        if stage == "rollback" and not self._check:
            marks = [_lines.fingerprint(each) for each in self.remove if each not in stay]
            refused = [each for each in self.entry.get("refused") or [] if each not in marks]
            self.entry["refused"] = [*refused, *marks][-REFUSED_KEPT:]
            self._journal.save()
        what = "taken back" if stage == "rollback" else "removed"
        return new, Said("ok", f"{', '.join(gone)} {what}" if gone else "nothing to remove", _held(new))

    def _key(self) -> tuple[str, bytes]:
        if self.key is None:
            raise InputError("key", None, "is missing", "Give the public key.")
        return self.key

    def _audit(self, lines: list[_lines.Line], new: list[_lines.Line]) -> None:
        before, after = _held(lines), _held(new)
        for event, marks in (
            ("authorised", [mark for mark in after if mark not in before]),
            ("removed", [mark for mark in before if mark not in after]),
        ):
            for mark in marks:
                self._journal.audit(self._params["name"], event, fingerprint=mark, path=self.whose.path)


def _held(lines: t.Iterable[_lines.Line]) -> list[str]:
    return list(dict.fromkeys(_lines.fingerprint(line.blob) for line in lines if line.blob is not None))


def _shown(lines: t.Iterable[_lines.Line]) -> str:
    """For a difference: fingerprints alone, for options such as `environment` and `command` may hold secrets."""
    return "".join(f"{mark}\n" for mark in _held(lines))


def run(params: t.Mapping[str, t.Any], check: bool) -> dict[str, t.Any]:
    """Do one stage; the envelope has `report`: {seen, held, problem}."""
    option = NEEDED.get(params["stage"])
    if option and not params[option]:
        raise InputError(option, params[option], f"is needed for the stage {params['stage']}", "Give public keys.")
    if params["stage"] == "rollback" and not params["beside"]:
        raise InputError("beside", [], "is needed for the stage rollback", "Give the keys that go on to open the host.")
    state_dir = state.directory(params["state_dir"])
    if check or params["stage"] in ("status", "prove"):
        return _envelope(params, state_dir, check)
    whose = _place.owner(params["user"], params["path"])
    mark = hashlib.sha256(whose.path.encode(errors="surrogateescape")).hexdigest()[:16]
    with lock.hold(state_dir, f"ssh_keys-{mark}", LOCK_SECONDS):
        return _envelope(params, state_dir, check)


def _envelope(params: t.Mapping[str, t.Any], state_dir: str, check: bool) -> dict[str, t.Any]:
    dry = check or params["stage"] in ("status", "prove")
    host = Host(params, _journal.Journal(state_dir, "ssh_keys", params["run"], params["actor"], dry), check)
    try:
        said, problem = host.stage(), ""
    except InputError:
        raise
    except RunbookError as error:
        said, problem = Said("critical", f"{params['stage']}: {error}", []), str(error)
    more: dict[str, t.Any] = {}
    if said.changed:
        more["diff"] = {
            "before": said.before,
            "after": said.after,
            "before_header": host.whose.path,
            "after_header": host.whose.path,
        }
    report = {"seen": not problem, "held": said.held, "problem": problem}
    return outcome.envelope(
        [outcome.outcome(f"key:{params['name']}@{host.whose.name}", STAGE, said.status, said.summary)],
        said.changed,
        report=report,
        **more,
    )
