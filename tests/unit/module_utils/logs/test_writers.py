# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files are open for writing, as /proc and the kernel's leases tell it."""

from __future__ import annotations

import os

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._logs import writers


@pytest.mark.parametrize(("mode", "writes"), [("r", False), ("w", True), ("a", True), ("r+", True)])
def test_both_ways_see_a_writer(tmp_path, mode, writes):
    path = tmp_path / "a.log"
    path.write_text("x")
    descriptor = os.open(path, os.O_RDONLY)
    with writers.lease_breaks_ignored(), path.open(mode):
        status = path.stat()
        assert ((status.st_dev, status.st_ino) in writers.look().files) is writes
        assert writers.claim(descriptor) is not writes
        writers.release(descriptor)
    os.close(descriptor)


def test_a_writer_that_comes_breaks_the_lease(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("x")
    descriptor = os.open(path, os.O_RDONLY)
    with writers.lease_breaks_ignored():
        assert writers.claim(descriptor)
        with pytest.raises(BlockingIOError):
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        assert not writers.release(descriptor)
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    os.close(descriptor)
