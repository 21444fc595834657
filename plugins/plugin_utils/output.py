# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's files: a JSON document, HTML pages and their index, Markdown, CSV; each complete or not there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import typing as t
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils._engine import make_private_folder
from ansible_collections.sre.runbooks.plugins.plugin_utils.markdown import render_markdown
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import Document
from ansible_collections.sre.runbooks.plugins.plugin_utils.page import VIEWS, Link, render_page
from ansible_collections.sre.runbooks.plugins.plugin_utils.page_index import file_stem, render_index
from ansible_collections.sre.runbooks.plugins.plugin_utils.spreadsheet import tables

FILE_MODE = 0o640
"""Reports hold no secrets, but they name hosts and their weak points: the owner's group may read them, nobody else."""

INDEX = "index.html"
_ENDINGS = {
    "html": ".html",
    "executive": "_executive.html",
    "markdown": ".md",
    "json": ".json",
    "csv": "_outcomes.csv",
}
_TITLES = {
    "html": "Technical view",
    "executive": "Executive view",
    "markdown": "Markdown",
    "json": "JSON",
    "csv": "CSV",
}
Runs = Callable[[], tuple[list[dict[str, t.Any]], int]]
"""Returns the newest runs of the history, the newest first, and how many there are of all."""


def write_reports(
    document: Document,
    directory: str,
    formats: Collection[str],
    views: Collection[str] = VIEWS,
    runs: Runs | None = None,
) -> dict[str, str]:
    """Write the wanted `formats` ("html", "markdown", "json", "csv") below `directory`; return the path of each file.

    Beside `<playbook>_<run id>.<format>` stands `<playbook>_latest.<format>`, a link to the newest run's file: rendering
    an old run again does not move it back. With `runs` and "html" the index of all reports is written anew.
    """
    folder = Path(directory).expanduser().absolute()
    stem = f"{file_stem(document['run']['playbook'])}_{document['run']['id']}"
    indexed = runs is not None and "html" in formats
    files = _files(formats, views)
    paths = {}
    try:
        make_private_folder(folder)
        for name, ending, parts in _contents(document, files, _links(stem, files, indexed)):
            path = folder / f"{stem}{ending}"
            _write(path, parts)
            _point_at(folder / f"{file_stem(document['run']['playbook'])}_latest{ending}", path.name)
            paths[name] = str(path)
        if runs is not None and indexed:
            paths["index"] = str(_write_index(folder, runs, document["run"]["collection_version"]))
    except OSError as error:
        remedy = "It must be a folder on the controller that this user can write to, with free space."
        raise InputError("directory", str(folder), f"cannot hold the report: {error.strerror}", remedy) from error
    return paths


def _files(formats: Collection[str], views: Collection[str]) -> list[str]:
    """Return the names of the wanted files, in the order of the links."""
    pages = {"technical": "html", "executive": "executive"}
    wanted = {pages[view] for view in views} if "html" in formats else set()
    wanted |= set(formats) - {"html"}
    return [name for name in _ENDINGS if name in wanted]


def _links(stem: str, files: Iterable[str], indexed: bool) -> list[Link]:
    links = [("All reports", INDEX)] if indexed else []
    return links + [(_TITLES[name], f"{stem}{_ENDINGS[name]}") for name in files]


def _contents(document: Document, files: Iterable[str], links: list[Link]) -> Iterator[tuple[str, str, Iterable[str]]]:
    """Yield name, ending and parts of each file."""
    for name in files:
        ending = _ENDINGS[name]
        if name == "json":
            yield name, ending, _json(document)
        elif name == "markdown":
            yield name, ending, render_markdown(document)
        elif name == "csv":
            for section, lines in tables(document):
                yield "csv" if section == "outcomes" else f"csv_{section}", f"_{section}.csv", lines
        else:
            own = [(text, "" if text == _TITLES[name] else file) for text, file in links]
            yield name, ending, render_page(document, "technical" if name == "html" else name, own)


def _json(document: Document) -> Iterator[str]:
    yield from json.JSONEncoder(ensure_ascii=False, indent=1).iterencode(document)
    yield "\n"


def _write_index(folder: Path, runs: Runs, version: str) -> Path:
    """Write the index; of runs that end at the same time, the one that read the history last writes last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # File systems without locks have an index that lacks a run until the next one, at worst.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        found, total = runs()
        _write(folder / INDEX, render_index(found, total, str(folder), version))
    finally:
        os.close(descriptor)
    return folder / INDEX


def _write(path: Path, parts: Iterable[str]) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        # As it is: the lines of a CSV file end with CR LF, whatever the system's lines end with.
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:
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
