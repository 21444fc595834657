# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP end points: the reference application, and servers that misbehave in each way (H4, H7, H8)."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
from integration.health.chains import chain

HEALTHY = {"json": {"status": "healthy", "database": "connected"}}
SECRET = "geheim-0123456789"


# --- The reference application ---------------------------------------------------------------------------------------


def test_healthy(check, app):
    outcome = check("http", url=f"{app.url}/health", expect=HEALTHY, warning="> 2s", critical="> 5s")
    assert outcome["status"] == "ok"
    assert outcome["metrics"]["status_code"] == 200
    assert 0 < outcome["metrics"]["response_seconds"] < 2
    assert outcome["summary"].startswith("GET answered 200 in ")


def test_a_sick_answer_is_told_by_what_was_expected(check, app):
    outcome = check(
        "http", url=f"{app.url}/health", expect={"json": {"status": "healthy", "version": "0.0", "a.b": True}}
    )
    assert outcome["status"] == "critical"
    version = app.call("GET", "/health").body["version"]
    assert outcome["summary"] == (
        f'{app.url}/health: version is "{version}", expected "0.0"; a.b is null, expected true'
    )


@pytest.mark.parametrize(
    ("expect", "status"),
    [
        ({"contains": '"healthy"'}, "ok"),
        ({"contains": "unhealthy"}, "critical"),
        ({"matches": r'"version":\s*"\d+\.'}, "ok"),
        ({"matches": r"^never$"}, "critical"),
        ({"status": [200, 204]}, "ok"),
        ({"status": [503]}, "critical"),
    ],
)
def test_expectations(check, app, expect, status):
    assert check("http", url=f"{app.url}/health", expect=expect)["status"] == status


def test_the_database_is_gone(check, app, sick):
    sick(database_down=True)
    outcome = check("http", url=f"{app.url}/health", expect=HEALTHY)
    assert outcome["status"] == "critical"
    assert "status is 503, expected 200" in outcome["summary"]
    assert 'database is "disconnected", expected "connected"' in outcome["summary"]


def test_a_slow_answer_is_a_warning_and_one_past_the_timeout_is_critical(check, app, sick):
    sick(latency_seconds=0.4)
    outcome = check("http", url=f"{app.url}/health", warning="> 200 ms", critical="> 60 s", timeout="60s")
    assert outcome["status"] == "warning"
    assert outcome["metrics"]["response_seconds"] >= 0.4
    sick(latency_seconds=5)
    outcome = check("http", url=f"{app.url}/health", timeout="500ms")
    assert (outcome["status"], outcome["metrics"]) == ("critical", {})
    assert outcome["summary"] == f"{app.url}/health: no whole answer within 0.5 s"


def test_errors_500(check, app, sick):
    sick(error_rate=1)
    outcome = check("http", url=f"{app.url}/health")
    assert (outcome["status"], outcome["metrics"]["status_code"]) == ("critical", 500)
    assert outcome["summary"] == f"{app.url}/health: status is 500, expected 200"


BUSINESS = {
    "type": "http",
    "values": {name: name for name in ("utilization", "cache_hit_rate", "queue_depth", "model_latency_seconds")},
    "metrics": {
        "utilization": {"warning": ["< 0.50", "> 0.95"]},
        "cache_hit_rate": {"warning": "< 0.8", "critical": "< 0.3"},
        "queue_depth": {"warning": "> 20"},
        "model_latency_seconds": {"warning": "> 100 ms"},
    },
}


@pytest.mark.parametrize(
    ("figures", "status", "reason"),
    [
        ({"utilization": 0.7}, "ok", "GET answered 200"),
        ({"utilization": 0.49}, "warning", "utilization is 0.49, bound < 0.50; "),
        ({"utilization": 0.96}, "warning", "utilization is 0.96, bound > 0.95; "),
        ({"cache_hit_rate": 0.2}, "critical", "cache_hit_rate is 0.2, bound < 0.3; "),
        ({"model_latency_seconds": 0.25}, "warning", "model_latency_seconds is 250 ms, bound > 100 ms; "),
    ],
)
def test_business_metrics_have_low_and_high_bounds(run, app, sick, figures, status, reason):
    well = {"utilization": 0.7, "cache_hit_rate": 0.9, "queue_depth": 3, "model_latency_seconds": 0.05}
    sick(metrics={**well, **figures})
    (outcome,) = run({"name": "business", **BUSINESS, "url": f"{app.url}/api/v1/metrics"})["outcomes"]
    assert (outcome["subject"], outcome["status"]) == ("http:business", status)
    assert outcome["summary"].startswith(reason)
    assert {name: outcome["metrics"][name] for name in well} == {**well, **figures}


