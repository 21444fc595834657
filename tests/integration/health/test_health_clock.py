# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clock against servers of NTP on loopback that are right, wrong, slow or silent (C1)."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import threading
import time

import pytest

EPOCH = 2208988800


def stamp(seconds):
    return struct.pack("!II", int(seconds + EPOCH) % 2**32, int(seconds % 1 * 2**32))


def answer(request, ahead=0.0, first=0x24, stratum=2, word=b"GPS\0"):
    """The answer of a server whose clock is `ahead` of ours."""
    now = time.time() + ahead
    head = struct.pack("!BBbbII4s", first, stratum, 6, -20, 0, 0, word)
    return head + stamp(now - 10) + request[40:48] + stamp(now) + stamp(now)


@pytest.fixture
def ntp():
    """Start a server that sends what `respond(request)` gives (a list of packets); return its port."""
    with contextlib.ExitStack() as stack:

        def go(respond):
            server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            server.bind(("127.0.0.1", 0))

            def listen():
                with contextlib.suppress(OSError):
                    while True:
                        request, client = server.recvfrom(512)
                        assert (len(request), request[0]) == (48, 0x23)
                        for packet in respond(request):
                            server.sendto(packet, client)

            threading.Thread(target=listen, daemon=True).start()
            return server.getsockname()[1]

        yield go


@pytest.mark.parametrize(
    ("ahead", "status", "side"),
    [(0.0, "ok", ""), (30.0, "critical", "30.0 s behind"), (-2.0, "warning", "2.0 s ahead of"), (86400.0 * 400, "critical", "400.0 d behind")],
)  # fmt: skip
def test_the_clock_is_held_against_a_server(check, ntp, ahead, status, side):
    port = ntp(lambda request: [answer(request, ahead)])
    outcome = check("clock", server="127.0.0.1", port=port, warning="> 500 ms", critical="> 10 s")
    assert outcome["status"] == status
    assert outcome["metrics"]["offset_seconds"] == pytest.approx(abs(ahead), abs=0.3)
    assert f"{side} " in outcome["summary"]
    assert outcome["summary"].endswith("127.0.0.1 (stratum 2)")
    assert 0 <= outcome["details"]["delay_seconds"] < 5


def test_an_answer_that_is_not_ours_is_not_believed(check, ntp):
    port = ntp(lambda request: [answer(os.urandom(48), 9999), b"", os.urandom(48), answer(request)])
    outcome = check("clock", server="127.0.0.1", port=port, warning="> 500 ms")
    assert (outcome["status"], outcome["metrics"]["offset_seconds"] < 0.5) == ("ok", True)


def test_a_datagram_may_be_lost(check, ntp):
    asked = []

    def respond(request):
        asked.append(request)
        return [answer(request)] if len(asked) > 1 else []

    outcome = check("clock", server="127.0.0.1", port=ntp(respond), warning="> 500 ms", timeout="30s")
    assert (outcome["status"], len(asked)) == ("ok", 2)
    assert asked[0][40:48] != asked[1][40:48]


@pytest.mark.parametrize(
    ("given", "summary"),
    [
        ({"stratum": 0, "word": b"RATE"}, "server: 127.0.0.1 does not want to be asked: RATE"),
        ({"first": 0xE4}, "server: 127.0.0.1 does not know the time itself, or is no server of NTP"),
        ({"stratum": 16}, "server: 127.0.0.1 does not know the time itself, or is no server of NTP"),
        ({"first": 0x23}, "server: 127.0.0.1 does not know the time itself, or is no server of NTP"),
    ],
)
def test_a_server_that_does_not_know_is_unknown(check, ntp, given, summary):
    port = ntp(lambda request: [answer(request, **given)])
    outcome = check("clock", server="127.0.0.1", port=port, warning="> 500 ms")
    assert (outcome["status"], outcome["summary"]) == ("unknown", summary)


def test_a_short_answer(check, ntp):
    outcome = check("clock", server="127.0.0.1", port=ntp(lambda request: [answer(request)[:40]]), warning="> 1s")
    assert (outcome["status"], outcome["summary"]) == (
        "unknown",
        "server: 127.0.0.1 sent 40 bytes, which are no answer of NTP",
    )


def test_a_server_that_is_silent_or_not_there(check, ntp):
    began = time.monotonic()
    port = ntp(lambda request: [])
    outcome = check("clock", server="127.0.0.1", port=port, warning="> 1s", timeout="300ms")
    assert outcome["status"] == "unknown"
    assert outcome["summary"] == f"server: 127.0.0.1 port {port} has not answered within 0.3 s"
    assert time.monotonic() - began < 10
    outcome = check("clock", server="127.0.0.1", port=1, warning="> 1s")
    assert (outcome["status"], outcome["summary"]) == ("unknown", "server: 127.0.0.1 port 1: Connection refused")
    assert check("clock", server="a..b", warning="> 1s")["status"] == "unknown"


def test_without_a_server_the_host_is_asked(check):
    """Whether anybody keeps the clock of this machine is not known; either answer must be one."""
    outcome = check("clock", warning="> 1h")
    if outcome["metrics"]:
        assert outcome["status"] == "ok"
        assert outcome["details"]["source"] in ("kernel", "chrony")
    else:
        assert outcome["status"] == "unknown"
        assert any(text in outcome["summary"] for text in ("clock", "chrony"))


def test_chrony_is_asked_first_where_it_is(check, tmp_path, monkeypatch):
    program = tmp_path / "chronyc"
    program.write_text(
        "#!/bin/sh\n[ \"$*\" = '-n -c tracking' ] && echo "
        "'7F000001,127.0.0.1,2,1792663200.1,-0.250000000,0.1,0.2,-1.5,0.0,0.4,0.001,0.002,64.2,Normal'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    outcome = check("clock", warning="> 200 ms")
    assert (outcome["status"], outcome["metrics"]) == ("warning", {"offset_seconds": 0.25})
    assert outcome["summary"].endswith("the clock is 250 ms off, as chrony has it")
    program.write_text("#!/bin/sh\necho '506 Cannot talk to daemon'; exit 1\n")
    assert check("clock", warning="> 1h")["details"].get("source") != "chrony"
    assert subprocess.run(["chronyc"], check=False, capture_output=True).returncode == 1
