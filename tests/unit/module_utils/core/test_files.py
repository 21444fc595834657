# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

WRITER = """
import sys
from ansible_collections.sre.runbooks.plugins.module_utils._core import files
print("begun", flush=True)
number = 0
while True:
    number += 1
    files.write(sys.argv[1], bytes([number % 256]) * (4 << 20))
"""
# /dev/full gives ENOSPC on writing, but a file has to be renamed: a real file system of 64 KiB.
FULL = """
import os, subprocess, sys
folder = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
path = folder + "/state.json"
files.write(path, b"old")
try:
    files.write(path, b"x" * 1000000)
except RunbookError as error:
    print(error)
print(open(path).read(), os.listdir(folder))
"""
READ_ONLY = """
import subprocess, sys
folder = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", folder], check=True)
from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
try:
    files.write(folder + "/state.json", b"x")
except RunbookError as error:
    print(error)
"""


def namespace() -> tuple[str, ...]:
    """A mount namespace of its own, which any user may make."""
    return ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")))


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_write_replaces_content_and_mode_and_leaves_nothing_else(tmp_path, mode):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o777)
    files.write(str(path), b"new", mode)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o7777 == mode
    assert list(tmp_path.iterdir()) == [path]


def test_the_default_mode_shows_the_file_to_its_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        files.write(str(tmp_path / "file"), b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o600


def test_a_name_without_a_folder_is_written_where_the_process_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write("file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_reader_sees_the_old_or_the_new_never_a_part(tmp_path):
    path = tmp_path / "file"
    size = 1 << 20
    files.write(str(path), b"\0" * size)
    seen: list[bytes] = []
    end = threading.Event()

    def read():
        while not end.is_set():
            seen.append(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 50):
        files.write(str(path), bytes([number]) * size)
    end.set()
    reader.join()
    assert len({content[0] for content in seen}) > 1, "the reader never saw a change"
    assert {len(content) for content in seen} == {size}
    assert all(content == content[:1] * size for content in seen)


@pytest.mark.parametrize("after", [0.02, 0.05, 0.1, 0.2])
def test_kill_9_of_the_writer_leaves_whole_content(start, tmp_path, after):
    path = tmp_path / "file"
    path.write_bytes(b"\xff" * (4 << 20))
    writer = start(WRITER, path)
    assert writer.stdout.readline() == "begun\n"
    threading.Event().wait(after)
    writer.kill()
    assert writer.wait() == -signal.SIGKILL
    content = path.read_bytes()
    assert content == content[:1] * (4 << 20)
    # what the killed one left does not stand in the way of the next
    files.write(str(path), b"next")
    assert path.read_bytes() == b"next"


def test_a_symbolic_link_at_the_partial_name_is_not_followed(tmp_path):
    path, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_text("content")
    Path(files.partial_name(str(path))).symlink_to(victim)
    files.write(str(path), b"new")
    assert victim.read_text() == "content"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


def test_a_symbolic_link_put_there_just_before_the_name_is_given_is_refused(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("content")
    (tmp_path / "partial").symlink_to(victim)
    with pytest.raises(OSError, match="Too many levels"):
        files.publish(str(tmp_path / "partial"), str(tmp_path / "file"))
    assert not os.path.lexists(tmp_path / "file")
    assert victim.stat().st_mode & 0o777 != 0o600


def test_a_folder_at_the_partial_name_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "file"
    Path(files.partial_name(str(path))).mkdir()
    with pytest.raises(RunbookError, match=f"^{path}: cannot write: "):
        files.write(str(path), b"x")


@pytest.mark.parametrize("name", ["missing/file", "file/below", "x" * 250])
def test_a_name_that_cannot_be_written_is_told_with_the_remedy(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(RunbookError) as caught:
        files.write(str(tmp_path / name), b"x")
    assert str(caught.value).startswith(f"{tmp_path / name}: cannot write: ")
    assert str(caught.value).endswith("Make room or give access, then run again.")


def test_a_full_file_system_leaves_the_old_content_and_no_partial_file(start, tmp_path):
    output, errors = start(FULL, tmp_path, prefix=namespace()).communicate()
    assert output.splitlines() == [
        f"{tmp_path}/state.json: cannot write: No space left on device. Make room or give access, then run again.",
        "old ['state.json']",
    ], errors


def test_a_read_only_file_system_is_told(start, tmp_path):
    output, errors = start(READ_ONLY, tmp_path, prefix=namespace()).communicate()
    assert output.startswith(f"{tmp_path}/state.json: cannot write: Read-only file system. "), errors


def test_make_directory_says_whether_it_had_to(tmp_path):
    path = tmp_path / "a/b"
    assert files.make_directory(str(path)) is True
    assert path.stat().st_mode & 0o777 == 0o700
    assert files.make_directory(str(path)) is False


def test_sha256_is_that_of_sha256sum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 << 20))
    output = subprocess.run(
        [shutil.which("sha256sum") or "sha256sum", path], check=True, capture_output=True, text=True
    )
    assert files.sha256(str(path)) == output.stdout.split()[0] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_chunks_of_a_symbolic_link_are_refused(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="Too many levels"):
        files.sha256(str(tmp_path / "link"))
