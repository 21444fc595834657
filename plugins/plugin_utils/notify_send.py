# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start the program that sends messages, and end it when its time is over (I6)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

SENDER = Path(__file__).with_name("notify_sender.py")
GRACE_SECONDS = 15
"""How long the program may take beside its time limit, to start and to end."""

NO_ANSWER = {"ok": False, "reason": "did not answer within the time limit", "attempts": 1}
BACKOFF_SECONDS = 1.0

Answer = dict[str, t.Any]


class LibraryMissing(RunbookError):
    """Apprise is not installed where ansible-playbook runs."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Notifications need the Python package apprise, which cannot be used here ({reason}). "
            "Install the collection's requirements.txt for the Python that runs ansible-playbook, or leave runbooks_contacts empty."
        )


def send(targets: Sequence[Mapping[str, t.Any]], timeout: float, time_limit: float, attempts: int) -> dict[str, Answer]:
    """Check the URL of each of `targets` and send its messages; return what became of each by the id of target or message.

    Never takes longer than `time_limit` seconds and a little. Raises LibraryMissing.
    """
    work = {
        "targets": list(targets),
        "timeout": timeout,
        "time_limit": time_limit,
        "attempts": attempts,
        "backoff": BACKOFF_SECONDS,
    }
    output = _run(json.dumps(work), time_limit + GRACE_SECONDS)
    answers: dict[str, Answer] = {}
    for line in output.splitlines():
        with contextlib.suppress(ValueError):
            answer = json.loads(line)
            answers[str(answer.pop("id"))] = answer
    missing = answers.get("library")
    if missing is not None:
        raise LibraryMissing(str(missing["reason"]))
    ids = [each["id"] for target in targets for each in (target, *target["messages"])]
    return {name: answers.get(name, dict(NO_ANSWER)) for name in ids}


def _run(work: str, limit: float) -> str:
    # -P: the folder of the program holds modules whose names others use too. A group of its own: what it starts ends with it.
    process = subprocess.Popen(  # noqa: S603 - no shell, nothing of the user's
        [sys.executable, "-P", str(SENDER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A traceback of a library could show an address.
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        return process.communicate(work, timeout=limit)[0]
    except subprocess.TimeoutExpired:
        _end(process)
        return process.communicate()[0]
    except BaseException:
        _end(process)
        process.wait()
        raise


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
