# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.secret_scan called in this process, with the real detect-secrets, over credentials that are nobody's."""

from __future__ import annotations

import base64
import json
import random
import string
import sys
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import secret_scan

CHECKOUT = Path(__file__).resolve().parents[3]
PROGRAM = str(Path(sys.executable).with_name("detect-secrets"))
# Without them no draw spells "fake" or "xxxx", which make a value an example.
SPELLING = "AEIOUXaeioux"
LETTERS = "".join(each for each in string.ascii_letters + string.digits if each not in SPELLING)
UPPER = "".join(each for each in string.ascii_uppercase + "234567" if each not in SPELLING)


def value(length=24, alphabet=LETTERS):
    """A made-up secret with letters of both cases and digits; it does not begin as the keys of some provider do."""
    body = random.choice("QZ") + "".join(random.choice(alphabet) for _each in range(length - 4))
    return f"{body}{random.choice('QXZ')}{random.choice('789')}{'K' if alphabet is UPPER else 'k'}"


def private_key(kind="RSA"):
    lines = "\n".join(value(64) for _each in range(5))
    return f"-----BEGIN {kind} PRIVATE KEY-----\n{lines}\n-----END {kind} PRIVATE KEY-----\n"


def web_token():
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": value(10), "exp": 1})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return f"{'.'.join(encoded)}.{value(43)}"


@pytest.fixture
def run(capsys, tmp_path):
    """Scan `paths` and return the result, outcomes also by subject; what stands in it is shown by no value of `hidden`."""

    def go(*paths, check=False, write_baseline=False, show=200, timeout=300, program=PROGRAM, engine="auto", **scan):
        entry = {"name": "x", "paths": [str(each) for each in paths], **scan}
        given = {
            "scans": [entry],
            "state_dir": str(tmp_path / "state"),
            "show": show,
            "timeout": timeout,
            "engine": engine,
        }
        given.update(_ansible_check_mode=check, write_baseline=write_baseline)
        if program:
            given["program"] = str(program)
        with patch_module_args(given), pytest.raises(SystemExit):
            secret_scan.main()
        result = json.loads(capsys.readouterr().out)
        for outcome in result.get("outcomes", ()):
            result[outcome["subject"]] = outcome
        return result

    return go


def found(result):
    """What was found, as {(name of the file, line): kind}."""
    return {
        (Path(each["file"]).name, each["line"]): each["kind"] for each in result["secrets:x"]["details"]["findings"]
    }


@pytest.fixture
def tree(tmp_path):
    """An empty folder to plant in."""
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder
