# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make on a lab host what B9 measures the modules with."""

import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import time

ROOT = pathlib.Path("/var/tmp/large")
MIB = 2**20
OLD = time.time() - 30 * 86400


def blob() -> None:
    with (ROOT / "blob").open("wb") as file:
        for _number in range(1024):
            file.write(os.urandom(MIB // 2) + bytes(MIB // 2))
    os.utime(ROOT / "blob", (OLD, OLD))


def logs() -> None:
    folder = ROOT / "logs"
    folder.mkdir()
    for number in range(200_000):
        path = folder / f"service-{number:06}.log"
        path.write_bytes(b"a line of a log\n")
        os.utime(path, (OLD, OLD))


def lines() -> None:
    """A gigabyte of lines that all match a rule, each with a first word of its own."""
    with (ROOT / "lines.log").open("w", encoding="ascii") as file:
        for number in range(10_000_000):
            file.write(f"client{number} 2026-11-20T09:00:00Z ERROR request id={number} {'x' * 45}\n")


def sqlite() -> None:
    with sqlite3.connect(ROOT / "large.db") as connection:
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)")
        rows = ((number, f"row {number} " + "x" * 180) for number in range(5_000_000))
        connection.executemany("INSERT INTO rows VALUES (?, ?)", rows)


def postgresql() -> None:
    run = ["runuser", "--user=postgres", "--"]
    subprocess.run([*run, "dropdb", "--if-exists", "large"], check=True)
    subprocess.run([*run, "createdb", "large"], check=True)
    rows = "CREATE TABLE rows AS SELECT id, 'row ' || id || repeat('x', 180) AS text FROM generate_series(1, 4000000) AS id"
    subprocess.run([*run, "psql", "--quiet", "--dbname=large", f"--command={rows}"], check=True)


def catalogue() -> None:
    """3,000 copies with their manifests, in the form that the module backup gives them."""
    for source in range(30):
        folder = ROOT / "catalogue" / f"source{source}"
        folder.mkdir(parents=True)
        for day in range(100):
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - day * 86400))
            name = f"source{source}_{stamp}.sqlite.zst"
            content = name.encode()
            (folder / name).write_bytes(content)
            manifest = {
                "format": 1,
                "name": f"source{source}",
                "engine": "sqlite",
                "file": name,
                "size_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "figures": {},
                "verifications": [{"level": "restored", "ok": True, "time": "2026-11-20T09:00:00Z"}],
            }
            (folder / f"{name}.manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


shutil.rmtree(ROOT, ignore_errors=True)
ROOT.mkdir()
pathlib.Path("/var/tmp/peaks.jsonl").unlink(missing_ok=True)
for make in (blob, logs, lines, sqlite, postgresql, catalogue):
    make()
