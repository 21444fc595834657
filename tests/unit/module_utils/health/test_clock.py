# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers of NTP, chrony and the kernel, read by pure functions (C1)."""

from __future__ import annotations

import struct

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import clock


def packet(arrived, left):
    def stamp(seconds):
        return struct.pack("!II", int(seconds + clock.EPOCH) % clock.ERA, int(seconds % 1 * clock.ERA))

    return struct.pack("!BBbbII4s", 0x24, 1, 6, -20, 0, 0, b"GPS\0") + bytes(16) + stamp(arrived) + stamp(left)


@pytest.mark.parametrize(
    ("sent", "arrived", "left", "received", "ahead", "delay"),
    [
        (1000.0, 1000.5, 1000.5, 1001.0, 0.0, 1.0),
        (1000.0, 1010.5, 1010.75, 1001.0, 10.125, 0.75),
        (1000.0, 990.5, 990.5, 1001.0, -10.0, 1.0),
        # the count of seconds starts again on 7 February 2036
        (2085978495.0, 2085978496.5, 2085978496.5, 2085978496.0, 1.0, 1.0),
        (2085978497.0, 2085978495.5, 2085978495.5, 2085978498.0, -2.0, 1.0),
        (2500000000.0, 2500000000.5, 2500000000.5, 2500000001.0, 0.0, 1.0),
    ],
)
def test_offset_and_delay(sent, arrived, left, received, ahead, delay):
    reply = clock.read(packet(arrived, left), sent, received, "x")
    assert (reply.ahead, reply.delay) == (pytest.approx(ahead, abs=1e-6), pytest.approx(delay, abs=1e-6))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((0, 1500, 0, 16000, 3, 0x0001), (0.0015, 0.016)),
        ((0, -1500, 0, 250, 3, 0x2001), (-1.5e-6, 0.00025)),
    ],
)
def test_what_the_kernel_tells(fields, expected):
    assert clock.timex(*fields) == pytest.approx(expected)


def test_a_clock_that_nobody_keeps_is_no_good_clock():
    with pytest.raises(RunbookError, match=r"^nobody keeps this host's clock: it is not synchronised\. Start chrony"):
        clock.timex(0, 0, 0, 16_000_000, 0, 0x0041)


# `chronyc -c tracking` of chrony 4.3 against a server, and before it had one.
TRACKING = "7F000001,127.0.0.1,2,1763706000.123456789,0.000001234,0.000000012,0.000000034,-3.456,0.001,0.123,0.000123456,0.000234567,64.5,Normal\n"
NOTHING = "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised\n"


def test_what_chrony_tells():
    assert clock.tracking(TRACKING) == 0.000001234
    with pytest.raises(RunbookError, match=r"^chrony has not synchronised the clock: it reaches no server$"):
        clock.tracking(NOTHING)
    for text in ("", "a,b", "506 Cannot talk to daemon"):
        with pytest.raises(RunbookError, match=r"^chronyc answered what is not understood: "):
            clock.tracking(text)
