# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""certbot renews what is due; each certificate is then proven by what its server shows (K7)."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._health import tls

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host

STAGE = "patching"
SUBJECT = "certbot"
# After a reload the old worker may answer for a while; certbot's own hooks have ended when it has.
RELOAD_SECONDS = 20.0
HOOK_SECONDS = 3.0
CALL_SECONDS = 10.0
PAUSE = 0.5
_LIMIT = 4 * 2**20
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


class Seen(t.NamedTuple):
    """A certificate by its fingerprint, and its end in seconds since the epoch."""

    fingerprint: str
    ends: float


def renew(given: t.Mapping[str, t.Any], timeout: float, host: Host, check: bool) -> tuple[list[dict[str, t.Any]], bool]:
    """Return the outcomes, and whether a certificate was renewed or a server told to read one again."""
    before = [_file(each["path"], host) for each in given["certificates"]]
    argv = ["certbot", "renew", "--non-interactive", "--no-random-sleep-on-renew", *given["certbot_arguments"]]
    if check:
        outcomes = [outcome(SUBJECT, STAGE, "ok", "certbot would be asked to renew what is due")]
        for each, old in zip(given["certificates"], before):
            told = (
                f"{each['path']} ends in {show_duration(old.ends - host.now)}"
                if old
                else f"{each['path']} is not there"
            )
            outcomes.append(outcome(f"certificate:{each['path']}", STAGE, "ok" if old else "warning", told))
        return outcomes, False
    try:
        done = host.commands.run(argv, timeout=timeout, check=False)
        problem = "" if done.rc == 0 else _why(done.stderr + done.stdout)
    except RunbookError as error:
        problem = str(error)
    outcomes = [outcome(SUBJECT, STAGE, "critical", f"certbot could not renew: {problem}") if problem
                else outcome(SUBJECT, STAGE, "ok", "certbot has renewed what was due")]  # fmt: skip
    changed = False
    for each, old in zip(given["certificates"], before):
        status, text, moved = _proven(each, old, host)
        changed = changed or moved
        outcomes.append(outcome(f"certificate:{each['path']}", STAGE, status, text))
    return outcomes, changed


def _why(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if re.search(r"fail|error|denied|invalid", line, re.IGNORECASE)]
    return " / ".join(dict.fromkeys(lines[:3])) or "it does not say why"


def _proven(given: t.Mapping[str, t.Any], old: Seen | None, host: Host) -> tuple[str, str, bool]:
    """Status, text, and whether something was changed: the server must show what the file holds."""
    path = given["path"]
    now = _file(path, host)
    if now is None:
        return "critical", f"{path} is not there, or holds no certificate", False
    renewed = old is None or now.fingerprint != old.fingerprint
    left = show_duration(now.ends - host.now)
    if renewed and old is not None and now.ends <= old.ends:
        return "critical", f"{path} was replaced by a certificate that does not last longer, {left}", True
    shown, problem = _shown(given, host)
    acted = False
    if shown != now.fingerprint and (given["reload"] or given["command"]):
        acted = True
        try:
            host.commands.run(given["command"] or ["systemctl", "reload", given["reload"]], timeout=CALL_SECONDS * 6)
        except RunbookError as error:
            return "critical", f"{path}: its server could not be told to read it: {error}", renewed
    deadline = time.monotonic() + (RELOAD_SECONDS if acted else HOOK_SECONDS if renewed else 0)
    while shown != now.fingerprint and time.monotonic() < deadline:
        time.sleep(PAUSE)
        shown, problem = _shown(given, host)
    if shown != now.fingerprint:
        what = problem or f"{given['host']} still shows another certificate than {path} holds"
        return "critical", f"{what}: reload the service that shows it", renewed or acted
    word = "renewed, and shown" if renewed else "shown"
    return "ok", f"{path}: {word} by {given['host']}, {left} left", renewed or acted


def _file(path: str, host: Host) -> Seen | None:
    """What a file holds first; None when there is none."""
    if not os.path.isfile(path):
        return None
    with open(path, encoding="ascii", errors="replace") as stream:
        text = stream.read(_LIMIT)
    fingerprint = _fingerprint(text)
    if not fingerprint:
        return None
    return Seen(fingerprint, tls.certificates(text, host, CALL_SECONDS)[0].ends)


def _shown(given: t.Mapping[str, t.Any], host: Host) -> tuple[str, str]:
    """The fingerprint of what the server shows, and why there is none."""
    options = {name: given[name] for name in ("host", "port", "server_name", "starttls", "ca_path")}
    try:
        _where, text, _problems = tls.fetch({**options, "path": None, "timeout": CALL_SECONDS}, host)
    except RunbookError as error:
        return "", str(error)
    return _fingerprint(text), ""


def _fingerprint(text: str) -> str:
    match = _PEM.search(text)
    return hashlib.sha256(base64.b64decode(match[1])).hexdigest() if match else ""
