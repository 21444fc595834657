# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""B7 and B8: a backup with checksum and manifest beside what a user would type, and beside what else there is.

B7: a PostgreSQL database; `pg_dump | zstd -T0`, the module community.postgresql.postgresql_db (a whole process, as ours) and
borgmatic into a new repository. B8: a SQLite file that a process writes to; `sqlite3 .backup`, then `zstd -T0`. Both lie on the
checkout's disk; each thing is done in turn, so that a busy moment of the machine hits all alike. `proof` is the same backup restored
and compared, for which a user has no peer. BENCH_POSTGRESQL_MB and BENCH_SQLITE_MB make them smaller for a try.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
POSTGRESQL_MB = int(os.environ.get("BENCH_POSTGRESQL_MB", "1400"))
SQLITE_MB = int(os.environ.get("BENCH_SQLITE_MB", "1000"))
CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / ".work/lab/benchmarks/backup"
BOUNDS = {"B7": 1.15, "B8": 1.15}
# `sqlite3 .backup` begins anew when somebody writes between two of its steps; faster writers than this never let it end.
WRITE_SECONDS = float(os.environ.get("BENCH_WRITE_SECONDS", "5"))
WRITER = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
while True:
    database.execute("INSERT INTO events (customer, text) VALUES (1, 'written meanwhile')")
    print("written", flush=True)
    time.sleep(float(sys.argv[2]))
"""
# About 210 bytes a row; what compresses and what does not, in the proportion of business data.
ROW = "'order ' || {id} || ' of customer ' || ({id} % 1000) || ': ' || {hash} || '{filler}'"
FILLER = " shipped to the usual address by the usual carrier, to be paid within thirty days of the date of the invoice"
ROW_BYTES = {"postgresql": 214, "sqlite": 175}


@contextlib.contextmanager
def server() -> Iterator[dict[str, str]]:
    """A cluster with the defaults of initdb and a database of the wanted size; yields the environment of its clients."""
    bindir = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))[-1]
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    # Under /tmp, for the account cannot enter the checkout, and the path of a socket is short.
    folder = Path("/tmp") / f"bench-{secrets.token_hex(4)}"
    folder.mkdir()
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
    identity: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
    environment = {**os.environ, "PGHOST": str(folder), "PGPORT": "54399", "PGUSER": "bench", "PGDATABASE": "bench"}
    try:
        must(
            [f"{bindir}/initdb", "-D", f"{folder}/data", "-U", "bench", "--auth=trust", "--locale=C.UTF-8"],
            cwd=folder,
            **identity,
        )
        argv = [
            f"{bindir}/postgres",
            "-D",
            f"{folder}/data",
            "-k",
            str(folder),
            "-c",
            "listen_addresses=",
            "-p",
            "54399",
        ]
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=INT", *argv],
            cwd=folder,
            stderr=subprocess.DEVNULL,
            **identity,
        )
        try:
            while subprocess.run(["pg_isready", "-q"], env=environment, check=False).returncode:
                if process.poll() is not None:
                    sys.exit("B7: the server did not start")
                time.sleep(0.1)
            must(["createdb", "bench"], env=environment)
            fill(environment)
            yield environment
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
    finally:
        shutil.rmtree(folder)


def fill(environment: dict[str, str]) -> None:
    """Ten tables of equal size with a primary key, a foreign key and an index each."""
    rows = POSTGRESQL_MB * 1_000_000 // 10 // ROW_BYTES["postgresql"]
    text = ROW.format(id="n", hash="left(md5(n::text), 8)", filler=FILLER)
    script = "CREATE TABLE customers AS SELECT n AS id, 'customer ' || n AS name FROM generate_series(0, 999) n;"
    script += "ALTER TABLE customers ADD PRIMARY KEY (id);"
    for number in range(10):
        script += (
            f"CREATE TABLE orders_{number} AS SELECT n AS id, n % 1000 AS customer, {text} AS text "
            f"FROM generate_series(1, {rows}) n;"
            f"ALTER TABLE orders_{number} ADD PRIMARY KEY (id), ADD FOREIGN KEY (customer) REFERENCES customers;"
        )
    must(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-c", script + "CHECKPOINT; ANALYZE"], env=environment)


@contextlib.contextmanager
def sqlite() -> Iterator[Path]:
    """A file in WAL mode that a process writes to."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "bench.db"
    clear(path)
    rows = SQLITE_MB * 1_000_000 // ROW_BYTES["sqlite"]
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=OFF")
        database.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, customer INTEGER, text TEXT)")
        # A hash that SQLite has itself: a multiplication by a prime.
        text = ROW.format(id="n", hash="printf('%08x', n * 2654435761 % 4294967296)", filler=FILLER)
        database.execute(
            f"WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < {rows}) "
            f"INSERT INTO events SELECT n, n % 1000, {text} FROM count"
        )
        database.commit()
        database.execute("CREATE INDEX events_customer ON events (customer)")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path, str(WRITE_SECONDS)], stdout=subprocess.PIPE)
    try:
        if writer.stdout is None or not writer.stdout.readline():
            sys.exit("B8: the writer did not start")
        threading.Thread(target=writer.stdout.read, daemon=True).start()
        os.sync()
        yield path
    finally:
        writer.kill()
        writer.wait()
        clear(path)


