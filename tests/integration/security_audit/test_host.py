# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates, updates, permissions, sshd and ages of keys of a host, each made for the test (K4, K7, K8)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import replaced

from ..patching.conftest import Machine
from .conftest import ids

DAY = 86400.0
SERVER = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    plain, _address = server.accept()
    try:
        with context.wrap_socket(plain, server_side=True) as channel:
            channel.recv(1)
    except OSError:
        pass
"""


def certificate(folder, name, days=90, key=("-newkey", "rsa:2048"), digest="sha256"):
    """A certificate for localhost that ends in `days`, signed by an authority of the folder."""
    folder.mkdir(exist_ok=True)
    authority = folder / "ca.pem"
    if not authority.exists():
        argv = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "900",
            "-subj",
            "/CN=Test Authority",
        ]
        subprocess.run([*argv, "-keyout", folder / "ca.key", "-out", authority], check=True, capture_output=True)
    path = folder / f"{name}.pem"
    argv = ["openssl", "req", *key, "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*argv, "-keyout", folder / f"{name}.key", "-out", folder / "csr"], check=True, capture_output=True)
    argv = [
        "openssl",
        "x509",
        "-req",
        "-in",
        folder / "csr",
        "-CA",
        authority,
        "-CAkey",
        folder / "ca.key",
        "-CAcreateserial",
    ]
    argv += ["-copy_extensions", "copy", "-days", str(days), f"-{digest}", "-out", path]
    subprocess.run(argv, check=True, capture_output=True)
    return path


def test_k7_files_by_their_end(audit, tmp_path):
    for name, days in (("good", 90), ("soon", 15), ("now", 3)):
        certificate(tmp_path / "tls", name, days)
    found = audit("certificates", paths=[str(tmp_path / "tls/[gsn]*.pem")])
    told = {Path(path).stem: each for path, each in found.items()}
    assert {name: each["status"] for name, each in told.items()} == {"good": "ok", "soon": "warning", "now": "critical"}
    assert (
        told["soon"]["summary"].startswith("localhost expires in 15.0 d; ") or "expires in" in told["soon"]["summary"]
    )
    assert told["now"]["metrics"]["days_remaining"] == pytest.approx(3, abs=0.01)
    found = audit("certificates", paths=[str(tmp_path / "tls/soon.pem")], warning="10d", critical="5d")
    assert [each["status"] for each in found.values()] == ["ok"]


def test_k7_weak_keys_and_signatures(audit, tmp_path):
    weak = certificate(tmp_path / "tls", "weak", key=("-newkey", "rsa:1024"))
    sha1 = certificate(tmp_path / "tls", "old", digest="sha1")
    curve = certificate(tmp_path / "tls", "ec", key=("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"))
    own = certificate(tmp_path / "tls", "edwards", key=("-newkey", "ed25519"))
    found = audit("certificates", paths=[str(weak), str(sha1), str(curve), str(own)])
    assert {Path(path).stem: ids(each) for path, each in found.items()} == {
        "weak": ["weak_key"], "old": ["weak_signature"], "ec": [], "edwards": [],
    }  # fmt: skip
    assert "its key has 1024 bits, less than 2048" in found[str(weak)]["summary"]


def test_k7_a_server_that_shows_another_certificate_than_its_file(audit, tmp_path):
    served = certificate(tmp_path / "tls", "served")
    renewed = certificate(tmp_path / "tls", "renewed")
    argv = [sys.executable, "-c", SERVER, served, served.with_suffix(".key")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        place = {"host": "localhost", "port": port, "ca_path": str(tmp_path / "tls/ca.pem"), "path": str(served)}
        (good,) = audit("certificates", servers=[place]).values()
        assert (good["status"], ids(good)) == ("ok", [])
        (bad,) = audit("certificates", servers=[{**place, "path": str(renewed)}]).values()
        assert (bad["status"], ids(bad)) == ("critical", ["not_served"])
        assert f"what is served is not the certificate of {renewed}: reload the service" in bad["summary"]
        (strange,) = audit("certificates", servers=[{**place, "ca_path": None}]).values()
        assert (strange["status"], ids(strange)[0]) == ("critical", "not_trusted")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    (gone,) = audit("certificates", servers=[place]).values()
    assert (gone["status"], "Connection refused" in gone["summary"]) == ("critical", True)


def test_what_matches_nothing_is_unknown_and_never_ok(audit, tmp_path):
    for kind, option in (("certificates", "paths"), ("python_packages", "environments"), ("node_packages", "folders")):
        (found,) = audit(kind, **{option: [str(tmp_path / "gone/*")]}).values()
        assert found["status"] == "unknown"
        assert f"{option}: {tmp_path}/gone/* matches nothing on this host" in found["summary"]


@pytest.fixture
def tree(tmp_path):
    """Files with rights that they should not have; programs of packages are links to the host's own."""
    top = tmp_path / "tree"
    (top / "open").mkdir(parents=True)
    (top / "open").chmod(0o777)
    (top / "sticky").mkdir()
    (top / "sticky").chmod(0o1777)
    (top / "kept").mkdir()
    (top / "kept/shared.txt").touch()
    (top / "kept/shared.txt").chmod(0o666)
    (top / "kept/link").symlink_to("shared.txt")
    shutil.copy("/bin/true", top / "kept/door")
    (top / "kept/door").chmod(0o4755)
    shutil.copy("/bin/true", top / "kept/group")
    (top / "kept/group").chmod(0o2755)
    (top / "skipped").mkdir()
    (top / "skipped").chmod(0o777)
    return top


