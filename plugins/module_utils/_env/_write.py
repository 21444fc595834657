# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One variable of a file changed so that a reader sees the old file or the new one, and the previous version kept beside it.

`PATH.previous` (0600, owner kept) is the file with the values that variables had before they were changed. Several keys may stand in one
file and be rotated at different times: each change puts the value of its own variable there, each way back takes its own from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env import _file

PREVIOUS = ".previous"
WAIT = 10.0  # seconds for another run at the same file


class _Formats:
    """The formats by name, each imported when it is first asked for: PyYAML alone takes longer than all else."""

    def __getitem__(self, kind: str) -> t.Any:
        if kind == "yaml":
            from ansible_collections.sre.runbooks.plugins.module_utils._env import yaml

            return yaml
        if kind == "json":
            from ansible_collections.sre.runbooks.plugins.module_utils._env import json

            return json
        if kind == "ini":
            from ansible_collections.sre.runbooks.plugins.module_utils._env import ini

            return ini
        from ansible_collections.sre.runbooks.plugins.module_utils._env import env

        return env


FORMATS = _Formats()


class Change(t.NamedTuple):
    """What was done, or would be: whether the file was made, and what the user should know."""

    changed: bool
    created: bool = False
    notes: tuple[str, ...] = ()


def current(path: str, variable: str, kind: str = "env") -> str | None:
    """The value that `variable` has now; None when the file or the variable is not there."""
    with _told(path, variable), _place(path, None, check=True) as place:
        found = place.load(path)
        value: str | None = FORMATS[kind].read(found.text, variable) if found else None
        return value


def set_variable(path: str, variable: str, value: str, kind: str = "env", **options: t.Any) -> bool:
    """`change` with its options; whether the file was changed."""
    return change(path, variable, value, kind, **options).changed


def change(
    path: str,
    variable: str,
    value: str,
    kind: str = "env",
    *,
    create: bool = False,
    backup: bool = True,
    check: bool = False,
    state_dir: str | None = None,
) -> Change:
    """Give `variable` of the file `path` the value; RunbookError, which never holds a value, when that cannot be done safely.

    With `backup` the value that was there before is kept in PATH.previous. With `create` a file that is not there is made, 0600.
    With `check` nothing is written.
    """
    form = FORMATS[kind]
    with _told(path, variable), _place(path, state_dir, check) as place:
        form.refuse(variable)
        found = place.load(path)
        if found is None and not create:
            raise RunbookError("there is no such file. Create it, correct the path, or set create: true.")
        text = found.text if found else form.EMPTY
        if found and form.settled(text, variable, value):
            return Change(False, notes=tuple(form.notes(text, variable)))
        new = _replaced(form, text, variable, value)
        if not check:
            if backup:
                _keep(place, path, variable, form, found, text)
            place.save(path, new, found, expected=found)
        return Change(True, found is None, tuple(form.notes(new, variable)))


def set_together(
    path: str, values: t.Mapping[str, str], kind: str = "env", *, check: bool = False, state_dir: str | None = None
) -> bool:
    """Give variables of one file their values in one go, without keeping those before; whether the file is changed.

    The file must be there. With `check` nothing is written.
    """
    form = FORMATS[kind]
    with _told(path, " and ".join(values)), _place(path, state_dir, check) as place:
        found = place.load(path)
        if found is None:
            raise RunbookError("there is no such file. Create it, or correct the path.")
        text = found.text
        for variable, value in values.items():
            form.refuse(variable)
            if not form.settled(text, variable, value):
                text = _replaced(form, text, variable, value)
        if text != found.text and not check:
            place.save(path, text, found, expected=found)
        return text != found.text


def previous(path: str, variable: str, kind: str = "env") -> str | None:
    """The value that `variable` had before it was changed; None when none was kept."""
    with _told(path, variable), _place(path, None, check=True) as place:
        older = place.load(path + PREVIOUS)
        value: str | None = FORMATS[kind].read(older.text, variable) if older else None
        return value


def restore_previous(
    path: str, variable: str | None = None, kind: str = "env", *, check: bool = False, state_dir: str | None = None
) -> bool:
    """Give `variable` the value back that it had; the whole file without one. False when there is nothing to give back.

    What else was changed in the file since stays. PATH.previous goes when it holds nothing else.
    """
    with _told(path, variable or ""), _place(path, state_dir, check) as place:
        older, found = place.load(path + PREVIOUS), place.load(path)
        if older is None:
            return False
        new = older.text
        if variable is not None and found is not None:
            new = _restored(FORMATS[kind], found.text, older.text, variable)
        changed = found is None or new != found.text
        if check:
            return changed
        if changed:
            place.save(path, new, found or older, expected=found)
        _forget(place, path, FORMATS[kind], variable, older, new)
        return changed


