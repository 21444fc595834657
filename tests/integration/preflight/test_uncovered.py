# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates, logs, services and containers of a host that nothing covers (issue 4, 6; H10, K7, L4, L5, L6)."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
import threading

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from integration.health.chains import chain

from ansible_collections.sre.runbooks.plugins.module_utils._health import _check
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import (
    _inventory,
    _listeners,
    _units,
    certificates,
    logs,
    services,
)

from .conftest import CHECKOUT, MODULE

IMAGE = "localhost/sre-runbooks-preflight:1"


@pytest.fixture
def tls_port(tmp_path):
    """A port that speaks TLS, and the folder of its chain and key."""
    shown = chain(tmp_path / "tls", leaf=40.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = server.accept()
                    with (
                        contextlib.suppress(OSError),
                        shown.context.wrap_socket(connection, server_side=True) as channel,
                    ):
                        channel.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], shown.files[0]
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture
def plain_port():
    """A port that says nothing and waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def read(*checks):
    """Checks as the stage reads them."""
    return _check.read(checks)[0]


# --- Certificates ---


def test_a_certificate_on_a_port_without_a_check(found, tls_port, plain_port):
    port, _path = tls_port
    # Other tests have ports as well, which are not to be disturbed.
    outcomes = found("certificates", tls_ports=[port, plain_port])
    assert outcomes[f"tls:{port}"]["details"]["rules"] == ["certificate_uncovered"]
    assert "Test Leaf, 40.5 d left" in outcomes[f"tls:{port}"]["summary"]
    assert f"tls:{plain_port}" not in outcomes


@pytest.mark.parametrize("watching", ["port", "path"])
def test_a_check_of_the_port_or_of_the_same_certificate_in_a_file_covers_it(found, tls_port, watching):
    port, path = tls_port
    target = {"host": "127.0.0.1", "port": port} if watching == "port" else {"path": path}
    checks = [{"name": "x", "type": "tls", "warning": "< 21", **target}]
    assert f"tls:{port}" not in found("certificates", checks=checks, tls_ports=[port])


def test_an_https_check_does_not_watch_the_days_that_are_left(found, tls_port):
    port, _path = tls_port
    checks = [{"name": "x", "type": "http", "url": f"https://127.0.0.1:{port}/", "validate_certs": False}]
    assert f"tls:{port}" in found("certificates", checks=checks, tls_ports=[port])


def test_certificates_that_configurations_name_are_found_once(found, tls_port, tmp_path, monkeypatch):
    """A file and the port that shows it are one thing; a file that nobody may read is unknown."""
    port, path = tls_port
    configuration = tmp_path / "site.conf"
    configuration.write_text(
        f"server {{\n  listen 443 ssl;\n  ssl_certificate {path};\n  ssl_certificate_key {path};\n"
        f'}}\nSSLCertificateFile "{tmp_path}/gone.pem"\nsmtpd_tls_cert_file = {path}\n# ssl_certificate /nowhere.pem;\n'
    )
    monkeypatch.setattr(certificates, "CONFIGURATIONS", (str(configuration),))
    outcomes = found("certificates", tls_ports=[port])
    assert f"shown on port {port}" in outcomes[f"tls:{path}"]["summary"]
    assert f"tls:{port}" not in outcomes
    assert outcomes[f"tls:{tmp_path}/gone.pem"]["status"] == "unknown"
    assert "tls:/nowhere.pem" not in outcomes
    checks = [{"name": "x", "type": "tls", "warning": "< 21", "host": "127.0.0.1", "port": port}]
    assert f"tls:{path}" not in found("certificates", checks=checks, tls_ports=[port])


def test_ports_that_are_known_as_something_else_are_not_greeted(plain_port):
    """What a check connects to in clear never gets a greeting that it would write to its log."""

    def greeted(*checks, **options):
        given = (
            ArgumentSpecValidator(_inventory.SPEC).validate({"checks": list(checks), **options}).validated_parameters
        )
        return {port for _address, port in certificates.greeted(_inventory.read(given, None, "/nowhere")[0])}

    assert plain_port in greeted()
    for url in (f"http://localhost:{plain_port}/", f"http://127.0.0.1:{plain_port}/health"):
        assert plain_port not in greeted({"name": "x", "type": "http", "url": url})
    assert plain_port in greeted({"name": "x", "type": "http", "url": f"https://localhost:{plain_port}/"})
    assert plain_port in greeted({"name": "x", "type": "port", "port": plain_port})
    assert greeted(tls_ports=[plain_port, 1]) == {plain_port}
    assert greeted(tls_ports=[]) == set()


# --- Logs ---


def test_large_logs_that_nobody_cleans_up(found, tmp_path):
    for name, size in (("app.log", 60), ("app.log.1", 60), ("small.log", 1), ("alone.log", 60)):
        (tmp_path / name).write_bytes(b"x" * size * 1024)
    policy = {"name": "old", "paths": [str(tmp_path)], "patterns": ["*.log.*"], "older_than": "7d", "action": "delete"}
    options = {"log_size": "50KiB", "log_cleanup": {"policies": [policy]}}

    def rules(**given):
        outcomes = found("logs", **{**options, **given})
        return {key: each["details"]["rules"] for key, each in outcomes.items() if str(tmp_path) in key}

    # The one has been rotated, so the policy will get it; the other never was.
    assert rules() == {f"log:{tmp_path}/alone.log": ["log_unrotated"]}
    assert rules(log_cleanup={"policies": [{**policy, "patterns": ["*.log", "*.log.*"]}]}) == {}
    other = {**policy, "patterns": ["*.trace"]}
    assert rules(log_cleanup={"policies": [other]}).keys() == {
        f"log:{tmp_path}/{name}" for name in ("app.log", "app.log.1", "alone.log")
    }
    assert rules(log_size="1MiB") == {}


def test_a_log_that_a_service_writes_to_is_found_wherever_it_is(found, tmp_path):
    with (tmp_path / "service.log").open("wb") as stream:
        stream.write(b"x" * 2**16)
        stream.flush()
        assert f"log:{tmp_path}/service.log" in found("logs", log_size="50KiB")
    assert f"log:{tmp_path}/service.log" not in found("logs", log_size="50KiB")


def test_what_logrotate_takes_care_of_is_covered(found, tmp_path, monkeypatch):
    (tmp_path / "conf").write_text(
        f"# /nowhere/*.log {{\nweekly\n{tmp_path}/a.log\n{tmp_path}/b*.log {{\n  rotate 4\n  postrotate\n"
        f'    kill -HUP 1\n  endscript\n}}\n"{tmp_path}/with space.log" {{ daily }}\n'
    )
    monkeypatch.setattr(logs, "_LOGROTATE", (str(tmp_path / "conf"),))
    names = ["a.log", "b1.log", "with space.log", "a.log.1", "c.log"]
    assert logs.rotation() == [f"{tmp_path}/a.log", f"{tmp_path}/b*.log", f"{tmp_path}/with space.log"]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 2**16)
    scan = {"sources": [{"name": "x", "path": f"{tmp_path}/*.log"}]}
    outcomes = found("logs", log_size="50KiB", log_scan=scan)
    assert [each for each in outcomes if str(tmp_path) in each] == [f"log:{tmp_path}/c.log"]


def test_units_that_fill_the_journal():
    lines = {"noisy.service": 4000, "ssh.service": 900, "": 100}
    (finding,) = logs.loud(lines, set())
    assert finding.subject == "journal:noisy.service"
    assert "80 %" in finding.text
    assert logs.loud(lines, {"noisy.service"}) == []
    assert logs.loud({"new.service": 999}, set()) == []


# --- Services ---

# What systemd 252 printed on a Debian 12 host.
SHOWN = """
Type=simple
MainPID={pid}
Id=shop.service
Names=shop.service
LoadState=loaded
ActiveState=active
FragmentPath=/etc/systemd/system/shop.service
UnitFileState=enabled

