# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variable of a file that holds a key, with its user where it has one: read, written in one go, owner and mode kept."""

from __future__ import annotations

import json
import os
import re
import typing as t
from urllib.parse import quote, unquote

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env import _file, _write

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._keys._settings import Consumer

# As long as a key is, to see whether one could be written.
SAMPLE = "x" * 43


class Content(t.NamedTuple):
    """What stands in the file: the key, its user where one stands beside it, and `text`, from which all of it can be written again.

    `url` is the whole connection string where a template makes one of user and key.
    """

    text: str
    value: str
    user: str | None = None
    url: str = ""


def names_user(consumer: Consumer) -> bool:
    """Whether the user's name stands in the file beside the key."""
    return bool(consumer.user_variable) or "{id}" in consumer.template


def read(consumer: Consumer) -> Content | None:
    """What the file holds; None when it has no such variable, or an empty one."""
    try:
        with _file.opened(os.path.realpath(os.path.dirname(consumer.path))) as folder:
            found = folder.load(consumer.path)
    except OSError as error:
        raise RunbookError(f"{consumer.path}: cannot be read: {error.strerror}. Give access to it.") from error
    except RunbookError as error:
        raise RunbookError(f"{consumer.path}: {error}") from error
    if found is None:
        raise RunbookError(f"{consumer.path}: there is no such file. Create it, or correct the path.")
    form = _write.FORMATS[consumer.format]
    value: str | None = form.read(found.text, consumer.variable)
    if not value:
        return None
    if consumer.user_variable:
        return parsed(consumer, json.dumps([form.read(found.text, consumer.user_variable) or "", value]))
    return parsed(consumer, value)


def parsed(consumer: Consumer, text: str) -> Content:
    """What `text` says; RunbookError, without any of it, where it is not as the template."""
    if consumer.user_variable:
        user, value = json.loads(text)
        return Content(text, value, user or None)
    if not consumer.template:
        return Content(text, text)
    escaped = _address(consumer)
    piece = "([^:@/?#]+)" if escaped else "(.+)"
    parts = re.split(r"(\{id\}|\{value\})", consumer.template)
    pattern = "".join(
        piece.replace("(", f"(?P<{part[1:-1]}>", 1) if part in ("{id}", "{value}") else re.escape(part)
        for part in parts
    )
    match = re.fullmatch(pattern, text, re.DOTALL)
    if match is None:
        raise RunbookError(
            f"{consumer.path}: what {consumer.variable} holds is not as its template. Correct the template, or the file."
        )
    told = {name: unquote(each) if escaped else each for name, each in match.groupdict().items()}
    return Content(text, told["value"], told.get("id"), text if escaped else "")


def filled(consumer: Consumer, value: str, user: str) -> Content:
    """What the file is to hold: the key `value` of `user`."""
    if consumer.user_variable:
        return Content(json.dumps([user, value]), value, user)
    if not consumer.template:
        return Content(value, value)
    given = {"{id}": user, "{value}": value}
    if _address(consumer):
        given = {name: quote(each, safe="") for name, each in given.items()}
    text = re.sub(r"\{id\}|\{value\}", lambda match: given[match[0]], consumer.template)
    return parsed(consumer, text)


def _address(consumer: Consumer) -> bool:
    """In an address, names and passwords are percent-encoded."""
    return "://" in consumer.template


def write(consumer: Consumer, text: str, state_dir: str) -> None:
    """Replace what the file holds, or add it; empty `text` empties it. What was there is kept by `_consume`, not beside the file."""
    _write.set_together(consumer.path, _values(consumer, text), consumer.format, state_dir=state_dir)


def writable(consumer: Consumer) -> None:
    """Raise RunbookError when it could not be written."""
    sample = filled(consumer, SAMPLE, "user").text
    _write.set_together(consumer.path, _values(consumer, sample), consumer.format, check=True)
    folder = os.path.realpath(os.path.dirname(consumer.path))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunbookError(f"{folder}: no access to change files there. Give it, or set become.")


def _values(consumer: Consumer, text: str) -> dict[str, str]:
    if not consumer.user_variable:
        return {consumer.variable: text}
    user, value = json.loads(text) if text else ("", "")
    return {consumer.user_variable: user, consumer.variable: value}