def forget_previous(
    path: str, variable: str | None = None, kind: str = "env", *, check: bool = False, state_dir: str | None = None
) -> bool:
    """Remove the previous value of `variable`, of all without one; whether there was one."""
    with _told(path, variable or ""), _place(path, state_dir, check) as place:
        older = place.load(path + PREVIOUS)
        if older is None:
            return False
        found = place.load(path)
        if variable is not None and found is not None and found.text != older.text:
            form = FORMATS[kind]
            if (form.read(older.text, variable) or "") == (form.read(found.text, variable) or ""):
                return False
        if not check:
            _forget(place, path, FORMATS[kind], variable, older, found.text if found else None)
        return True


def _replaced(form: t.Any, text: str, variable: str, value: str) -> str:
    """The new text, read back: it gives the value, and all else is as it was."""
    new: str = form.replaced(text, variable, value)
    if form.read(new, variable) != value or form.others(new, variable) != form.others(text, variable):
        raise RunbookError("the value does not come back from what would be written. Correct this place by hand.")
    return new


def _keep(place: _file.Place, path: str, variable: str, form: t.Any, found: _file.Found | None, text: str) -> None:
    """Put the value that the variable has now into PATH.previous, before the file is changed."""
    older = place.load(path + PREVIOUS)
    kept = text
    if older is not None:
        value = form.read(text, variable)
        if value is not None:
            try:
                kept = _replaced(form, older.text, variable, value)
            except RunbookError as error:
                raise RunbookError(f"{path}{PREVIOUS}: {error} Or remove it when no rotation is under way.") from error
        elif form.read(older.text, variable) is None:
            kept = older.text
        if kept == older.text:
            return
    place.save(path + PREVIOUS, kept, found, expected=older, private=True)


def _restored(form: t.Any, text: str, older: str, variable: str) -> str:
    """`text` with the variable as it was in `older`."""
    value, now = form.read(older, variable), form.read(text, variable)
    if value == now:
        return text
    # Where nothing else was changed, the older text itself comes back, with the quotes that it had.
    with contextlib.suppress(RunbookError):
        if now is not None and form.replaced(older, variable, now) == text:
            return older
    if value is None:
        raise RunbookError("was not there before, and the file was changed since. Remove it by hand.")
    return _replaced(form, text, variable, value)


def _forget(
    place: _file.Place, path: str, form: t.Any, variable: str | None, older: _file.Found, text: str | None
) -> None:
    """Take the variable's value out of PATH.previous; the file goes when it differs from `text` in nothing else."""
    if (
        variable is None
        or text is None
        or older.text == text
        or form.others(older.text, variable) == form.others(text, variable)
    ):
        place.remove(path + PREVIOUS)
        return
    emptied = _replaced(form, older.text, variable, form.read(text, variable) or "")
    place.save(path + PREVIOUS, emptied, older, expected=older, private=True)


@contextlib.contextmanager
def _place(path: str, state_dir: str | None, check: bool) -> t.Iterator[_file.Place]:
    """The folder of `path`, with the lock of the file unless nothing is to be written."""
    folder = os.path.realpath(os.path.dirname(path))
    held: t.ContextManager[None] = contextlib.nullcontext()
    if not check:
        name = hashlib.sha256(os.path.join(folder, os.path.basename(path)).encode(errors="surrogateescape")).hexdigest()
        held = lock.hold(state.directory(state_dir), f"env_file-{name[:16]}", WAIT)
    with held, _file.opened(folder) as place:
        if not check:
            place.sweep(os.path.basename(path))
        yield place


@contextlib.contextmanager
def _told(path: str, variable: str) -> t.Iterator[None]:
    """Errors say which file and variable they are about."""
    try:
        yield
    except OSError as error:
        raise RunbookError(
            f"{path}: cannot be changed: {error.strerror}. Make room or give access, then run again."
        ) from error
    except RunbookError as error:
        raise RunbookError(f"{path}: {variable}: {error}" if variable else f"{path}: {error}") from error