Type=simple
MainPID=0
Id=idle.service
Names=idle.service other-name.service
LoadState=loaded
ActiveState=inactive
FragmentPath=/etc/systemd/system/idle.service
UnitFileState=enabled

Type=oneshot
MainPID=0
Id=job.service
Names=job.service
LoadState=loaded
ActiveState=inactive
FragmentPath=/etc/systemd/system/job.service
UnitFileState=static

Type=
MainPID=0
Id=gone.service
Names=gone.service
LoadState=not-found
ActiveState=inactive
FragmentPath=
UnitFileState=
"""


def test_which_units_matter_and_which_checks_cover_them(tmp_path):
    units = {each.name: each for each in _units.parse(SHOWN.format(pid=os.getpid()))}
    assert units.keys() == {"shop.service", "idle.service", "job.service"}
    assert [name for name, unit in units.items() if services._matters(unit, {})] == ["idle.service", "shop.service"]
    # One that ends by itself is no service that may die.
    assert services._matters(units["job.service"]._replace(active=True, enabled=True), {}) is False
    # One of the distribution's matters as soon as it serves others.
    nginx = units["shop.service"]._replace(name="nginx.service", path="/lib/systemd/system/nginx.service")
    assert services._matters(nginx, {}) is False
    assert services._matters(nginx, {"nginx.service": {80}}) is True
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{os.getpid()}\n")
    for check in (
        {"type": "service", "units": ["shop"]},
        {"type": "service", "units": ["shop.service"]},
        {"type": "process", "pattern": "python"},
        {"type": "process", "pidfile": str(pidfile)},
    ):
        assert services.covered(units["shop.service"], read({"name": "x", **check})), check
    for check in (
        {"type": "service", "units": ["shop2", "idle.service"]},
        {"type": "process", "pattern": "no-such-program"},
        {"type": "process", "pidfile": "/nowhere"},
    ):
        assert not services.covered(units["shop.service"], read({"name": "x", **check})), check
    assert services.covered(units["idle.service"], read({"name": "x", "type": "service", "units": ["other-name"]}))


def test_the_ports_that_checks_connect_to():
    checks = read(
        {"name": "a", "type": "http", "url": "http://localhost/health"},
        {"name": "b", "type": "http", "url": "https://127.0.0.1:8443/"},
        {"name": "c", "type": "postgresql"},
        {"name": "d", "type": "redis", "connection": {"port": 6380}},
        {"name": "e", "type": "port", "port": 9090},
        {"name": "f", "type": "tls", "host": socket.gethostname(), "warning": "< 1"},
        {"name": "g", "type": "port", "host": "192.0.2.1", "port": 1},
        {"name": "h", "type": "redis", "connection": {"container": "x", "port": 6381}},
        {"name": "i", "type": "cpu", "warning": "> 1"},
    )
    assert _listeners.checked(checks) == {80, 8443, 5432, 6380, 9090, 443}


def test_what_listens_is_seen_with_its_process(plain_port):
    (listener,) = [each for each in _listeners.listeners() if each.port == plain_port]
    assert (listener.reach, listener.pid) == ("127.0.0.1", os.getpid())


# --- Containers ---


def in_lab(*argv):
    """Run a program where podman works on this machine."""
    return subprocess.run(
        [CHECKOUT / "tests/lab/enter", *argv], check=True, text=True, capture_output=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
    ).stdout  # fmt: skip


@pytest.fixture(scope="module")
def redis_container(tmp_path_factory):
    """The name of a container in which a Redis server runs, as it comes: it saves what it holds."""
    busybox = shutil.which("busybox")
    assert busybox, "the program busybox is missing: install the package busybox-static"
    archive = tmp_path_factory.mktemp("image") / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox, "bin/busybox")
        # This machine's programs and libraries, which are mounted as /usr.
        for name, goal in {"bin/sh": "busybox", "lib": "usr/lib", "lib64": "usr/lib64"}.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, goal
            tar.addfile(link)
        folder = tarfile.TarInfo("data")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    in_lab("podman", "import", "--quiet", str(archive), IMAGE)
    name = f"preflight-{secrets.token_hex(4)}"
    options = ["--network=none", "--cgroups=disabled", "--ulimit=nofile=20000:20000", "--ulimit=nproc=1000:1000"]
    in_lab(
        "podman", "run", "--detach", f"--name={name}", "--stop-timeout=0", *options, "--volume=/usr:/usr:ro", "--workdir=/data",
        IMAGE, "/usr/bin/redis-server", "--port", "6399",
    )  # fmt: skip
    yield name
    in_lab("podman", "rm", "--force", "--time=0", name)


def prove_in_lab(tmp_path, **options):
    """{subject: rules} of the module where podman works."""
    given = json.dumps({"state_dir": str(tmp_path / "state"), **options})
    result = json.loads(in_lab(sys.executable, "-c", MODULE, given))
    return {each["subject"]: each["details"].get("rules") for each in result["outcomes"]}


def test_a_container_that_no_check_looks_at(redis_container, tmp_path):
    subject = f"container:{redis_container}"
    assert prove_in_lab(tmp_path, kinds=["services"])[subject] == ["container_uncovered"]
    checks = [{"name": "x", "type": "containers", "names": [redis_container]}]
    assert subject not in prove_in_lab(tmp_path, kinds=["services"], checks=checks)


@pytest.mark.parametrize(
    ("check", "covers"),
    [
        ({"type": "containers"}, True),
        ({"type": "containers", "names": ["api", "shop-db"]}, True),
        ({"type": "containers", "project": "shop"}, True),
        ({"type": "redis", "connection": {"container": "shop-db"}}, True),
        ({"type": "containers", "names": ["api"]}, False),
        ({"type": "containers", "project": "other"}, False),
        ({"type": "redis", "connection": {"container": "cache"}}, False),
        ({"type": "redis"}, False),
    ],
)
def test_which_checks_look_into_a_container(check, covers):
    (found,) = read({"name": "x", **check})
    assert services._looks_into(found, "shop-db", "shop") is covers


def test_a_database_in_a_container_needs_a_source_too(redis_container, tmp_path):
    """D1: in containers as on the host; it is asked inside of it."""
    subject = f"redis:container {redis_container}"
    check = {"name": "x", "type": "redis", "connection": {"container": redis_container, "port": 6399}}
    assert prove_in_lab(tmp_path, kinds=["databases"], checks=[check])[subject] == ["database_uncovered"]
    source = {"name": "cache", "engine": "redis", "container": redis_container, "port": 6399}
    assert subject not in prove_in_lab(tmp_path, kinds=["databases"], checks=[check], sources=[source])