def test_k4_what_anybody_may_write_and_programs_that_no_package_brought(audit, tree):
    (found,) = audit("permissions", folders=[str(tree)], exclude=[str(tree / "skipped")]).values()
    told = {each["id"]: (each["status"], each["text"]) for each in found["details"]["findings"]}
    assert told == {
        f"{tree}/open": ("critical", f"{tree}/open: anybody may write to this folder"),
        f"{tree}/kept/shared.txt": ("warning", f"{tree}/kept/shared.txt: anybody may write to this file"),
        f"{tree}/kept/door": ("critical", f"{tree}/kept/door is set-uid, and no package brought it"),
        f"{tree}/kept/group": ("critical", f"{tree}/kept/group is set-gid, and no package brought it"),
    }
    assert found["metrics"]["world_writable"] == 2
    given = {"folders": [str(tree / "kept")], "allowed": [f"{tree}/kept/door", f"{tree}/kept/gr*"]}
    (found,) = audit("permissions", **given, accepted=[{"id": "*/shared.txt", "reason": "a drop box"}]).values()
    assert (found["status"], found["metrics"]["accepted"]) == ("ok", 1)


def test_k4_programs_of_packages_with_their_usual_rights_are_none(audit):
    """The host's own: passwd is set-uid on every Debian."""
    (found,) = audit("permissions", folders=["/usr/bin", "/usr/sbin"], timeout="60s").values()
    assert found["metrics"]["privileged"] >= 3
    assert not [each for each in ids(found) if each.endswith(("/passwd", "/su", "/mount"))]


def test_a_search_that_is_not_ended_says_so(audit, tree):
    (found,) = audit("permissions", folders=[str(tree)], most_files=1).values()
    assert "files were looked at, up to" in found["summary"]
    (gone,) = audit("permissions", folders=[str(tree / "gone")]).values()
    assert gone["status"] == "unknown"


