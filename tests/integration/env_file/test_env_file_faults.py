# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens to env_file, for real (K3): kill -9, a full disk, missing rights, links, two at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env import _write

from .conftest import CHECKOUT, ENVIRONMENT

KILLS = 60
TEMPLATES = {
    "env": ("K", "# c\nA=1\nK='{}'\nB=2\n"),
    "yaml": ("a.k", "# c\na:\n  k: '{}' # c\n  z: [1]\n"),
    "json": ("a.k", '{{\n  "a": {{"k": "{}"}},\n  "z": 1\n}}\n'),
    "ini": ("a.k", "; c\n[a]\nk = {}\n[z]\nx = 1\n"),
}
CHANGE = """
import sys
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env import _write
try:
    print(_write.set_variable(sys.argv[1], "K", "new" * int(sys.argv[3]), state_dir=sys.argv[2]))
except RunbookError as error:
    print("refused:", error)
"""
fork = multiprocessing.get_context("fork")


def value(number):
    """Values of different lengths, each long enough that half of one would show."""
    return f"v{number}-" + "x" * (number % 50) * 20 + f"-{number}"


def change_without_end(path, kind, variable, state):
    """What is killed."""
    number = 1
    while True:
        _write.set_variable(path, variable, value(number), kind, state_dir=state)
        number += 1


def test_killed_at_sixty_moments_the_file_is_old_or_new_and_never_half(tmp_path):
    chance = random.Random(5)
    moments = 0
    for number in range(KILLS):
        kind = sorted(TEMPLATES)[number % 4]
        variable, template = TEMPLATES[kind]
        folder = tmp_path / kind
        folder.mkdir(exist_ok=True)
        path = folder / "file"
        path.write_text(template.format(value(0)))
        path.chmod(0o640)
        process = fork.Process(target=change_without_end, args=(str(path), kind, variable, str(tmp_path / "state")))
        process.start()
        while path.read_text() == template.format(value(0)):
            assert process.is_alive()
        time.sleep(chance.uniform(0, 0.02))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        now = _write.current(str(path), variable, kind)
        assert now is not None
        index = int(now[1:].partition("-")[0])
        assert now == value(index)
        moments += index > 0
        assert path.read_text() == template.format(now)
        assert path.stat().st_mode & 0o777 == 0o640
        # The previous version is whole, too: the value before, or already that which is about to be replaced.
        assert _write.previous(str(path), variable, kind) in (value(index - 1), value(index))
        # The next run succeeds at once, and sweeps.
        assert _write.set_variable(str(path), variable, "after", kind, state_dir=str(tmp_path / "state"))
        assert _write.previous(str(path), variable, kind) == now
        assert sorted(each.name for each in folder.iterdir()) == ["file", "file.previous"]
        (folder / "file.previous").unlink()
    assert moments == KILLS


def test_a_disk_that_is_full_leaves_the_file_as_it_was(tmp_path):
    """A small disk in a mount namespace of its own; the file has room, its new version has not."""
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    script = """
    mount -t tmpfs -o size=64k none "$1"
    printf 'A=1\\nK=old\\n' > "$1/file"; head -c 48k /dev/zero > "$1/much" || exit 1
    "$0" -c "$CHANGE" "$1/file" "$2" 10000
    cat "$1/file"; ls -A "$1"
    rm "$1/much"
    "$0" -c "$CHANGE" "$1/file" "$2" 10
    """
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        [*unshare, "sh", "-c", script, sys.executable, str(tmp_path / "disk"), str(tmp_path / "state")],
        env={**ENVIRONMENT, "CHANGE": CHANGE}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"refused: {tmp_path}/disk/file: cannot be changed: No space left on device. Make room")
    assert lines[1:3] == ["A=1", "K=old"]
    assert lines[3:] == ["file", "file.previous", "much", "True"]


