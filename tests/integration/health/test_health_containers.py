# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers of a real podman, made from an image that holds busybox and nothing else (H10)."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from .conftest import CHECKOUT, MODULE

IMAGE = "localhost/sre-runbooks-busybox:1"
# Networks and limits are not what is looked at, and need more of the machine than this.
PLAIN = ["--network=none", "--cgroups=disabled", "--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000"]


def in_lab(*argv, check=True):
    """Run a program where podman works on this machine."""
    return subprocess.run(
        [CHECKOUT / "tests/lab/enter", *argv],
        check=check, text=True, capture_output=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
    )  # fmt: skip


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    busybox = shutil.which("busybox")
    assert busybox, "the program busybox is missing: install the package busybox-static"
    archive = tmp_path_factory.mktemp("image") / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox, "bin/busybox")
        links = {f"bin/{name}": "busybox" for name in ("sh", "sleep", "true", "false")}
        # Where programs of this machine, mounted as /usr, look for their libraries.
        for name, goal in {**links, "lib": "usr/lib", "lib64": "usr/lib64"}.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, goal
            tar.addfile(link)
    in_lab("podman", "import", "--quiet", str(archive), IMAGE)
    return IMAGE


@pytest.fixture
def start(image):
    """Start a container with these options of `podman run`; return its name. It is removed after the test."""
    names = []

    def go(*options, command=("sleep", "600")):
        names.append(f"t-{secrets.token_hex(4)}")
        in_lab(
            "podman", "run", "--detach", f"--name={names[-1]}", "--stop-timeout=0", *PLAIN, *options, image, *command
        )
        return names[-1]

    yield go
    if names:
        in_lab("podman", "rm", "--force", "--time=0", *names)