def test_a_figure_that_is_not_there_is_unknown_not_ok(check, app):
    outcome = check(
        "http", url=f"{app.url}/api/v1/metrics", values={"gone": "no.such.path"}, metrics={"gone": {"warning": "> 1"}}
    )
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith("gone is not known here; ")


def test_an_answer_for_the_administrator_needs_the_header(check, app):
    url = f"{app.url}/admin/sick"
    assert check("http", url=url)["metrics"]["status_code"] == 401
    assert check("http", url=url, headers={"Authorization": f"Bearer {app.token}"})["status"] == "ok"
    put = {"url": url, "method": "PUT", "headers": {"Authorization": f"Bearer {app.token}"}}
    assert check("http", **put, body={"queue_depth": 7}, expect={"json": {"queue_depth": 7}})["status"] == "ok"
    assert app.admin("DELETE", "/admin/sick").status == 200


def test_nobody_listens(check):
    outcome = check("http", url="http://127.0.0.1:1/health", warning="> 1s")
    assert outcome["status"] == "critical"
    assert outcome["summary"] == "http://127.0.0.1:1/health: Connection refused"


# --- Servers that misbehave ------------------------------------------------------------------------------------------


@pytest.fixture
def answer(serve):
    """Start a server that answers every request with `parts`; return its address."""

    def go(parts):
        def talk(connection):
            connection.recv(65536)
            for part in parts() if callable(parts) else [parts]:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)

        return f"http://127.0.0.1:{serve(talk)}"

    return go


def body(text, status="200 OK", **headers):
    data = text if isinstance(text, bytes) else text.encode()
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(data)}",
        *[f"{name}: {value}" for name, value in headers.items()],
    ]
    return "\r\n".join([*lines, "", ""]).encode() + data


def test_an_endless_body_is_not_read_to_its_end(check, answer):
    def parts():
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        yield from itertools.repeat(b"x" * 65536)

    url = answer(parts)
    outcome = check("http", url=url, timeout="60s")
    assert (outcome["status"], outcome["summary"]) == ("critical", f"{url}: the body is larger than 4.0 MiB")


def test_a_body_that_drips_ends_at_the_timeout(check, answer):
    def parts():
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        for _second in range(600):
            time.sleep(0.05)
            yield b"x"

    url = answer(parts)
    outcome = check("http", url=url, timeout="500ms")
    assert (outcome["status"], outcome["summary"]) == ("critical", f"{url}: no whole answer within 0.5 s")


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""]
)
def test_an_answer_that_drips_ends_at_the_timeout(check, answer, start):
    """Each byte comes in time, the whole never does."""

    def parts():
        yield start
        for _second in range(600):
            time.sleep(0.05)
            yield b"1"

    began = time.monotonic()
    url = answer(parts)
    outcome = check("http", url=url, timeout="500ms")
    assert (outcome["status"], outcome["summary"]) == ("critical", f"{url}: no whole answer within 0.5 s")
    assert time.monotonic() - began < 10


def test_an_answer_in_chunks_after_an_interim_one(check, answer):
    head = b"HTTP/1.1 100 Continue\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    url = answer(head + b'b;x=y\r\n{"status": \r\n9\r\n"healthy"\r\n1\r\n}\r\n0\r\n\r\n')
    assert check("http", url=url, expect={"json": {"status": "healthy"}})["status"] == "ok"


# Each of those letters doubles the time: this would outlast the sun.
CATASTROPHE = "(x+x+)+y"


def test_an_expression_that_never_ends_is_ended_and_named_and_stops_nobody(run, answer):
    """Faults: catastrophic backtracking is bounded in time; the other checks are made all the same."""
    url = answer(body("x" * 5000))
    began = time.monotonic()
    slow, well, process = run(
        {"name": "slow", "type": "http", "url": url, "expect": {"matches": CATASTROPHE}},
        {"name": "well", "type": "http", "url": url, "expect": {"matches": "x{5000}"}},
        {"name": "busy", "type": "process", "pattern": "(.+.+)+\\n"},
    )["outcomes"]
    assert time.monotonic() - began < 15
    assert (slow["status"], well["status"], process["status"]) == ("unknown", "ok", "unknown")
    assert slow["summary"].startswith(f"expect.matches: {CATASTROPHE!r} took more than 0.5 s over one text")
    assert process["summary"].startswith("pattern: '(.+.+)+\\\\n' took more than 0.5 s")


