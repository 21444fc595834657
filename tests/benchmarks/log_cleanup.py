# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""B6: log_cleanup of 1,000,000 files, half of them old, beside `find -delete` on an identical tree.

Both delete what is older than 30 days, each from a tree made just before and synced, in turn who begins. Each tree lies on a new ext4
file system in a file of the checkout's disk: a used one takes minutes to make a million files on, and longer each time. The
module is a whole process, as Ansible runs it on a host; its peak memory is told as well. Needs root, to mount.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
FILES = int(os.environ.get("BENCH_FILES", "1000000"))
FOLDERS = int(os.environ.get("BENCH_FOLDERS", "100"))
CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / ".work/lab/benchmarks/log_cleanup"
BOUND = 1.3
DAYS = 30


@contextlib.contextmanager
def file_system() -> Iterator[Path]:
    """A new file system with room for the files; it is gone afterwards."""
    mounted, image = FOLDER / "mounted", FOLDER / "image"
    mounted.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as stream:
        stream.truncate(FILES * 4096 + FILES * 256 + (1 << 30))
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", "-N", str(FILES + 10_000), str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=True)
        try:
            yield mounted
        finally:
            subprocess.run(["umount", str(mounted)], check=True)
    finally:
        image.unlink()


def make(tree: Path) -> None:
    """Small logs, every other of them old."""
    old = time.time() - 2 * DAYS * 86400
    for folder in range(FOLDERS):
        path = tree / f"service-{folder:03}"
        path.mkdir(parents=True)
        descriptor = os.open(path, os.O_RDONLY)
        for number in range(FILES // FOLDERS):
            file = os.open(f"service-{number:07}.log", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=descriptor)
            os.write(file, b"a line of a log\n")
            if number % 2:
                os.utime(file, (old, old))
            os.close(file)
        os.close(descriptor)


def ours(tree: Path) -> int:
    """Run the module; return its peak memory in MiB."""
    policy = {
        "name": "old",
        "paths": [str(tree)],
        "patterns": ["*.log"],
        "recurse": True,
        "older_than": f"{DAYS}d",
        "action": "delete",
    }
    given = {"policies": [policy], "limits": {"files": FILES}, "state_dir": str(FOLDER / "state")}
    process = subprocess.Popen(
        [sys.executable, str(CHECKOUT / "plugins/modules/log_cleanup.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
    )
    if process.stdin is None or process.stdout is None:
        sys.exit("B6: no pipes")
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
    process.stdin.close()
    answer = process.stdout.read()
    _pid, status, usage = os.wait4(process.pid, 0)
    if status or json.loads(answer)["outcomes"][0]["metrics"]["files"] != FILES // 2:
        sys.exit(f"B6: log_cleanup failed: {answer[:2000]!r}")
    return usage.ru_maxrss >> 10


def peer(tree: Path) -> int:
    subprocess.run(["find", tree, "-type", "f", "-name", "*.log", "-mtime", f"+{DAYS}", "-delete"], check=True)
    return 0


def measure() -> tuple[dict[str, list[float]], int]:
    work = {"log_cleanup": ours, "find": peer}
    times: dict[str, list[float]] = {name: [] for name in work}
    peak = 0
    for number in range(ROUNDS):
        for name in sorted(work, reverse=bool(number % 2)):
            with file_system() as mounted:
                tree = mounted / "logs"
                make(tree)
                os.sync()
                began = time.monotonic()
                peak = max(peak, work[name](tree))
                times[name].append(time.monotonic() - began)
            print(f"round {number + 1} {name}: {times[name][-1]:.2f} s", file=sys.stderr, flush=True)
    return times, peak


def show() -> bool:
    """Measure and print the line."""
    times, peak = measure()
    medians = {name: statistics.median(figures) for name, figures in times.items()}
    figure = medians["log_cleanup"] / medians["find"]
    line = {
        "id": "B6",
        "figure": round(figure, 3),
        "bound": f"<= {BOUND:g}",
        "ok": figure <= BOUND,
        "unit": "ratio",
        "what": f"log_cleanup of {FILES:,} files in {FOLDERS} folders, half old / find -delete",
        "medians_seconds": {name: round(value, 2) for name, value in medians.items()},
        "runs_seconds": {name: [round(value, 2) for value in figures] for name, figures in times.items()},
        "peak_mib": peak,
    }
    print(json.dumps(line), flush=True)
    return figure <= BOUND


if __name__ == "__main__":
    sys.exit(0 if show() else 1)