class Ours:
    """The module as a whole process; `peak` is the most memory that it had itself, in KiB."""

    def __init__(self, source: dict[str, object], environment: dict[str, str] | None = None) -> None:
        self.source, self.environment, self.peak = source, environment or dict(os.environ), 0

    def __call__(self, level: str) -> None:
        given = {"directory": str(FOLDER / "copies"), "verify": level, "sources": [self.source]}
        process = subprocess.Popen(
            [sys.executable, CHECKOUT / "plugins/modules/backup.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**self.environment, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
        )
        watch = threading.Thread(target=self._watch, args=(process.pid,))
        watch.start()
        answer = process.communicate(json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())[0]
        watch.join()
        if process.returncode or json.loads(answer)["status"] != "ok":
            sys.exit(f"the backup failed: {answer[:2000]!r}")

    def _watch(self, pid: int) -> None:
        with contextlib.suppress(OSError):
            while peak := [
                int(line.split()[1])
                for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
                if line.startswith("VmHWM:")
            ]:
                self.peak = max(self.peak, *peak)
                time.sleep(0.02)


def shell(script: str, environment: dict[str, str] | None = None) -> Callable[[], object]:
    return lambda: must(["bash", "-c", f"set -o pipefail; {script}"], env=environment)


def postgresql_db(environment: dict[str, str]) -> None:
    """The module with its defaults for a compressed dump."""
    given = {
        "name": "bench", "state": "dump", "target": str(FOLDER / "dump.sql.gz"), "login_user": "bench",
        "login_unix_socket": environment["PGHOST"], "port": 54399,
    }  # fmt: skip
    program = "from ansible_collections.community.postgresql.plugins.modules import postgresql_db; postgresql_db.main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": given}),
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"postgresql_db failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def borgmatic_ready() -> bool:
    """Write its settings; False, with a word, where one of its programs is not installed."""
    missing = [name for name in ("borgmatic", "borg") if not shutil.which(name)]
    if missing:
        print(f"B7: {' and '.join(missing)} missing; `make setup packages` installs both", file=sys.stderr)
        return False
    settings = {
        "repositories": [{"path": str(FOLDER / "borg")}],
        "encryption_passcommand": "true",
        "compression": "zstd,3",
        "unknown_unencrypted_repo_access_is_ok": True,
        "user_runtime_directory": str(FOLDER),
        "borg_base_directory": str(FOLDER / "borg-base"),
        # The connection comes from the environment: a folder as its host would become part of a path. borg compresses.
        "postgresql_databases": [{"name": "bench", "compression": 0}],
    }
    (FOLDER / "borgmatic.yaml").write_text(json.dumps(settings), encoding="ascii")
    return True


