# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.env_file called in this process, and the programs that read what it writes."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import dotenv
import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import env_file

CHECKOUT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")}


@pytest.fixture
def run(capsys, tmp_path):
    """Call the module with `options` and return its result."""

    def go(check=False, diff=False, **options):
        given = {"state_dir": str(tmp_path / "state"), "_ansible_check_mode": check, "_ansible_diff": diff, **options}
        with patch_module_args(given), pytest.raises(SystemExit):
            env_file.main()
        return json.loads(capsys.readouterr().out)

    return go


def shell(program, path):
    """What a shell has in its environment after it has read `path`."""
    script = 'set -a; . "$0" && exec env -0'
    done = subprocess.run(
        [program, "-c", script, str(path)], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True
    )
    assert not done.stderr, done.stderr
    return dict(each.split("=", 1) for each in done.stdout.decode().split("\0") if each)


def systemd(path):
    """What systemd makes of `path` as an EnvironmentFile: its own function, `load_env_file`, in its own library."""
    (library, *_more) = [
        *Path("/usr/lib/systemd").glob("libsystemd-shared-*.so"),
        *Path("/usr/lib").glob("*/systemd/libsystemd-shared-*.so"),
    ]
    load = ctypes.CDLL(str(library)).load_env_file
    load.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.POINTER(ctypes.c_char_p))]
    found: Any = ctypes.POINTER(ctypes.c_char_p)()
    assert load(None, os.fsencode(path), ctypes.pointer(found)) == 0
    entries = []
    # A null pointer is what an empty file gives; so is the end of the list.
    while ctypes.cast(found, ctypes.c_void_p).value and (entry := found[len(entries)]):
        entries.append(entry.decode())
    return dict(each.split("=", 1) for each in entries)


def readers(path):
    """Each reader of environment files with what it reads."""
    return {
        "dash": shell("dash", path),
        "bash": shell("bash", path),
        "systemd": systemd(path),
        "python-dotenv": dotenv.dotenv_values(path),
    }
