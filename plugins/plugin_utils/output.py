# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's files: a JSON document and an HTML page, each complete or not there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import typing as t
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils._engine import make_private_folder
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import Document
from ansible_collections.sre.runbooks.plugins.plugin_utils.page import render_page

FILE_MODE = 0o640
"""Reports hold no secrets, but they name hosts and their weak points: the owner's group may read them, nobody else."""


def write_reports(document: Document, directory: str, formats: Iterable[str]) -> dict[str, str]:
    """Write the wanted `formats` ("json", "html") below `directory`; return the path of each.

    Beside `<playbook>_<run id>.<format>` stands `<playbook>_latest.<format>`, a link to the newest run's file: rendering
    an old run again does not move it back.
    """
    folder = Path(directory).expanduser().absolute()
    writers: dict[str, t.Callable[[Document], Iterable[str]]] = {"json": _json, "html": render_page}
    paths = {}
    playbook = re.sub(r"[^A-Za-z0-9.-]+", "-", document["run"]["playbook"]).strip("-.") or "run"
    try:
        make_private_folder(folder)
        for name in formats:
            path = folder / f"{playbook}_{document['run']['id']}.{name}"
            _write(path, writers[name](document))
            _point_at(folder / f"{playbook}_latest.{name}", path.name)
            paths[name] = str(path)
    except OSError as error:
        remedy = "It must be a folder on the controller that this user can write to, with free space."
        raise InputError("directory", str(folder), f"cannot hold the report: {error.strerror}", remedy) from error
    return paths


def _json(document: Document) -> Iterator[str]:
    yield from json.JSONEncoder(ensure_ascii=False, indent=1).iterencode(document)
    yield "\n"


def _write(path: Path, parts: Iterable[str]) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.writelines(parts)
            stream.flush()
            os.fchmod(descriptor, FILE_MODE)
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _point_at(link: Path, target: str) -> None:
    with contextlib.suppress(OSError):
        if os.readlink(link) > target:
            return
    temporary = link.with_name(f".{target}.{os.getpid()}.link")
    os.symlink(target, temporary)
    os.rename(temporary, link)
