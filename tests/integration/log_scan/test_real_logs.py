# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""log_scan over what nginx, sshd, PostgreSQL and the reference application wrote, with the reference inventory's rules.

Rows L1 to L4, L6 and K6: failed logins and refused requests are made for real.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ..conftest import free_port
from .conftest import reference, scan

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process


def program(name, package):
    """A program's path; a missing one fails the test with the package's name."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert found, f"the program {name} is missing: install the package {package}"
    return found


def wait_for(port):
    for _number in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}")


@pytest.fixture
def nginx(tmp_path):
    """A real nginx that refuses /admin; gives its port and its access log."""
    port, folder = free_port(), tmp_path / "nginx"
    (folder / "html").mkdir(parents=True)
    (folder / "html/index.html").write_text("hello")
    settings = folder / "nginx.conf"
    as_root = "user root; " if os.geteuid() == 0 else ""
    settings.write_text(
        f"{as_root}daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log {folder}/access.log; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;\n"
        f"uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; server {{ listen 127.0.0.1:{port}; root {folder}/html;\n"
        "location /admin { return 403; } location /limited { return 429; } location /private { return 401; } } }\n"
    )
    server = subprocess.Popen([program("nginx", "nginx-light"), "-e", f"{folder}/error.log", "-c", str(settings)])
    try:
        wait_for(port)
        yield port, folder / "access.log"
    finally:
        server.terminate()
        server.wait(10)


def get(port, path):
    with (
        contextlib.suppress(urllib.error.HTTPError),
        urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        answer.read()


def test_refused_requests_by_address_in_the_access_log_of_nginx(nginx, state):
    port, log = nginx
    for path, count in (("/", 30), ("/admin", 7), ("/limited", 3), ("/private", 2)):
        for _number in range(count):
            get(port, path)
    rule = reference("mcp", "rules")["refused requests"]
    options = {
        "sources": [{"name": "access", "path": str(log)}],
        "rules": [{**rule, "warning": "> 10"}],
        "read": "cursor",
    }
    found = scan(state, **options, from_start=True)["rule:refused requests"]
    assert found["status"] == "warning"
    assert found["details"]["top"] == {"127.0.0.1": 12}
    assert found["details"]["remedy"] in found["summary"]
    get(port, "/admin")
    log.rename(log.with_name("access.log.1"))
    os.kill(int((log.parent / "pid").read_text()), 10)  # SIGUSR1: nginx opens its log anew
    for _number in range(50):
        if log.exists():
            break
        time.sleep(0.1)
    get(port, "/admin")
    assert scan(state, **options)["rule:refused requests"]["metrics"]["matches"] == 2


@pytest.fixture
def sshd(tmp_path):
    """A real sshd on loopback that asks for passwords and logs into a file; gives its port and its log."""
    port, folder = free_port(), tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    settings = folder / "sshd_config"
    settings.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/key\nPidFile {folder}/pid\nUsePAM no\nPasswordAuthentication yes\n"
        "PermitRootLogin yes\nKbdInteractiveAuthentication no\nStrictModes no\nMaxAuthTries 6\n"
    )
    log = folder / "sshd.log"
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([program("sshd", "openssh-server"), "-D", "-f", str(settings), "-E", str(log)])
    try:
        wait_for(port)
        yield port, log
    finally:
        server.terminate()
        server.wait(10)


def test_failed_logins_at_a_real_sshd(sshd, state, tmp_path):
    port, log = sshd
    askpass = tmp_path / "askpass"
    askpass.write_text("#!/bin/sh\necho wrong\n")
    askpass.chmod(0o700)
    for user in ("root", "nobody-of-that-name"):
        subprocess.run(
            ["ssh", "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path}/known", "-o",
             "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=3", f"{user}@127.0.0.1", "true"],
            check=False, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"},
        )  # fmt: skip
    # A log without time stamps, as -E makes it.
    rule = reference("all", "rules")["failed logins"]
    options = {"sources": [{"name": "sshd", "path": str(log)}], "rules": [{**rule, "warning": "> 5"}]}
    found = scan(state, **options)["rule:failed logins"]
    assert found["status"] == "warning", log.read_text()
    assert found["details"]["top"]["127.0.0.1"] >= 6


def test_refused_logins_in_the_log_of_postgresql(postgresql_server, state):
    server = postgresql_server
    sources = [{"name": "postgresql", "path": str(server.log)}]
    rules = list(reference("ghosteam", "rules").values())[1:]
    options = {"sources": sources, "rules": rules, "read": "cursor"}
    scan(state, **options)
    for user in ("eve", "eve", server.user):
        argv = [
            str(server.bindir / "psql"),
            "-h",
            server.host,
            "-p",
            str(server.port),
            "-U",
            user,
            "-d",
            "postgres",
            "-c",
            "SELECT 1",
        ]
        done = subprocess.run(argv, check=False, capture_output=True, env={**os.environ, "PGPASSWORD": "wrong"})
        assert done.returncode != 0
    found = scan(state, **options)
    logins = found["rule:refused database logins"]
    assert logins["details"]["top"] == {"eve": 2, server.user: 1}
    assert logins["metrics"]["matches"] == 3
    assert "last" in logins["details"]
    assert found["rule:database errors"]["metrics"]["matches"] == 0


def test_the_reference_application_falls_sick(state, tmp_path):
    """L1, L2, L3, L6: error rate, optimisation times, error codes with their meanings, JSON lines, sizes."""
    with Process(tmp_path / "app") as app:
        app.run("--seed", "50")
        key = app.admin("POST", "/auth/api-keys", {"name": "t", "owner": "t", "role": "PROJECT_MANAGER"})
        token = next(value for name, value in key.body.items() if name in ("key", "api_key", "token"))
        for _number in range(5):
            assert app.call("POST", "/api/v1/optimize", {}, token=token).status == 200
        app.call("GET", "/api/v1/whoami", token="no key at all")
        app.admin("PUT", "/admin/sick", {"error_lines": 60})
        logs = app.log_dir
        f11, mcp, gho = reference("feature11", "rules"), reference("mcp", "codes"), reference("ghosteam", "rules")
        found = scan(
            state,
            sources=[
                {"name": "main", "path": f"{logs}/*11.log", "warning": "> 1 kB"},
                {"name": "performance", "path": f"{logs}/*_performance.log"},
                {"name": "events", "path": f"{logs}/*.jsonl"},
            ],
            rules=[
                {**f11["error rate"], "sources": ["main"]},
                {**gho["error rate"], "name": "events", "sources": ["events"]},
            ],
            codes=[{**each, "sources": ["main"]} for each in mcp.values()],
            measures=[{**reference("feature11", "measures")["optimization"], "sources": ["performance"]}],
        )
    assert found["rule:error rate"]["status"] == "critical"
    assert found["rule:events"]["status"] == "critical"
    assert found["rule:events"]["metrics"]["matches"] == found["rule:error rate"]["metrics"]["matches"] >= 60
    assert found["rule:DB_001"]["metrics"]["matches"] >= 10
    assert "meaning: database connection error" in found["rule:DB_001"]["summary"]
    assert sum(found[f"rule:{code}"]["metrics"]["matches"] for code in mcp) >= 60
    assert found["measure:optimization"]["metrics"]["count"] == 5
    assert 0 < found["measure:optimization"]["metrics"]["p95_seconds"] < 5
    assert found["source:main"]["status"] == "warning"
    assert found["source:events"]["details"]["formats"] == ["json"]


def test_a_log_that_may_not_be_read_is_unknown(state, tmp_path):
    """Without the capabilities by which root reads whatever it likes."""
    log = tmp_path / "app.log"
    log.write_text("x ERROR\n")
    log.chmod(0)
    capable = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"] if os.geteuid() == 0 else []
    found = scan(state, capable, sources=[{"name": "app", "path": str(log)}], rules=[{"name": "x", "pattern": "ERROR"}])
    assert found["source:app"]["status"] == found["rule:x"]["status"] == "unknown"
    assert "Permission denied" in found["source:app"]["summary"]