@pytest.fixture
def containers(tmp_path):
    """Make one check of containers in the lab and return its outcome."""

    def go(**given):
        check = {"name": "x", "type": "containers", "timeout": "60s", **given}
        options = json.dumps({"checks": [check], "state_dir": str(tmp_path / "state"), "timeout": 90})
        done = in_lab(sys.executable, "-c", MODULE, options, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (outcome,) = json.loads(done.stdout)["outcomes"]
        return outcome

    return go


@pytest.mark.parametrize("client", ["mariadb", "mysql"])
def test_a_database_is_asked_by_the_client_inside_a_container(start, containers, mariadb_server, client):
    """H5, D1: the client that the image has, by its name of either maker; the password is in its environment alone."""
    folder = mariadb_server.socket.parent
    mounts = ["/usr/lib:/usr/lib:ro", f"{shutil.which('mariadb')}:/usr/bin/{client}:ro", f"{folder}:{folder}:ro"]
    lib64 = ["--volume=/usr/lib64:/usr/lib64:ro"] if Path("/usr/lib64").is_dir() else []
    name = start(*[f"--volume={each}" for each in mounts], *lib64)
    connection = {"container": name, "socket": str(mariadb_server.socket), "user": "root"}
    outcome = containers(type="mysql", connection={**connection, "password": mariadb_server.password})
    assert outcome["status"] == "ok", outcome
    assert outcome["details"]["version"] == mariadb_server.sql("SELECT @@version")
    outcome = containers(type="mysql", connection={**connection, "password": "wrong-geheim-0123456789"})
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith(f"MariaDB at {mariadb_server.socket} in {name}: ")
    assert "ERROR 1045 (28000): Access denied" in outcome["summary"]
    outcome = containers(type="mysql", connection={**connection, "container": "nosuch"})
    assert outcome["status"] == "critical"
    assert "no container with name or ID" in outcome["summary"]


@pytest.mark.parametrize("label", ["com.docker.compose.project", "io.podman.compose.project"])
def test_a_compose_project_that_runs(start, containers, label):
    project = f"p{secrets.token_hex(4)}"
    for service in ("db", "api"):
        start(f"--label={label}={project}", f"--label=com.docker.compose.service={service}")
    start(f"--label={label}=another")
    outcome = containers(project=project)
    assert (outcome["status"], outcome["summary"]) == ("ok", "2 of 2 containers run")
    assert outcome["metrics"] == {"running": 2, "restarting": 0, "unhealthy": 0}
    assert containers(project=project, warning="< 3")["status"] == "warning"


def test_a_container_of_a_project_that_ended_is_critical_unless_it_has_done_its_job(start, containers):
    project = f"p{secrets.token_hex(4)}"
    label = f"--label=com.docker.compose.project={project}"
    start(label)
    in_lab("podman", "wait", start(label, command=("true",)))
    assert containers(project=project)["status"] == "ok"
    failed = start(label, command=("sh", "-c", "exit 3"))
    in_lab("podman", "wait", failed)
    outcome = containers(project=project)
    assert outcome["status"] == "critical"
    assert outcome["summary"] in [
        f"1 of 3 containers run; {failed} is {word} with status 3" for word in ("exited", "stopped")
    ]


def test_a_project_without_containers_is_critical(containers):
    outcome = containers(project="nosuch")
    assert outcome["status"] == "critical"
    assert outcome["summary"].endswith("there is no container of the project nosuch")


def test_containers_by_name(start, containers):
    name = start()
    assert containers(names=[name])["status"] == "ok"
    outcome = containers(names=[name, "nosuch; rm -rf /"])
    assert (outcome["status"], outcome["metrics"]["running"]) == ("critical", 1)
    assert outcome["summary"] == "1 of 2 containers run; nosuch; rm -rf /: there is no such container"


def test_a_container_that_starts_again_and_again(start, containers):
    name = start("--restart=always", command=("sh", "-c", "sleep 1; exit 1"))
    deadline = time.monotonic() + 60
    while containers(names=[name])["metrics"]["restarting"] == 0:
        assert time.monotonic() < deadline
    outcome = containers(names=[name], metrics={"running": {"critical": "< 0"}})
    assert outcome["status"] == "warning"
    assert f"{name} was restarted " in outcome["summary"]


def test_an_unhealthy_container_is_critical(start, containers):
    name = start("--health-cmd=/bin/false", "--health-retries=1", "--health-interval=disable")
    assert containers(names=[name])["status"] == "ok"
    in_lab("podman", "healthcheck", "run", name, check=False)
    outcome = containers(names=[name])
    assert outcome["status"] == "critical"
    assert outcome["metrics"] == {"running": 1, "restarting": 0, "unhealthy": 1}
    assert f"{name} is unhealthy" in outcome["summary"]
    assert containers(names=[name], metrics={"unhealthy": {"warning": "> 0"}})["status"] == "warning"


def test_all_containers_of_a_host(start, containers):
    start()
    outcome = containers(runtime="podman", warning="< 1")
    assert outcome["metrics"]["running"] >= 1


@pytest.mark.parametrize("asked", ["all", "project", "names"])
def test_a_container_that_goes_while_it_is_looked_at(start, containers, tmp_path, monkeypatch, asked):
    """It goes between the list and the look at each: the others are told all the same."""
    project = f"p{secrets.token_hex(4)}"
    stays, goes = (start(f"--label=com.docker.compose.project={project}") for _number in range(2))
    program = tmp_path / "podman"
    real = shutil.which("podman")
    program.write_text(f'#!/bin/sh\n[ "$1" != inspect ] || {real} rm --force --time=0 {goes} >&2\nexec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    given = {"all": {}, "project": {"project": project}, "names": {"names": [stays, goes]}}[asked]
    outcome = containers(runtime="podman", **given)
    monkeypatch.undo()
    assert outcome["metrics"]["running"] >= 1
    if asked == "project":
        assert (outcome["status"], outcome["summary"]) == ("ok", "1 of 1 containers run")
    if asked == "names":
        assert (outcome["status"], outcome["summary"]) == (
            "critical",
            f"1 of 2 containers run; {goes}: there is no such container",
        )


def test_docker_without_its_engine_is_critical(check, tmp_path, monkeypatch):
    """The client's own words, from a client that finds no engine."""
    docker = tmp_path / "docker"
    docker.write_text(
        "#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?' >&2\nexit 1\n"
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    outcome = check("containers", runtime="docker", project="x")
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith("docker ended with status 1: Cannot connect to the Docker daemon")


@pytest.mark.parametrize("runtime", ["podman", "docker", None])
def test_a_host_without_the_runtime_is_unknown_by_package(check, tmp_path, monkeypatch, runtime):
    (tmp_path / "timeout").symlink_to(Path(shutil.which("timeout")))
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = check("containers", **({"runtime": runtime} if runtime else {}))
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith(f"{runtime or 'podman'} is not installed on this host. Install the package ")


def test_a_runtime_that_hangs_ends_at_the_timeout(check, tmp_path, monkeypatch):
    (tmp_path / "podman").write_text("#!/bin/sh\nsleep 60\n")
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    outcome = check("containers", runtime="podman", timeout="500ms")
    assert outcome["status"] == "unknown"
    assert "did not end within 0.5 s" in outcome["summary"]