@pytest.fixture
def sshd(tmp_path):
    """The configuration of a real sshd; return the options of the audit."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    # sshd wants it even to tell its settings.
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

    def go(*lines):
        config = tmp_path / "sshd_config"
        config.write_text("\n".join([f"HostKey {tmp_path / 'key'}", *lines]) + "\n")
        return {"config": str(config)}

    return go


def test_what_sshd_allows(audit, sshd):
    lines = [
        "PermitRootLogin yes",
        "PasswordAuthentication yes",
        "PermitEmptyPasswords yes",
        "Ciphers aes128-cbc,aes256-ctr",
    ]
    (found,) = audit("ssh", **sshd(*lines)).values()
    told = {each["id"]: each["status"] for each in found["details"]["findings"]}
    assert told["permitrootlogin"] == told["permitemptypasswords"] == "critical"
    assert told["passwordauthentication"] == told["ciphers"] == "warning"
    hard = ["PermitRootLogin prohibit-password", "PasswordAuthentication no", "KbdInteractiveAuthentication no"]
    hard += ["KexAlgorithms curve25519-sha256", "MACs hmac-sha2-256"]
    (found,) = audit("ssh", **sshd(*hard)).values()
    assert (found["status"], ids(found)) == ("ok", [])
    (found,) = audit("ssh", **sshd(*hard), root_login="never").values()
    assert ids(found) == ["permitrootlogin"]
    # A block for some users counts for them.
    (found,) = audit(
        "ssh", **sshd(*hard, "Match User deploy", "  PasswordAuthentication yes"), users=["root", "deploy"]
    ).values()
    assert [each["text"] for each in found["details"]["findings"]] == [
        "deploy may log in by password (PasswordAuthentication yes)"
    ]


def test_sshd_that_cannot_tell_is_unknown(audit, sshd):
    (found,) = audit("ssh", **sshd("NoSuchOption yes")).values()
    assert found["status"] == "unknown"
    assert "sshd ended with status 255" in found["summary"]


def test_ages_of_keys_by_the_journal_and_by_files(audit, tmp_path):
    now = time.time()
    keys = {
        "young": {"current": {"created": now - DAY}},
        "old": {"current": {"created": now - 100 * DAY}, "previous": [{"revoke_at": now - DAY}]},
        "over": {"current": {"created": now - DAY, "expires": now - 60}, "pending": {"label": "x"}},
    }
    (tmp_path / "state").mkdir()
    (tmp_path / "state/keys.json").write_text(json.dumps({"keys": keys}))
    (tmp_path / "deploy.key").touch()
    os.utime(tmp_path / "deploy.key", (now - 400 * DAY, now - 400 * DAY))
    found = audit("key_ages", files=[str(tmp_path / "*.key")], max_age="90d")
    assert sorted(ids(found["journal"])) == ["old", "old:previous", "over:expired", "over:pending"]
    assert found["journal"]["metrics"]["oldest_age_seconds"] == pytest.approx(100 * DAY, abs=60)
    assert ids(found["files"]) == [str(tmp_path / "deploy.key")]
    (tmp_path / "state/keys.json").write_text("{")
    (broken,) = audit("key_ages").values()
    assert (broken["status"], "Repair or remove this file" in broken["summary"]) == ("unknown", True)


HOLDER = "import ctypes, sys, time; ctypes.CDLL(sys.argv[1]); print('ready', flush=True); time.sleep(600)"


def test_k8_updates_with_those_for_security_first(audit, tmp_path, monkeypatch):
    """Listed by the real apt, from repositories made for the test; nothing is installed."""
    machine = Machine(tmp_path / "machine")
    for name in ("library", "tool"):
        machine.build("base", name, "1.0")
    machine.install("library", "tool")
    machine.build("base", "tool", "1.1")
    machine.build("security", "library", "1.0+deb12u1")
    machine.apt("update")
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)
    found = next(each for target, each in audit("os_updates", reboot="ok").items() if target != "running")
    assert (found["status"], ids(found)) == ("warning", ["library"])
    assert "library: a security update, 1.0 -> 1.0+deb12u1" in found["summary"]
    assert found["details"]["updates"] == {"library": "1.0 -> 1.0+deb12u1", "tool": "1.0 -> 1.1"}
    assert found["details"]["security"] == ["library"]
    given = {"security": "critical", "other": "warning", "reboot": "ok"}
    found = next(each for target, each in audit("os_updates", **given).items() if target != "running")
    assert (found["status"], sorted(ids(found))) == ("critical", ["library", "tool"])
    assert (machine.version("library"), machine.version("tool")) == ("1.0", "1.0")


def test_k8_what_runs_from_replaced_files(audit, tmp_path, monkeypatch):
    """A library is replaced while a real process runs from it; that there are no package lists is another matter.

    Processes of other tests run from replaced files as well, and of those of one name two files are told.
    """
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    (tmp_path / "apt.conf").write_text(f'Dir::State "{tmp_path}/none";\n')
    with open("/proc/self/maps", encoding="utf-8") as maps:
        source = next(line.split()[-1] for line in maps if "/libc.so" in line)
    library = tmp_path / "libheld.so"
    shutil.copy(source, library)
    process = subprocess.Popen([sys.executable, "-c", HOLDER, library], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        everything = replaced.processes
        monkeypatch.setattr(replaced, "processes", lambda: [each for each in everything() if each.pid == process.pid])
        before = audit("os_updates", timeout="60s")["running"]
        assert before["metrics"]["processes"] == 0
        shutil.copy(source, tmp_path / "new")
        os.replace(tmp_path / "new", library)
        found = audit("os_updates", timeout="60s")
        running = found["running"]
        assert running["status"] == "warning"
        assert str(library) in json.dumps(running["details"]["findings"])
        assert running["metrics"]["processes"] == 1
        updates = next(each for target, each in found.items() if target != "running")
        assert (updates["status"], "there are no package lists" in updates["summary"]) == ("unknown", True)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "x", "type": "nonsense"}, "audits.x.type: 'nonsense' is no kind of audit. Use one of certificates"),
        ({"name": "a b", "type": "ssh"}, "audits[0].name: 'a b' is no name"),
        ({"name": "x", "type": "certificates"}, "audits.x.paths: [] names nothing. Give paths or servers or dry_run."),
        ({"name": "x", "type": "certificates", "paths": ["a.pem"]}, "audits.x.paths: 'a.pem' is no absolute path"),
        (
            {"name": "x", "type": "certificates", "paths": ["/a"], "critical": "30d"},
            "critical: '30d' comes before warning",
        ),
        ({"name": "x", "type": "ssh", "users": ["a,b"]}, "audits.x.users: 'a,b' is no name of a user"),
        ({"name": "x", "type": "permissions", "allowed": ["/*"]}, "audits.x.allowed: '/*' would allow too much"),
        (
            {"name": "x", "type": "python_packages", "requirements": ["/a"], "url": "http://x"},
            "is for service osv alone",
        ),
        ({"name": "x", "type": "ssh", "accepted": [{"id": "*", "reason": "x"}]}, "id: '*' would accept everything"),
        ({"name": "x", "type": "ssh", "accepted": [{"id": "a", "reason": " "}]}, "reason: ' ' is empty"),
        ({"name": "x", "type": "ssh", "accepted": [{"id": "a", "reason": "x", "until": "soon"}]}, "'soon' is no day"),
        ({"name": "x", "type": "ssh", "timeout": "0s"}, "audits.x.timeout: '0s' is no time"),
        ({"name": "x", "type": "key_ages", "max_age": "0d"}, "audits.x.max_age: '0d' is no time"),
        ({"name": "x", "type": "ssh", "unknown_option": 1}, "unknown_option"),
    ],
)
def test_what_cannot_be_used_is_refused(run, given, told):
    result = run(given)
    assert result["failed"] is True
    assert told in result["msg"]


def test_two_audits_of_one_name_are_refused(run):
    assert "is used twice for type ssh" in run({"name": "x", "type": "ssh"}, {"name": "x", "type": "ssh"})["msg"]