def test_a_server_that_never_answers(check, hanging):
    outcome = check("http", url=f"http://127.0.0.1:{hanging}/", timeout="300ms")
    assert (outcome["status"], outcome["summary"]) == (
        "critical",
        f"http://127.0.0.1:{hanging}/: no whole answer within 0.3 s",
    )


def test_a_server_that_keeps_the_connection_open_has_answered_all_the_same(check, serve):
    over = threading.Event()

    def talk(connection):
        connection.recv(65536)
        connection.sendall(body('{"status": "healthy"}'))
        over.wait(60)

    outcome = check(
        "http", url=f"http://127.0.0.1:{serve(talk)}/", timeout="10s", expect={"json": {"status": "healthy"}}
    )
    over.set()
    assert outcome["status"] == "ok"


@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
def test_an_answer_without_a_body(check, answer, method):
    head = b"HTTP/1.1 204 No Content\r\n\r\n" if method == "DELETE" else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    assert check("http", url=answer(head), method=method, expect={"status": [200, 204]})["status"] == "ok"


@pytest.mark.parametrize(
    ("parts", "summary"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "the body ended 95 bytes too early"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
            "the body ended in the middle of its chunks",
        ),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n", "more than 100 headers"),
        (b"HTTP/1.1 200 OK\r\nX-Cut", "the connection was closed in the middle of the headers"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nlots\r\n",
            "the body ended in the middle of its chunks",
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "got more than 65536 bytes when reading header line"),
    ],
    ids=range(8),
)
def test_an_answer_that_is_no_http(check, answer, parts, summary):
    url = answer(parts)
    outcome = check("http", url=url)
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith(f"{url}: ")
    assert summary in outcome["summary"]


@pytest.mark.parametrize(
    ("text", "status", "summary"),
    [
        ("<html>down for lunch</html>", "critical", "the body is no JSON"),
        (b"\xff\xfe", "critical", "the body is no JSON"),
        ("[" * 100_000, "critical", "the body is no JSON"),
        ('{"value": NaN}', "unknown", "value is not known here"),
        ('{"value": Infinity}', "unknown", "value is not known here"),
        ('{"value": ' + "9" * 400 + "}", "unknown", "value is not known here"),
        ('{"value": "many"}', "unknown", "value is not known here"),
        ('{"value": null}', "unknown", "value is not known here"),
        ('{"value": [3]}', "unknown", "value is not known here"),
        ("[1, 2]", "unknown", "value is not known here"),
        ('{"value": "12.5"}', "ok", "GET answered 200"),
        ('{"value": true}', "ok", "GET answered 200"),
    ],
    ids=range(12),
)
def test_json_that_holds_no_figure(check, answer, text, status, summary):
    outcome = check("http", url=answer(body(text)), values={"value": "value"}, metrics={"value": {"warning": "> 1e6"}})
    assert outcome["status"] == status
    assert summary in outcome["summary"]


def test_the_status_is_told_though_the_body_is_no_json(check, answer):
    url = answer(body("<h1>Bad Gateway</h1>", "502 Bad Gateway"))
    outcome = check("http", url=url, expect=HEALTHY)
    assert outcome["summary"] == f"{url}: status is 502, expected 200; the body is no JSON"
    assert outcome["metrics"]["status_code"] == 502


def test_true_is_not_1(check, answer):
    url = answer(body('{"ready": 1}'))
    assert check("http", url=url, expect={"json": {"ready": 1}})["status"] == "ok"
    assert check("http", url=url, expect={"json": {"ready": True}})["status"] == "critical"


def test_a_redirect_is_followed_unless_it_is_what_is_expected(check, answer, app):
    url = answer(body("", "302 Found", Location=f"{app.url}/health"))
    assert check("http", url=url, expect=HEALTHY)["status"] == "ok"
    outcome = check("http", url=url, expect={"status": [302]})
    assert (outcome["status"], outcome["metrics"]["status_code"]) == ("ok", 302)


