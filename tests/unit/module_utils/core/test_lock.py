# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks that die with their owner: a second run while one is running."""

from __future__ import annotations

import os
import threading
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError

HOLDER = """
import sys
from ansible_collections.sre.runbooks.plugins.module_utils._core import lock
with lock.hold(sys.argv[1], "backup"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(start, tmp_path):
    """Another process that holds the lock."""
    process = start(HOLDER, tmp_path)
    assert process.stdout.readline() == "held\n"
    return process


def take(folder, wait=0.0):
    with lock.hold(str(folder), "backup", wait):
        pass


def test_the_second_is_told_who_holds_the_lock_and_what_to_do(tmp_path, holder):
    with pytest.raises(Busy) as caught:
        take(tmp_path)
    expected = f"{tmp_path}/backup.lock: another run holds this lock (process {holder.pid}). Wait until it has ended."
    assert str(caught.value) == expected


def test_the_lock_is_free_after_the_block_and_after_an_error_in_it(tmp_path):
    with pytest.raises(ZeroDivisionError), lock.hold(str(tmp_path), "backup"):
        raise ZeroDivisionError
    take(tmp_path)
    take(tmp_path)


def test_the_lock_dies_with_its_owner(tmp_path, holder):
    holder.kill()
    holder.wait()
    take(tmp_path)


def test_other_names_do_not_wait(tmp_path, holder):
    with lock.hold(str(tmp_path), "other"):
        assert (tmp_path / "other.lock").read_text() == str(os.getpid())


def test_wait_takes_the_lock_when_it_becomes_free(tmp_path, holder):
    threading.Timer(0.3, holder.stdin.close).start()
    take(tmp_path, wait=30)


def test_wait_ends(tmp_path, holder):
    started = time.monotonic()
    with pytest.raises(Busy):
        take(tmp_path, wait=0.3)
    assert time.monotonic() - started >= 0.3


def test_a_symbolic_link_in_the_lock_s_place_is_refused_by_name(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("content")
    (tmp_path / "backup.lock").symlink_to(victim)
    with pytest.raises(RunbookError, match=f"^{tmp_path}/backup.lock: cannot open this lock: "):
        take(tmp_path)
    assert victim.read_text() == "content"


def test_programs_started_meanwhile_do_not_inherit_the_lock(tmp_path, commands):
    with lock.hold(str(tmp_path), "backup"):
        assert "backup.lock" not in commands.run(["ls", "-l", "/proc/self/fd"]).stdout
