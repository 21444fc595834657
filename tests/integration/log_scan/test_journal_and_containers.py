# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""log_scan over a real journald, in a namespace of its own, and over a container of a real podman (L4, K6)."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile

import pytest

from .conftest import CHECKOUT, MODULE, reference

SCRIPT = r"""
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log
/lib/systemd/systemd-journald >/run/journald.log 2>&1 &
journald=$!
for _number in $(seq 100); do [ -S /run/systemd/journal/socket ] && break; sleep 0.1; done
say() {
    "$PYTHON" -c '
import socket, sys
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.connect("/run/systemd/journal/socket")
for number in range(int(sys.argv[1])):
    text = f"Failed password for root from 192.0.2.{number % 3} port 22 ssh2"
    journal.send(f"MESSAGE={text}\nPRIORITY=3\nOBJECT_SYSTEMD_UNIT=ssh.service\nSYSLOG_IDENTIFIER=sshd\n".encode())
' "$1"
    # Returns when journald has written all that was sent before.
    journalctl --sync
}
scan() { "$PYTHON" "$MODULE" <"$ARGUMENTS/$1.json"; echo; }
say 6
scan text
scan json
scan first
say 4
scan next
scan next
scan nobody
kill $journald
"""


def test_units_of_the_journal(tmp_path):
    """The user's way, `journalctl --unit`: as text and as JSON, for a window and by cursor; a unit that is none."""
    rule = {**reference("all", "rules")["failed logins"], "warning": "> 1"}
    level = {"name": "level", "field": "level", "pattern": "^ERROR$", "per": "ratio"}

    def write(name, rules, read="window", **source):
        given = {"name": "sshd", "unit": "ssh.service", **source}
        options = {"state_dir": str(tmp_path / "state"), "sources": [given], "rules": rules, "read": read}
        (tmp_path / f"{name}.json").write_text(json.dumps({"ANSIBLE_MODULE_ARGS": options}))

    write("text", [rule])
    write("json", [rule, level], format="json")
    write("first", [rule], "cursor")
    write("next", [rule], "cursor")
    write("nobody", [rule], unit="no-such.service")
    private = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    done = subprocess.run(
        [*private, "sh", "-c", SCRIPT], check=True, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHON": sys.executable, "MODULE": str(MODULE), "ARGUMENTS": str(tmp_path),
             "PYTHONPATH": str(CHECKOUT / ".work/collections")},
    )  # fmt: skip
    results = [
        {each["subject"]: each for each in json.loads(text)["outcomes"]} for text in done.stdout.strip().split("\n\n")
    ]
    text, as_json, first, second, third, nobody = results
    assert text["rule:failed logins"]["details"]["top"] == {"192.0.2.0": 2, "192.0.2.1": 2, "192.0.2.2": 2}
    assert text["rule:failed logins"]["status"] == "warning"
    assert "last" in text["rule:failed logins"]["details"]
    assert as_json["rule:failed logins"]["metrics"]["matches"] == 6
    assert as_json["rule:level"]["metrics"]["matches"] == 6
    assert first["rule:failed logins"]["metrics"]["matches"] == 0
    assert second["rule:failed logins"]["metrics"]["matches"] == 4
    assert third["rule:failed logins"]["metrics"]["matches"] == 0
    assert nobody["source:sshd"]["status"] == nobody["rule:failed logins"]["status"] == "unknown"
    assert "the journal has nothing of it" in nobody["source:sshd"]["summary"]


IMAGE = "localhost/sre-runbooks-log-scan:1"
PLAIN = [
    "--network=none",
    "--cgroups=disabled",
    "--ulimit=nofile=1000:1000",
    "--ulimit=nproc=1000:1000",
    "--log-driver=k8s-file",
]


def in_lab(*argv, check=True, text=None):
    """Run a program where podman works on this machine."""
    return subprocess.run(
        [CHECKOUT / "tests/lab/enter", *argv], check=check, text=True, capture_output=True, timeout=120, input=text,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
    )  # fmt: skip


@pytest.fixture
def container(tmp_path):
    """Start a container that runs a shell script; return its name."""
    busybox = shutil.which("busybox")
    assert busybox, "the program busybox is missing: install the package busybox-static"
    archive = tmp_path / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox, "bin/busybox")
        for name in ("sh", "sleep", "cat"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    in_lab("podman", "import", "--quiet", str(archive), IMAGE)
    names = []

    def go(script):
        names.append(f"t-{secrets.token_hex(4)}")
        argv = [
            "podman",
            "run",
            "--detach",
            f"--name={names[-1]}",
            "--stop-timeout=0",
            *PLAIN,
            IMAGE,
            "sh",
            "-c",
            script,
        ]
        in_lab(*argv)
        return names[-1]

    yield go
    in_lab("podman", "rm", "--force", "--time=0", *names)


def test_a_container_writes_to_both_streams(container, tmp_path):
    name = container(
        "echo '2026-11-20 ERROR one'; echo '[error] authentication failed' >&2; sleep 3; echo ERROR two; sleep 600"
    )

    def scan(container_name, **options):
        arguments = {
            "state_dir": str(tmp_path / "state"), "sources": [{"name": "api", "container": container_name}],
            "rules": [{"name": "errors", "pattern": "ERROR"}, {"name": "login", "pattern": "authentication failed"}], **options,
        }  # fmt: skip
        done = in_lab(sys.executable, str(MODULE), text=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return {each["subject"]: each for each in json.loads(done.stdout)["outcomes"]}

    seen = [scan(name, read="cursor", from_start=True)]
    for _number in range(20):
        if sum(each["rule:errors"]["metrics"]["matches"] for each in seen) >= 2:
            break
        seen.append(scan(name, read="cursor"))
    seen.append(scan(name, read="cursor"))
    assert sum(each["rule:errors"]["metrics"]["matches"] for each in seen) == 2
    assert sum(each["rule:login"]["metrics"]["matches"] for each in seen) == 1
    window = scan(name)
    assert (window["rule:errors"]["metrics"]["matches"], window["rule:login"]["metrics"]["matches"]) == (2, 1)
    missing = scan("no-such-container")
    assert missing["source:api"]["status"] == missing["rule:errors"]["status"] == "unknown"
    assert "no-such-container" in missing["source:api"]["summary"]