def without_rights(path, state):
    """Change the variable as a process that may do only what its user may, also when that is root."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*drop, sys.executable, "-c", CHANGE, str(path), str(state), "1"],
        env=ENVIRONMENT, cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_a_folder_that_cannot_be_written_and_a_file_that_cannot_be_read_are_told(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "file"
    path.write_text("K=old\n")
    folder.chmod(0o555)
    told = without_rights(path, tmp_path / "state")
    assert told.startswith(f"refused: {path}: cannot be changed: Permission denied. Make room or give access")
    folder.chmod(0o755)
    path.chmod(0o000)
    assert "Permission denied" in without_rights(path, tmp_path / "state")
    path.chmod(0o644)
    assert path.read_text() == "K=old\n"
    assert without_rights(path, tmp_path / "state") == "True\n"


def test_links_and_what_is_no_file_are_refused_with_the_target_named(tmp_path):
    path = tmp_path / "file"
    path.write_text("K=old\n")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"K=old\0\n")
    (tmp_path / "large").write_bytes(b"#" * (2**20 + 1))
    for name, told in [
        ("link", f"symbolic link, which is not followed. Give {path} as the path"),
        ("folder", "is no regular file"),
        ("pipe", "is no regular file"),
        ("binary", "is no text"),
        ("large", "is larger than 1 MiB"),
        ("not/there", "No such file or directory"),
    ]:
        with pytest.raises(RunbookError) as caught:
            _write.set_variable(str(tmp_path / name), "K", "new", state_dir=str(tmp_path / "state"))
        assert told in str(caught.value)
    os.link(path, tmp_path / "other")
    with pytest.raises(RunbookError, match="has 2 names"):
        _write.set_variable(str(path), "K", "new", state_dir=str(tmp_path / "state"))
    (tmp_path / "other").unlink()
    (tmp_path / "file.previous").symlink_to("/etc/hostname")
    with pytest.raises(RunbookError, match="symbolic link"):
        _write.set_variable(str(path), "K", "new", state_dir=str(tmp_path / "state"))
    assert path.read_text() == "K=old\n"


def test_several_at_once_lose_nothing_and_one_too_many_says_so(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("".join(f"K{number}=old\n" for number in range(6)))
    state = str(tmp_path / "state")

    def change(number):
        for each in range(10):
            _write.set_variable(str(path), f"K{number}", f"{number}-{each}", state_dir=state)

    processes = [fork.Process(target=change, args=(number,)) for number in range(6)]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    assert [each.exitcode for each in processes] == [0] * 6
    assert path.read_text() == "".join(f"K{number}={number}-9\n" for number in range(6))
    monkeypatch.setattr(_write, "WAIT", 0.1)
    with _write._place(str(path), state, check=False), pytest.raises(RunbookError, match="another run holds this lock"):
        _write.set_variable(str(path), "K0", "x", state_dir=state)


def test_an_editor_that_changes_the_file_meanwhile_is_not_overwritten(tmp_path):
    """An editor knows no lock: what it saved between reading and renaming stays, and the run says that it should be repeated."""
    path = tmp_path / "file"
    path.write_text("K=0\nN=0\n")
    with _write._place(str(path), str(tmp_path / "state"), check=False) as place:
        found = place.load(str(path))
        path.write_text("K=0\nN=1\n")
        with pytest.raises(RunbookError, match=r"changed by another program meanwhile\. Run again"):
            place.save(str(path), "K=1\nN=0\n", found, expected=found)
        path.unlink()
        with pytest.raises(RunbookError, match="meanwhile"):
            place.save(str(path), "K=1\nN=0\n", found, expected=found)
        path.write_text("K=0\nN=2\n")
        with pytest.raises(RunbookError, match="meanwhile"):
            place.save(str(path), "K=1\n", None, expected=None)
    assert path.read_text() == "K=0\nN=2\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "state"]


def test_a_name_of_another_run_s_part_is_swept_and_that_of_others_is_not(tmp_path):
    path = tmp_path / "file"
    path.write_text("K=old\n")
    for name in (".file.1.partial", ".file.previous.22.partial", ".file2.1.partial", ".file.x.partial"):
        (tmp_path / name).write_text("K=secret\n")
    _write.set_variable(str(path), "K", "new", state_dir=str(tmp_path / "state"))
    assert sorted(each.name for each in tmp_path.glob(".*")) == [".file.x.partial", ".file2.1.partial"]
    with contextlib.suppress(FileNotFoundError):
        (tmp_path / "file.previous").unlink()
