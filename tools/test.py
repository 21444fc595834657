# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every part of `make test`, in groups whose lanes run side by side, and say how each went.

A part is a target of the Makefile. Its output goes to `.work/log/<part>.log`; its end is printed when the part fails; of
a part that passed only pytest's closing lines are. A failing part does not stop the others, but those that need it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".work" / "log"

# Group after group; in a group the lanes run at the same time, each one part after another. What uses both cores by itself
# runs alone; Molecule mostly waits for its hosts.
GROUPS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("lint",), ("image", "demo", "sanity", "unit")),
    (("integration",),),
    (("molecule",), ("latest",)),
)
NEEDS = {"molecule": "image"}
# What failed stands at the end of a log, and records of continuous integration keep only so much.
TAIL_LINES = 250
PYTEST_CLOSING = re.compile(r"^(=+ )?\d+ (passed|failed|error)\b.* in [\d.]+s.*$")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Result:
    """What became of a part: `log` is its whole output, `seconds` its wall time."""

    part: str
    status: int
    seconds: float
    log: str

    def tail(self) -> str:
        """Return the end of the output, without colour."""
        return "\n".join(COLOUR.sub("", self.log).splitlines()[-TAIL_LINES:])

    def closing_lines(self) -> list[str]:
        """Return pytest's closing lines in the output, without colour."""
        lines = (COLOUR.sub("", line).strip() for line in self.log.splitlines())
        return [line for line in lines if PYTEST_CLOSING.match(line)]


class Run:
    """The results so far; lanes report from threads of their own."""

    def __init__(self) -> None:
        self.results: dict[str, Result] = {}
        self._printing = threading.Lock()

    def part(self, name: str) -> None:
        """Run one part to its end and print how it went."""
        started = time.monotonic()
        needed = self.results.get(NEEDS.get(name, ""))
        if needed and needed.status != 0:
            result = Result(name, 1, 0.0, f"not run: it needs {needed.part}, which failed\n")
        else:
            log = LOGS / f"{name}.log"
            with log.open("wb") as stream:
                command = ["make", "--no-print-directory", name]
                done = subprocess.run(
                    command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False
                )
            output = log.read_text(encoding="utf-8", errors="replace")
            result = Result(name, done.returncode, time.monotonic() - started, output)
        self.results[name] = result
        with self._printing:
            print(f"{name:<12} {'ok' if result.status == 0 else 'FAILED':<7} {result.seconds:6.0f} s", flush=True)
            if result.status != 0:
                print(result.tail(), flush=True)

    def lane(self, names: tuple[str, ...]) -> None:
        """Run parts one after another."""
        for name in names:
            self.part(name)

    def group(self, lanes: tuple[tuple[str, ...], ...]) -> None:
        """Run lanes side by side; return when all have ended."""
        threads = [threading.Thread(target=self.lane, args=(lane,)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def have_latest() -> bool:
    """Return whether this machine has the Python that the newest ansible-core is tested on."""
    return subprocess.run(["tools/find-python", "3.13"], cwd=ROOT, check=False, capture_output=True).returncode == 0


def main() -> int:
    """Run all; return 1 when a part failed."""
    LOGS.mkdir(parents=True, exist_ok=True)
    run = Run()
    for lanes in GROUPS:
        if lanes == (("latest",),) and not have_latest():
            print("latest: this machine has no Python 3.13; ansible-core of the virtual environment was tested alone")
            continue
        run.group(lanes)
    print()
    for result in run.results.values():
        for line in result.closing_lines():
            print(f"{result.part}:\n{line}")
    failed = [name for name, result in run.results.items() if result.status != 0]
    print(f"\nFailed: {', '.join(failed)}" if failed else "\nEverything passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
