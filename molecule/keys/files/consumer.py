# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of a unit: consumer.py URL FILE. It calls with the key of its environment, and writes down each answer.

A line is the answer's status, or 0 where there was none, and the fingerprint of the key it was called with.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import urllib.error
import urllib.request
from typing import IO

PAUSE = 0.1


def answer(url: str, key: str) -> int:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def call(url: str, key: str, name: str, log: IO[str]) -> None:
    fingerprint = hashlib.sha256(f"{name}:{key}".encode()).hexdigest()[:12]
    while True:
        log.write(f"{answer(url, key)} {fingerprint}\n")
        log.flush()
        time.sleep(PAUSE)


if __name__ == "__main__":
    with open(sys.argv[2], "a", encoding="ascii") as stream:
        call(sys.argv[1], os.environ["API_KEY"], os.environ["KEY_NAME"], stream)
