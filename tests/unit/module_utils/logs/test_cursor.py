# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cursor of log_scan: whatever happens to a log between two runs, each line is counted once (L1, L4)."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
import shutil
import subprocess
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import command
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _options, _scan

DEFAULTS = {name: spec.get("default") for name, spec in _options.SPEC.items()}


def filled(kind, given):
    spec = _options.SPEC[kind]["options"]
    return {**{name: each.get("default") for name, each in spec.items()}, **given}


@pytest.fixture
def scan(run_command, tmp_path):
    """Scan `app.log*` by cursor; return the count of lines with ERROR, and the source's outcome."""

    def go(check_mode=False, path=None, **options):
        given = {
            **DEFAULTS,
            "sources": [filled("sources", {"name": "app", "path": str(path or tmp_path / "app.log")})],
            "rules": [filled("rules", {"name": "errors", "pattern": "ERROR", "per": "ratio"})],
            "read": "cursor",
            **options,
        }
        commands = command.Commands(run_command)
        result = _scan.run(_options.read(given), commands, str(tmp_path / "state"), check_mode)
        by = {each["subject"]: each for each in result["outcomes"]}
        return int(by["rule:errors"]["metrics"]["matches"]), by["source:app"]

    return go


class Log:
    """A log that is written to; each line has a number of its own."""

    def __init__(self, path):
        self.path = path
        self.number = 0

    def write(self, count, end="\n"):
        with self.path.open("a") as stream:
            for _number in range(count):
                self.number += 1
                stream.write(f"2026-11-20 09:00:00,000 ERROR line {self.number}{end}")


@pytest.fixture
def log(tmp_path):
    """A log with a hundred lines."""
    log = Log(tmp_path / "app.log")
    log.write(100)
    return log


def pack(path, suffix):
    """Pack a file as logrotate does: the archive has its times."""
    status = path.stat()
    target = path.with_name(f"{path.name}.{suffix}")
    if suffix == "zst":
        subprocess.run(["zstd", "-q", "--rm", str(path)], check=True)
    else:
        target.write_bytes({"gz": gzip, "bz2": bz2, "xz": lzma}[suffix].compress(path.read_bytes()))
        path.unlink()
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    return target


def test_the_first_run_sets_the_cursor_only(scan, log):
    found, source = scan()
    assert found == 0
    assert "first run" in source["summary"]
    assert scan()[0] == 0
    log.write(7)
    assert scan()[0] == 7
    assert scan()[0] == 0


def test_from_start_reads_all(scan, log):
    assert scan(from_start=True)[0] == 100
    assert scan(from_start=True)[0] == 0


def test_check_mode_moves_nothing(scan, log):
    scan()
    log.write(3)
    assert scan(check_mode=True)[0] == 3
    assert scan()[0] == 3


def test_half_a_line_waits_for_its_end(scan, log):
    scan()
    log.write(1, end="")
    assert scan()[0] == 0
    with log.path.open("a") as stream:
        stream.write(" and its end\n")
    assert scan()[0] == 1


def test_rotation_by_rename(scan, log):
    scan()
    log.write(5)
    log.path.rename(log.path.with_name("app.log.1"))
    log.write(3)
    assert scan()[0] == 8
    # The service may write to the renamed file for a while.
    with log.path.with_name("app.log.1").open("a") as stream:
        stream.write("2026-11-20 09:00:00,000 ERROR late\n")
    assert scan()[0] == 1


def test_two_rotations_between_runs(scan, log):
    scan()
    log.write(5)
    log.path.rename(log.path.with_name("app.log.2"))
    log.write(3)
    log.path.rename(log.path.with_name("app.log.1"))
    log.write(2)
    assert scan()[0] == 10


def test_copytruncate(scan, log):
    scan()
    log.write(5)
    shutil.copy(log.path, log.path.with_name("app.log.1"))
    os.truncate(log.path, 0)
    log.write(3)
    assert scan()[0] == 8
    assert scan()[0] == 0


def test_copytruncate_after_which_more_was_written_than_before(scan, log):
    scan()
    log.write(5)
    shutil.copy(log.path, log.path.with_name("app.log.1"))
    os.truncate(log.path, 0)
    log.write(400)
    assert scan()[0] == 405


def test_a_run_between_copy_and_truncation(scan, log):
    scan()
    log.write(5)
    shutil.copy(log.path, log.path.with_name("app.log.1"))
    assert scan()[0] == 5
    os.truncate(log.path, 0)
    log.write(2)
    assert scan()[0] == 2


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
def test_archives_are_followed(scan, log, suffix):
    scan()
    log.write(5)
    log.path.rename(log.path.with_name("app.log.1"))
    pack(log.path.with_name("app.log.1"), suffix)
    log.write(3)
    assert scan()[0] == 8
    assert scan()[0] == 0
    log.path.with_name(f"app.log.1.{suffix}").rename(log.path.with_name(f"app.log.2.{suffix}"))
    log.path.rename(log.path.with_name("app.log.1"))
    log.write(1)
    assert scan()[0] == 1


def test_packing_of_what_was_read_adds_nothing(scan, log):
    log.path.rename(log.path.with_name("app.log.1"))
    log.write(3)
    scan()
    pack(log.path.with_name("app.log.1"), "gz")
    assert scan()[0] == 0


def test_old_archives_may_go(scan, log):
    archive = pack(log.path, "gz")
    log.write(3)
    scan()
    archive.unlink()
    log.write(1)
    found, source = scan()
    assert (found, source["status"]) == (1, "ok")


def test_a_log_begun_anew_with_the_same_first_lines_is_read_from_its_start(scan, log):
    """A banner longer than what the fingerprint of the first bytes covers."""
    banner = "# this service writes its whole configuration first\n" * 60
    log.path.write_text(banner + "ERROR old\n" * 200)
    scan()
    log.path.write_text(banner + "ERROR new\n" * 300)
    assert scan()[0] == 300


def test_an_archive_that_was_copied_adds_nothing(scan, log, tmp_path):
    archive = pack(log.path, "gz")
    log.write(3)
    scan()
    shutil.copy2(archive, tmp_path / "copy")
    archive.unlink()
    log.write(1)
    (tmp_path / "copy").rename(archive)
    assert scan()[0] == 1


def test_what_was_removed_unseen_is_told(scan, log):
    scan()
    log.write(5)
    log.path.unlink()
    log.write(2)
    found, source = scan()
    assert found == 2
    assert source["status"] == "warning"
    assert "lines may be missing" in source["summary"]


def test_a_new_file_of_the_glob_is_read_from_its_start(scan, log, tmp_path):
    scan(path=tmp_path / "*.log")
    other = Log(tmp_path / "other.log")
    other.write(4)
    log.write(1)
    assert scan(path=tmp_path / "*.log")[0] == 5


def test_an_empty_log_that_is_rotated_later(scan, tmp_path):
    log = Log(tmp_path / "app.log")
    log.write(0)
    assert scan()[0] == 0
    log.write(2)
    log.path.rename(tmp_path / "app.log.1")
    log.write(1)
    assert scan()[0] == 3


def test_a_run_that_was_killed_is_as_none(scan, log, monkeypatch):
    scan()
    log.write(5)

    def die(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_scan.state, "save", die)
        with pytest.raises(KeyboardInterrupt):
            scan()
    assert scan()[0] == 5


def test_a_source_not_read_to_its_end_is_read_again(scan, log):
    scan()
    log.write(5)
    assert scan(timeout=0.0000001)[1]["status"] == "unknown"
    assert scan()[0] == 5


def test_a_state_that_cannot_be_read_is_told(scan, log, tmp_path):
    scan()
    (tmp_path / "state" / "log_scan.json").write_text("{")
    with pytest.raises(_scan.RunbookError, match=r"log_scan\.json: cannot read the state"):
        scan()


def test_other_state_stays(scan, log, tmp_path):
    scan()
    document = json.loads((tmp_path / "state" / "log_scan.json").read_text())
    (cursor,) = document["cursors"].values()
    assert cursor["cursor"][0]["path"] == str(log.path)
    assert cursor["scanned"] <= time.time()
    # A call with another source, or the same name for another path, has a first run of its own.
    log.write(2)
    other = Log(tmp_path / "other.log")
    other.write(4)
    assert scan(path=other.path)[0] == 0
    assert scan()[0] == 2


def test_a_log_renamed_while_the_run_begins_is_read_all_the_same(scan, log, monkeypatch):
    scan()
    log.write(5)
    real = _scan._opened

    def rename_first(file):
        log.path.rename(log.path.with_name("app.log.1"))
        log.write(2)
        return real(file)

    with monkeypatch.context() as patch:
        patch.setattr(_scan, "_opened", rename_first)
        assert scan()[0] == 5
    assert scan()[0] == 2


def test_a_log_gone_while_the_run_begins_makes_unknown_and_is_read_later(scan, log, monkeypatch):
    scan()
    log.write(5)
    aside = log.path.with_name("elsewhere")

    def hide(file):
        log.path.rename(aside)
        raise FileNotFoundError(file.path)

    with monkeypatch.context() as patch:
        patch.setattr(_scan, "_opened", hide)
        assert scan()[1]["status"] == "unknown"
    aside.rename(log.path)
    assert scan()[0] == 5


def rotate(log, by_copy):
    """What logrotate does: numbers go up, the log becomes the first of them."""
    folder = log.path.parent
    for number in range(30, 0, -1):
        for suffix in ("", ".gz"):
            old = folder / f"app.log.{number}{suffix}"
            if old.exists():
                old.rename(folder / f"app.log.{number + 1}{suffix}")
    if by_copy:
        shutil.copy(log.path, folder / "app.log.1")
        os.truncate(log.path, 0)
    else:
        log.path.rename(folder / "app.log.1")
        log.path.touch()


@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_writing_rotating_and_scanning_counts_each_line_once(scan, tmp_path, seed):
    """A model: rename rotation with delayed packing, as logrotate's default, and copytruncate."""
    draw = random.Random(seed)
    log = Log(tmp_path / "app.log")
    log.write(draw.randrange(3))
    seen = scan(from_start=True)[0]
    for _step in range(25):
        what = draw.choice(["write", "write", "scan", "rename", "pack", "copy"])
        if what == "write":
            log.write(draw.randrange(1, 60))
        elif what == "scan":
            seen += scan()[0]
        elif what == "pack" and (tmp_path / "app.log.1").exists():
            pack(tmp_path / "app.log.1", "gz")
        elif what in ("rename", "copy") and log.path.stat().st_size:
            rotate(log, what == "copy")
    seen += scan()[0]
    assert seen == log.number
