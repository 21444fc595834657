# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host remembers between runs: small JSON documents in the state folder."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

ROOT_DIRECTORY = "/var/lib/sre-runbooks"
USER_DIRECTORY = "~/.local/state/sre-runbooks"


def directory(option: str | None) -> str:
    """The state folder: the option `state_dir`, else by user as contracts.md says."""
    return os.path.expanduser(option or (ROOT_DIRECTORY if os.geteuid() == 0 else USER_DIRECTORY))


def load(state_dir: str, name: str) -> dict[str, t.Any]:
    """Read the document `name`; one that was never written is empty."""
    path = os.path.join(state_dir, f"{name}.json")
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise unreadable(state_dir, name, error) from error
    if not isinstance(document, dict):
        raise unreadable(state_dir, name, "it is no dictionary")
    return document


def unreadable(state_dir: str, name: str, problem: object) -> RunbookError:
    """The error for a document whose content cannot be used."""
    path = os.path.join(state_dir, f"{name}.json")
    return RunbookError(f"{path}: cannot read the state of earlier runs: {problem}. Repair or remove this file.")


def save(state_dir: str, name: str, document: t.Mapping[str, t.Any]) -> None:
    """Replace the document `name`."""
    files.make_directory(state_dir)
    data = json.dumps(document, sort_keys=True).encode()
    files.write(os.path.join(state_dir, f"{name}.json"), data)
