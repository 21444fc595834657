# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far the host's clock is off: asked of an NTP server, or as the service that keeps the clock has it."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import struct
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("offset_seconds",)
OPTIONS: dict[str, t.Any] = {"server": {"type": "str"}, "port": {"type": "int", "default": 123}}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = False
# A datagram may be lost.
REPEAT_SECONDS = 1.0
# Seconds from 1900, where NTP begins, to 1970; the count starts again every 2**32 seconds, next in 2036.
EPOCH = 2208988800
ERA = 2**32
# Fields of a packet (RFC 5905, section 7.3): leap, version and mode; stratum; …; three time stamps of the four.
_PACKET = struct.Struct("!BBbb11I")
_UNSYNCHRONISED, _NANOSECONDS = 0x0040, 0x2000


class Reply(t.NamedTuple):
    """What a server answered, in seconds: how far it is ahead of this clock, how long the packets took."""

    ahead: float
    delay: float
    stratum: int


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """A port is 16 bits wide."""
    if not 1 <= options["port"] <= 65535:
        raise InputError("port", options["port"], "is no port", "Give a number from 1 to 65535.")


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Measure once. `offset_seconds` has no sign, so that one bound holds for both directions."""
    if options["server"]:
        reply = ask(options["server"], options["port"], options["timeout"])
        side = "behind" if reply.ahead > 0 else "ahead of"
        told = f"{show_duration(abs(reply.ahead))} {side} {options['server']} (stratum {reply.stratum})"
        details = {"source": options["server"], "delay_seconds": round(reply.delay, 6)}
        return [_observation(reply.ahead, told, details)]
    if shutil.which("chronyc"):
        done = host.commands.run(["chronyc", "-n", "-c", "tracking"], timeout=options["timeout"], check=False)
        if done.rc == 0:
            off = tracking(done.stdout)
            return [_observation(off, f"{show_duration(abs(off))} off, as chrony has it", {"source": "chrony"})]
    off, most = _kernel()
    told = f"{show_duration(abs(off))} off when it was last set, at most {show_duration(most)} now"
    return [_observation(off, told, {"source": "kernel", "maximum_error_seconds": round(most, 6)})]


def _observation(off: float, told: str, details: t.Mapping[str, t.Any]) -> Observation:
    return Observation({"offset_seconds": round(abs(off), 9)}, f"the clock is {told}", details=details)


def ask(server: str, port: int, timeout: float) -> Reply:
    """Ask an NTP server (RFC 4330). A server that does not answer tells nothing of this clock: RunbookError."""
    deadline = time.monotonic() + timeout
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(server, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as line:
            line.connect(address)
            return _talk(line, server, deadline)
    except (OSError, UnicodeError) as error:
        if isinstance(error, (TimeoutError, socket.timeout)):
            raise RunbookError(f"server: {server} port {port} has not answered within {timeout:g} s") from error
        raise RunbookError(f"server: {server} port {port}: {getattr(error, 'strerror', None) or error}") from error


def _talk(line: socket.socket, server: str, deadline: float) -> Reply:
    while True:
        # Random instead of our time: the answer has to repeat it, so that nobody else can answer.
        mark = os.urandom(8)
        sent, started = time.time(), time.monotonic()
        line.send(struct.pack("!B39x8s", 0x23, mark))
        while (left := min(deadline, started + REPEAT_SECONDS) - time.monotonic()) > 0:
            line.settimeout(left)
            try:
                packet = line.recv(512)
            except (TimeoutError, socket.timeout):
                break
            if packet[24:32] == mark:
                return read(packet, sent, sent + time.monotonic() - started, server)
        if time.monotonic() >= deadline:
            raise TimeoutError


def read(packet: bytes, sent: float, received: float, server: str) -> Reply:
    """Read an answer to what was `sent` and `received` at these times of the own clock."""
    if len(packet) < _PACKET.size:
        raise RunbookError(f"server: {server} sent {len(packet)} bytes, which are no answer of NTP")
    first, stratum, *_rest = fields = _PACKET.unpack_from(packet)
    if stratum == 0:
        code = packet[12:16].decode("ascii", "replace").strip("\0")
        raise RunbookError(f"server: {server} does not want to be asked: {code}")
    if first >> 6 == 3 or stratum > 15 or first & 7 != 4 or not any(fields[13:15]):
        raise RunbookError(f"server: {server} does not know the time itself, or is no server of NTP")
    arrived, left = (_seconds(fields[place], fields[place + 1], sent) for place in (11, 13))
    return Reply(((arrived - sent) + (left - received)) / 2, (received - sent) - (left - arrived), stratum)


def _seconds(whole: int, fraction: int, near: float) -> float:
    """A time stamp in seconds since 1970, in the era that is nearest."""
    seconds = whole - EPOCH + fraction / ERA
    return seconds + ERA * round((near - seconds) / ERA)


def tracking(text: str) -> float:
    """How far chronyd has still to correct the clock, out of `chronyc -c tracking`."""
    fields = text.strip().split(",")
    try:
        stratum, off = int(fields[2]), float(fields[4])
    except (IndexError, ValueError) as error:
        raise RunbookError(f"chronyc answered what is not understood: {text.strip()[:80]!r}") from error
    if fields[-1] == "Not synchronised" or stratum == 0:
        raise RunbookError("chrony has not synchronised the clock: it reaches no server")
    return off


def _kernel() -> tuple[float, float]:
    """What the kernel has been told of its clock by whoever keeps it."""
    library = ctypes.CDLL(None, use_errno=True)
    state = ctypes.create_string_buffer(512)  # struct timex, of which nothing is set: modes is 0
    if library.adjtimex(state) < 0:
        raise RunbookError(f"the kernel does not tell of its clock: {os.strerror(ctypes.get_errno())}. Give server.")
    return timex(*struct.unpack_from("@Illlli", state))


def timex(_modes: int, offset: int, _frequency: int, maximum: int, _estimated: int, status: int) -> tuple[float, float]:
    """The first fields of struct timex (adjtimex(2)) as offset and largest possible error, in seconds."""
    if status & _UNSYNCHRONISED:
        raise RunbookError(
            "nobody keeps this host's clock: it is not synchronised. Start chrony or systemd-timesyncd, or give server."
        )
    return offset / (1e9 if status & _NANOSECONDS else 1e6), maximum / 1e6
