# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates renewed by the real certbot at a real ACME authority on loopback (pebble), and shown by a real server (K7)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import security_audit

from ..conftest import free_port
from .conftest import by_subject

NAME = "www.example.org"
SERVER = """
import signal, socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
def load(*_ignored):
    context.load_cert_chain(sys.argv[1], sys.argv[2])
load()
signal.signal(signal.SIGHUP, load)
server = socket.create_server(("127.0.0.1", 0), backlog=64)
def talk(plain):
    try:
        with context.wrap_socket(plain, server_side=True) as channel:
            channel.recv(1)
    except OSError:
        pass
print(server.getsockname()[1], flush=True)
while True:
    threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """An authority that believes every claim of a name; certbot's folders and arguments for it."""
    if not shutil.which("pebble") or not shutil.which("certbot"):
        pytest.fail("pebble or certbot is missing. Install them (apt-get install pebble certbot)")
    folder = tmp_path_factory.mktemp("acme")
    port = free_port()
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*argv, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    config = {
        "listenAddress": f"127.0.0.1:{port}", "managementListenAddress": f"127.0.0.1:{free_port()}",
        "certificate": str(folder / "cert.pem"), "privateKey": str(folder / "key.pem"), "httpPort": 5002, "tlsPort": 5001,
        "ocspResponderURL": "", "externalAccountBindingRequired": False,
    }  # fmt: skip
    (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
    environment = {**os.environ, "PEBBLE_VA_ALWAYS_VALID": "1", "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["pebble", "-config", folder / "pebble.json"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    arguments = ["--no-verify-ssl"]
    arguments += [part for name in ("config", "work", "logs") for part in (f"--{name}-dir", str(folder / name))]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    asked = [
        "certbot",
        "certonly",
        "--non-interactive",
        "--standalone",
        "--http-01-port",
        str(free_port()),
        "--agree-tos",
    ]
    asked += ["--register-unsafely-without-email", "--server", f"https://127.0.0.1:{port}/dir"]
    done = subprocess.run([*asked, *arguments, "-d", NAME], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr + (folder / "log").read_text()
    renewal = folder / f"config/renewal/{NAME}.conf"
    live = folder / f"config/live/{NAME}"
    plain = renewal.read_text()

    class Authority:
        def __init__(self):
            self.process, self.arguments, self.live = process, arguments, live

        def due(self, yes):
            # Its certificates last for five years; whether they are due is for certbot to say.
            renewal.write_text(("renew_before_expiry = 20 years\n" if yes else "") + plain)

    yield Authority()
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


@pytest.fixture
def server(authority):
    """A server that reads its certificate at its start and when it is told to."""
    argv = [sys.executable, "-c", SERVER, authority.live / "fullchain.pem", authority.live / "privkey.pem"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    port = int(process.stdout.readline())
    yield (
        {"path": str(authority.live / "fullchain.pem"), "host": "127.0.0.1", "port": port, "server_name": NAME},
        process.pid,
    )
    process.kill()
    process.wait()
    process.stdout.close()


def shown(given):
    """The certificate that the server shows now, in DER form."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", given["port"])) as plain, context.wrap_socket(plain) as channel:
        return channel.getpeercert(binary_form=True)


def renewing(authority, given, **more):
    return {
        "updates": "none",
        "certbot": True,
        "certbot_arguments": authority.arguments,
        "certificates": [{**given, **more}],
    }


def test_k7_renewed_in_the_window_and_proven_by_what_is_served(authority, server, run):
    given, pid = server
    subject = f"certificate:{given['path']}"
    authority.due(True)
    old = shown(given)
    told = by_subject(run(**renewing(authority, given), _ansible_check_mode=True))
    assert told["certbot"]["summary"] == "certbot would be asked to renew what is due"
    assert "ends in 182" in told[subject]["summary"]
    assert shown(given) == old
    time.sleep(1.1)  # certificates have their times to the second
    # Nobody tells the server: what it shows is not what was renewed.
    result = run(**renewing(authority, given))
    told = by_subject(result)
    assert told["certbot"]["status"] == "ok", told
    assert (result["changed"], told[subject]["status"]) == (True, "critical")
    assert "still shows another certificate than" in told[subject]["summary"]
    assert shown(given) == old
    # Told so, the next run mends it without another renewal.
    authority.due(False)
    result = run(**renewing(authority, given, command=["kill", "-HUP", str(pid)]))
    told = by_subject(result)
    assert (result["changed"], told[subject]["status"]) == (True, "ok")
    assert shown(given) != old
    again = run(**renewing(authority, given, command=["false"]))
    assert (again["changed"], again["status"]) == (False, "ok")
    assert by_subject(again)[subject]["summary"].startswith(f"{given['path']}: shown by 127.0.0.1, ")
    # Renewed and reloaded in one run.
    authority.due(True)
    time.sleep(1.1)
    told = by_subject(run(**renewing(authority, given, command=["kill", "-HUP", str(pid)])))
    assert told[subject]["status"] == "ok"
    assert "renewed, and shown by 127.0.0.1" in told[subject]["summary"]


def test_outside_the_window_nothing_is_renewed(authority, server, run):
    given, _pid = server
    authority.due(True)
    old = shown(given)
    window = {"begin": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    result = run(**renewing(authority, given), now=False, windows=[window])
    assert (result["status"], result["changed"]) == ("skipped", False)
    assert shown(given) == old


def test_the_audit_rehearses_a_renewal_and_compares_file_and_server(authority, server, capsys, tmp_path):
    given, _pid = server
    place = {
        "host": "127.0.0.1",
        "port": given["port"],
        "server_name": NAME,
        "validate_certs": False,
        "path": given["path"],
    }
    audit = {
        "name": "x", "type": "certificates", "servers": [place], "dry_run": True,
        "certbot": [*authority.arguments, "--server", _server(authority)],
    }  # fmt: skip
    with patch_module_args({"audits": [audit], "state_dir": str(tmp_path)}), pytest.raises(SystemExit):
        security_audit.main()
    told = {each["subject"]: each for each in json.loads(capsys.readouterr().out)["outcomes"]}
    assert told["certificates:x:certbot"]["summary"] == "certbot could renew all its certificates"
    assert told[f"certificates:x:127.0.0.1:{given['port']}"]["status"] == "ok"


def _server(authority):
    text = (authority.live.parents[1] / f"renewal/{NAME}.conf").read_text()
    return next(line.split(" = ")[1] for line in text.splitlines() if line.startswith("server = "))


def test_an_authority_that_is_gone_is_critical_and_the_certificate_stays(authority, server, run):
    """The last of this file: the authority does not come back."""
    given, _pid = server
    authority.due(True)
    old = shown(given)
    authority.process.kill()
    authority.process.wait()
    result = run(**renewing(authority, given))
    told = by_subject(result)
    assert (result["status"], result["changed"]) == ("critical", False)
    assert told["certbot"]["summary"].startswith("certbot could not renew: ")
    assert told[f"certificate:{given['path']}"]["status"] == "ok", "it lasts on"
    assert shown(given) == old
