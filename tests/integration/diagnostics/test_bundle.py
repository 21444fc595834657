# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a bundle holds, that nothing else is changed, and that no secret is in it (I4)."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

CANARIES = {
    "option": "Canary-0ption-7f3a",
    "envfile": "Canary/envfile+9c2d&x",
    "url": "CanaryUrl4b1e",
    "keyvalue": "CanaryKeyValue55aa",
    "bearer": "CanaryBearer.tok3n-77",
    "json": "CanaryJson-31cc",
    "argv": "CanaryArgv-88ee",
    "pattern": "CUST-4711-CANARY",
    "private": "MIIEvCanaryPrivateKeyBody0123456789abcdefghijklmn",
    "sql": "CanarySql-9d9d",
}


def test_every_part_is_in_the_index_with_its_sum_and_the_summary_comes_first(bundle, tmp_path):
    log = tmp_path / "app.log"
    log.write_text("first\nlast\n")
    made = bundle(incident="INC-20261121-130000-1f2e", logs=[str(log)], paths=[str(tmp_path)])
    assert made.names[:2] == ["summary.md", "manifest.json"]
    assert made.path.name.startswith("diagnostics_INC-20261121-130000-1f2e_2026"[:37])
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.path.parent.stat().st_mode & 0o777 == 0o700
    assert bundle.result["bundle"]["sha256"] == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert set(made.names) == {"summary.md", "manifest.json", *made.parts}
    for name, part in made.parts.items():
        content = (made.folder / name).read_bytes()
        assert part["size_bytes"] == len(content)
        assert part["sha256"] == hashlib.sha256(content).hexdigest()
        assert part["seconds"] >= 0
    collectors = made.manifest["collectors"]
    assert {"processes", "resources", "sockets", "services", "journal", "logs", "kernel", "network", "changes"} == set(
        collectors
    )
    assert made.text(f"logs{log}") == "first\nlast\n"
    resources = json.loads(made.text("resources/resources.json"))
    assert resources["memory"]["total"] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    own = next(row for row in made.rows("processes/processes.jsonl") if row["pid"] == os.getpid())
    assert own["open_files"] > 0
    assert "127.0.0.1" in made.text("network/addresses.txt")
    assert str(log) in made.text("changes/files.txt")
    assert "memory" in made.text("summary.md")


def test_only_what_is_asked_for_and_nothing_else_on_the_host_changes(bundle, tmp_path):
    watched = tmp_path / "etc"
    watched.mkdir()
    (watched / "app.conf").write_text("x\n")
    os.utime(watched / "app.conf", (1, 1))
    before = {path: path.lstat() for path in watched.rglob("*")}
    made = bundle(collect=["resources", "changes"], paths=[str(watched)])
    assert set(made.manifest["collectors"]) == {"resources", "changes"}
    assert {path: path.lstat() for path in watched.rglob("*")} == before
    assert not list((tmp_path / "state").rglob("*"))


def test_check_mode_says_what_it_would_collect_and_makes_nothing(run, tmp_path):
    log = tmp_path / "app.log"
    log.write_text("x\n")
    database = {"name": "app", "engine": "sqlite", "path": str(tmp_path / "app.db")}
    result = run(_ansible_check_mode=True, logs=[str(tmp_path / "*.log")], units=["app"], databases=[database])
    would = result["outcomes"][0]["details"]["collect"]
    assert result["changed"]
    assert would["logs"] == [str(log)]
    assert would["services"] == ["app.service", "failed units"]
    assert would["sqlite"] == [str(tmp_path / "app.db")]
    assert not (tmp_path / "bundles").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"redact": ["(unclosed"]}, "redact[0]: '(unclosed' is no regular expression"),
        ({"incident": "../x"}, "incident: '../x' is no name"),
        ({"since": "yesterday"}, "since: 'yesterday' is no duration"),
        ({"limits": {"bytes": "1KiB"}}, "limits.bytes: '1KiB' leaves no room"),
        ({"directory": "/tmp"}, "directory: '/tmp' may be written to by others"),
        ({"units": ["--all"]}, "units: '--all' is no name"),
        ({"baseline": "save"}, "health: None is not given"),
        ({"env_files": ["/nowhere.env"]}, "env_files: /nowhere.env: No such file"),
        ({"databases": [{"name": "x", "engine": "resources"}]}, "databases.x.engine: 'resources' is no engine"),
        ({"collect": ["everything"]}, "value of collect must be one or more of"),
        ({"logs": ["app.log"]}, "logs: 'app.log' is no absolute path"),
    ],
)
def test_bad_input_is_refused_with_option_value_and_remedy(run, tmp_path, options, told):
    result = run(**options)
    assert result["failed"]
    assert told in result["msg"]
    assert not list(tmp_path.iterdir())


@pytest.fixture
def secrets_everywhere(tmp_path):
    """A log, a rotated log, an environment file and a process that are full of canaries; gives the options."""
    log = tmp_path / "app.log"
    lines = [
        f"connecting with {CANARIES['option']} at last",
        f"DATABASE_URL=postgresql://app:{CANARIES['url']}@db/app",
        f'{{"password": "{CANARIES["json"]}", "level": "info"}}',
        f"Authorization: Bearer {CANARIES['bearer']}",
        f"api_key={CANARIES['keyvalue']} used",
        f"customer {CANARIES['pattern']} called",
        f"ALTER USER app PASSWORD '{CANARIES['sql']}'",
        "-----BEGIN PRIVATE KEY-----",
        CANARIES["private"],
        "-----END PRIVATE KEY-----",
        "the line after the key",
    ]
    log.write_text("\n".join(lines) + "\n")
    # Bare values, where no pattern finds them, in a part that is read before the one that tells what they are.
    with gzip.open(tmp_path / "app.log.1.gz", "wt") as old:
        old.write("".join(f"old {value} here\n" for name, value in CANARIES.items() if name not in ("private",)))
    env = tmp_path / "app.env"
    env.write_text(f"export APP_SECRET='{CANARIES['envfile']}'\nMODE=production\n")
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / f"dump-{CANARIES['option']}.sql").write_text("x")
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time; time.sleep(60)",
            "--db-password",
            CANARIES["argv"],
            "--token=" + CANARIES["keyvalue"],
        ],
        env={**os.environ, "APP_SECRET": CANARIES["envfile"]},
    )
    yield {
        "logs": [str(log)], "env_files": [str(env)], "secrets": [CANARIES["option"]], "redact": [r"customer (\S+)"],
        "paths": [str(tmp_path / "named")],
        "databases": [{"name": "app", "engine": "postgresql", "host": "127.0.0.1", "port": 1, "user": "x", "password": CANARIES["option"]}],
    }  # fmt: skip
    process.kill()
    process.wait()