def test_redirects_in_a_circle(check, answer):
    url = answer(body("", "302 Found", Location="/again"))
    outcome = check("http", url=f"{url}/")
    assert outcome["status"] == "critical"
    assert outcome["summary"] == f"{url}/: more than 10 redirects, the last to {url}/again"


def test_a_redirect_to_what_is_no_address(check, answer):
    url = answer(body("", "302 Found", Location="http://127.0.0.1:what/"))
    outcome = check("http", url=url)
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith(f"{url}: redirects to http://127.0.0.1:what/, which is no address: ")


@pytest.mark.parametrize(
    ("status", "method", "got"),
    [(301, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"), (308, "POST", "POST"), (302, "HEAD", "HEAD")],
)
def test_what_a_redirect_makes_of_method_and_body(check, serve, status, method, got):
    asked = []

    def talk(connection):
        with connection.makefile("rb") as stream:
            head = b"".join(iter(stream.readline, b"\r\n"))
            length = re.search(rb"Content-Length: (\d+)", head)
            asked.append(head + (stream.read(int(length[1])) if length else b""))
        connection.sendall(body("", "200 OK" if len(asked) > 1 else f"{status} Elsewhere", Location="/b?x=%20 y"))

    given = {} if method == "HEAD" else {"body": {"n": 1}}
    outcome = check("http", url=f"http://127.0.0.1:{serve(talk)}/a", method=method, **given)
    assert outcome["status"] == "ok"
    assert asked[0].startswith(f"{method} /a HTTP/1.1\r\n".encode())
    assert asked[1].startswith(f"{got} /b?x=%20%20y HTTP/1.1\r\n".encode())
    assert asked[1].endswith(b'{"n": 1}') == (got == "POST")
    assert (b"Content-Type: application/json" in asked[1]) == (got == "POST")


def test_a_body_is_not_sent_to_another_host(check, serve, answer):
    url = answer(body("", "307 Temporary Redirect", Location="http://127.0.0.2:1/"))
    outcome = check("http", url=url, method="POST", body={"password": SECRET})
    assert outcome["status"] == "critical"
    assert outcome["summary"] == f"{url}: redirects with status 307 to http://127.0.0.2:1/, which must not get the body"


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1:1/x", "gopher:"])
def test_a_redirect_out_of_http_is_not_followed(check, answer, place):
    url = answer(body("", "302 Found", Location=place))
    outcome = check("http", url=url + "/")
    assert (outcome["status"], outcome["summary"]) == ("critical", f"{url}/: status is 302, expected 200")


def test_headers_are_not_sent_to_another_host(check, serve, answer):
    got = []

    def listen(connection):
        got.append(connection.recv(65536).decode())
        connection.sendall(body("{}"))

    elsewhere = f"http://127.0.0.1:{serve(listen)}/x"
    check("http", url=elsewhere, headers={"X-Key": SECRET})
    check("http", url=answer(body("", "302 Found", Location=elsewhere)), headers={"X-Key": SECRET})
    first, second = got
    assert SECRET in first
    assert SECRET not in second
    assert "User-Agent: sre.runbooks" in second


@pytest.mark.parametrize("headers", [{"X-Key": SECRET}, {"X-Key": 7}, {"X-Key": True}, {"X-Key": "Grüße"}])
def test_headers_arrive_and_stay_out_of_the_result(run, answer, headers):
    result = run(
        {"name": "x", "type": "http", "url": answer(body("{}")), "headers": headers, "body": {"n": 1, "s": SECRET}}
    )
    (outcome,) = result["outcomes"]
    assert outcome["status"] == "ok"
    assert isinstance(outcome["metrics"]["response_seconds"], float)
    assert SECRET not in json.dumps(result)


def test_a_body_that_repeats_the_secret_does_not_tell_it(check, answer):
    url = answer(body(json.dumps({"key": f"your {SECRET} is wrong"})))
    outcome = check("http", url=url, headers={"X-Key": SECRET}, expect={"json": {"key": "right"}})
    assert outcome["summary"] == f'{url}: key is "your ******** is wrong", expected "right"'


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [shutil.which("openssl") or "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def https(certificate, serve):
    """The address of a server with a certificate of its own making."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def talk(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(body('{"status": "healthy"}'))

    return f"https://127.0.0.1:{serve(talk)}/"


def test_a_certificate_nobody_vouches_for_is_critical(check, https):
    outcome = check("http", url=https)
    assert outcome["status"] == "critical"
    assert "CERTIFICATE_VERIFY_FAILED" in outcome["summary"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"leaf": -1}, "certificate has expired"),
        ({"intermediate": -1}, "certificate has expired"),
        ({"begins": 1}, "certificate is not yet valid"),
        ({"names": ("api.example.org",)}, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    ],
)
def test_a_certificate_that_is_out_of_its_time_or_place_is_critical(check, serve, tmp_path, given, reason):
    shown = chain(tmp_path, **given)

    def talk(connection):
        with contextlib.suppress(ssl.SSLError), shown.context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(body("{}"))

    url = f"https://127.0.0.1:{serve(talk)}/"
    outcome = check("http", url=url, ca_path=shown.ca_path)
    assert outcome["status"] == "critical"
    assert reason in outcome["summary"]
    assert "_ssl.c" not in outcome["summary"]
    assert check("http", url=url, validate_certs=False)["status"] == "ok"


def test_a_server_that_never_speaks_tls(check, hanging):
    began = time.monotonic()
    outcome = check("http", url=f"https://127.0.0.1:{hanging}/", timeout="500ms")
    assert (outcome["status"], outcome["summary"]) == (
        "critical",
        f"https://127.0.0.1:{hanging}/: no whole answer within 0.5 s",
    )
    assert time.monotonic() - began < 10


def test_a_page_of_metrics_over_tls(check, serve, tmp_path):
    shown = chain(tmp_path)

    def talk(connection):
        with contextlib.suppress(ssl.SSLError), shown.context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(body("jobs 7\n"))

    url = f"https://localhost:{serve(talk)}/metrics"
    assert check("metrics", url=url, samples={"jobs": "jobs"})["status"] == "critical"
    outcome = check("metrics", url=url, samples={"jobs": "jobs"}, ca_path=shown.ca_path)
    assert (outcome["status"], outcome["metrics"]["jobs"]) == ("ok", 7)


def test_a_certificate_is_believed_when_the_user_says_so(check, https, certificate):
    assert check("http", url=https, validate_certs=False, expect={"json": {"status": "healthy"}})["status"] == "ok"
    assert check("http", url=https, ca_path=str(certificate / "cert.pem"))["status"] == "ok"


def test_what_the_user_says_of_certificates_holds_after_a_redirect(check, https, answer, certificate):
    url = answer(body("", "301 Moved Permanently", Location=https))
    outcome = check("http", url=url)
    assert outcome["status"] == "critical"
    assert "self-signed certificate" in outcome["summary"]
    assert check("http", url=url, validate_certs=False)["status"] == "ok"
    assert check("http", url=url, ca_path=str(certificate / "cert.pem"))["status"] == "ok"


def test_a_certificate_for_another_name_is_critical(check, https, certificate):
    outcome = check("http", url=https.replace("127.0.0.1", "127.0.0.2"), ca_path=str(certificate / "cert.pem"))
    assert outcome["status"] == "critical"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_unknown_by_name(check, https, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    outcome = check("http", url=https, ca_path=str(path))
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith(f"ca_path: {path}: ")
    assert outcome["summary"].endswith("Name a file of certificates in PEM format.")


# --- Together --------------------------------------------------------------------------------------------------------


def test_twelve_checks_are_open_at_the_same_time(run, serve):
    """The server answers nobody before twelve have asked: one after the other would never end."""
    together = threading.Barrier(12, timeout=60)

    def talk(connection):
        connection.recv(65536)
        together.wait()
        connection.sendall(body("{}"))

    url = f"http://127.0.0.1:{serve(talk)}/"
    result = run(
        *[{"name": f"c{number}", "type": "http", "url": url, "timeout": "60s"} for number in range(12)], timeout=90
    )
    assert [each["status"] for each in result["outcomes"]] == ["ok"] * 12


def test_the_module_ends_inside_its_timeout_though_a_check_hangs_for_longer(run_in_namespace, app, hanging):
    hangs, well = run_in_namespace(
        ":",
        {"name": "hangs", "type": "http", "url": f"http://127.0.0.1:{hanging}/", "timeout": "1h"},
        {"name": "well", "type": "http", "url": f"{app.url}/health", "timeout": "1h"},
        timeout=5,
    )
    assert (hangs["status"], well["status"]) == ("unknown", "ok")
    assert hangs["summary"].startswith("no answer within the 5 s that all checks of this host have")