def borgmatic_new() -> None:
    for name in ("borg", "borg-base"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    must(["borgmatic", "--config", FOLDER / "borgmatic.yaml", "repo-create", "--encryption", "none"])


def measure(works: dict[str, Callable[[], object]], prepare: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Do each once a round, each from the same state: nothing of the last one's is there, and nothing waits for the disk."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(ROUNDS + 1):
        for name in sorted(works, reverse=bool(number % 2)):
            shutil.rmtree(FOLDER / "copies", ignore_errors=True)
            prepare.get(name, lambda: None)()
            os.sync()
            began = time.monotonic()
            works[name]()
            seconds = time.monotonic() - began
            print(f"round {number} {name}: {seconds:.2f} s", file=sys.stderr, flush=True)
            # The first round fills caches and is not counted.
            if number:
                times[name].append(seconds)
    return times


def show(wanted: list[str] | None = None) -> bool:
    """Measure and print a line for each figure."""
    good = True
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        if not wanted or "B7" in wanted:
            good &= _postgresql()
        if not wanted or "B8" in wanted:
            good &= _sqlite()
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    return good


def _postgresql() -> bool:
    with server() as environment:
        size = must(["psql", "-AtX", "-c", "SELECT pg_database_size('bench')"], env=environment)
        source = {
            "name": "bench",
            "engine": "postgresql",
            "host": environment["PGHOST"],
            "port": 54399,
            "user": "bench",
        }
        ours = Ours(source, environment)
        works = {
            "backup": lambda: ours("checksum"),
            "pg_dump | zstd": shell(f"pg_dump bench | zstd -T0 -q -f -o {FOLDER}/dump.zst", environment),
            "postgresql_db": lambda: postgresql_db(environment),
            "backup, restored and compared": lambda: ours("restored"),
        }
        if borgmatic_ready():
            works["borgmatic"] = lambda: must(
                ["borgmatic", "--config", FOLDER / "borgmatic.yaml", "create"], env=environment
            )
        times = measure(works, {"borgmatic": borgmatic_new})
    what = (
        f"backup of a PostgreSQL database of {int(size) / 1e6:,.0f} MB with checksum and manifest / pg_dump | zstd -T0"
    )
    return tell("B7", what, times, "pg_dump | zstd", ours.peak)


def _sqlite() -> bool:
    with sqlite() as path:
        ours = Ours({"name": "bench", "engine": "sqlite", "path": str(path)})
        copy = FOLDER / "copy.db"
        works = {
            "backup": lambda: ours("checksum"),
            "sqlite3 .backup; zstd": shell(f"sqlite3 {path} '.backup {copy}' && zstd -T0 -q -f {copy} && rm {copy}"),
            "backup, restored and compared": lambda: ours("restored"),
        }
        size = path.stat().st_size
        times = measure(works, {"sqlite3 .backup; zstd": lambda: clear(copy)})
    what = f"backup of a SQLite file of {size / 1e6:,.0f} MB under writes / sqlite3 .backup, then zstd -T0"
    return tell("B8", what, times, "sqlite3 .backup; zstd", ours.peak)


def tell(name: str, what: str, times: dict[str, list[float]], divisor: str, peak_kib: int) -> bool:
    medians = {each: statistics.median(figures) for each, figures in times.items()}
    figure = medians["backup"] / medians[divisor]
    line = {
        "id": name,
        "figure": round(figure, 3),
        "bound": f"<= {BOUNDS[name]:g}",
        "ok": figure <= BOUNDS[name],
        "unit": "ratio",
        "what": what,
        "medians_seconds": {each: round(value, 2) for each, value in medians.items()},
        "runs_seconds": {each: [round(value, 2) for value in runs] for each, runs in times.items()},
        "peak_mib": round(peak_kib / 1024, 1),
    }
    print(json.dumps(line), flush=True)
    return figure <= BOUNDS[name]


def must(argv: list[Any], **options: Any) -> str:
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{' '.join(str(part) for part in argv)[:300]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return str(done.stdout).strip()


def clear(path: Path) -> None:
    for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}-journal"), Path(f"{path}.zst")):
        each.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(0 if show(sys.argv[1:]) else 1)