def test_no_canary_is_in_the_bundle_or_the_result_and_the_same_value_has_the_same_mark(
    run, bundle, secrets_everywhere, tmp_path
):
    made = bundle(**secrets_everywhere)
    for name, value in CANARIES.items():
        assert value.encode() not in made.plain, f"{name} is in the bundle"
        assert value not in run.text, f"{name} is in the result"
    assert CANARIES["envfile"].replace("/", "%2F").replace("+", "%2B").replace("&", "%26").encode() not in made.plain
    assert b"PrivateKeyBody" not in made.plain
    # The harmless is still there.
    log = made.text(f"logs{tmp_path}/app.log")
    assert "the line after the key" in log
    assert '"level": "info"' in log
    assert "DATABASE_URL=postgresql://app:<secret-" in log
    # One mark for one value, in logs, in archives, in command lines and in names of files.
    mark = log.splitlines()[0].split()[2]
    assert mark.startswith("<secret-")
    old = dict(zip(CANARIES, made.text(f"logs{tmp_path}/app.log.1.gz").splitlines(), strict=False))
    assert old["option"] == f"old {mark} here"
    assert old["keyvalue"].split()[1] == log.splitlines()[4].split()[0].partition("=")[2]
    assert f"dump-{mark}.sql" in made.text("changes/files.txt")
    row = next(row for row in made.rows("processes/processes.jsonl") if "--db-password" in row["command"])
    assert old["argv"].split()[1] == row["command"].split("--db-password ")[1].split()[0]
    assert row["command"].endswith(f"--token={old['keyvalue'].split()[1]}")
    assert made.manifest["secrets_removed"] >= len(CANARIES) - 1


def test_without_zstd_the_bundle_is_made_by_python(bundle, monkeypatch):
    which = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, *more, **named: None if name == "zstd" else which(name, *more, **named)
    )
    made = bundle(collect=["kernel"])
    assert made.path.name.endswith(".tar.gz")
    assert "kernel/system.txt" in made.names


def test_rotated_logs_of_the_time_are_there_and_links_are_not_followed(bundle, tmp_path):
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "shadow").write_text("root:hash\n")
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "app.log").write_text("new\n")
    (logs / "app.log.1").write_text("before\n")
    (logs / "app.log.2").write_text("long ago\n")
    os.utime(logs / "app.log.2", (time.time() - 90000,) * 2)
    (logs / "link.log").symlink_to(secret / "shadow")
    os.mkfifo(logs / "pipe.log")
    (tmp_path / "paths").mkdir()
    (tmp_path / "paths" / "link").symlink_to(secret)
    made = bundle(collect=["logs", "changes"], logs=[str(logs / "*.log")], paths=[str(tmp_path / "paths")])
    assert {name for name in made.parts if name.startswith("logs")} == {f"logs{logs}/app.log", f"logs{logs}/app.log.1"}
    assert b"root:hash" not in made.plain
    assert "shadow" not in made.text("changes/files.txt")
    assert "is a symbolic link, and not followed" in made.manifest["collectors"]["logs"]["reason"]


def test_packages_deployments_and_our_own_runs(bundle, tmp_path, given):
    app = tmp_path / "app"
    (app / "releases" / "2").mkdir(parents=True)
    (app / "current").symlink_to(app / "releases" / "2")
    subprocess.run(["git", "init", "-q", "-b", "main", str(app)], check=True)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "-C", str(app), *identity, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    head = subprocess.run(
        ["git", "-C", str(app), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "health.json").write_text("{}")
    made = bundle(collect=["changes"], deployments=[str(app)], changed_within="520w")
    told = made.text("changes/deployments.txt")
    assert f"{app}/current -> {app}/releases/2" in told
    assert f"git {head} (refs/heads/main)" in told
    assert "state/health.json" in made.text("changes/runs.txt")
    assert " install " in made.text("changes/packages.txt") or " status installed " in made.text("changes/packages.txt")


def test_old_bundles_go_and_nothing_else_does(bundle, tmp_path):
    folder = tmp_path / "bundles"
    folder.mkdir(mode=0o700)
    for number in range(4):
        path = folder / f"diagnostics_INC-1_2026010{number + 1}T000000Z.tar.zst"
        path.write_text("x")
        os.utime(path, (number, number))
    (folder / "diagnostics_mine.txt").write_text("x")
    (folder / "diagnostics_x_20260101T000000Z.tar.gz").symlink_to("/etc/passwd")
    made = bundle(collect=["kernel"], keep=2)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["diagnostics.lock", "diagnostics_INC-1_20260104T000000Z.tar.zst", "diagnostics_mine.txt",
         "diagnostics_x_20260101T000000Z.tar.gz", made.path.name]
    )  # fmt: skip
    assert len(bundle.result["deleted"]) == 3
