# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Send messages: a program of its own, started by the action, that reads its work from standard input.

A process apart, because services hang in ways that no library's timeout ends (an answer that trickles): its caller ends it.
The addresses, which are secret, come by a pipe and go nowhere else: answers are lines of JSON with reasons in words of our
own. Apprise carries everything but PagerDuty: its plugin can only trigger, without a key, so nothing could be resolved
(see `_pagerduty`).
"""

from __future__ import annotations

import contextlib
import html
import json
import logging
import os
import re
import sys
import threading
import time
import typing as t
import urllib.parse

try:
    import apprise
    import requests
    from apprise.plugins.pagerduty import PAGERDUTY_API_LOOKUP, NotifyPagerDuty
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

Work = dict[str, t.Any]

LIBRARY_MISSING = "library"
_OUTPUT = threading.Lock()
_TRIED_AGAIN = {408, 409, 425, 429}
_PAGERDUTY_ACTIONS = {
    "resolve": "resolve",
    "acknowledge": "acknowledge",
    "trigger": "trigger",
    "remind": "trigger",
    "escalate": "trigger",
}


class Failed(Exception):
    """A message was not taken: a reason without secrets, and whether the same message may be taken later."""

    def __init__(self, reason: str, lasting: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.lasting = lasting
        self.wait = wait


class _Heard(logging.Handler):
    """Keeps what the libraries log, by thread; it is never shown, only searched for the cause of a failure."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._by_thread: dict[int, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self._by_thread.setdefault(threading.get_ident(), []).append(record.getMessage())

    def take(self) -> str:
        """Return what this thread has logged since it asked last."""
        return "\n".join(self._by_thread.pop(threading.get_ident(), []))


def main() -> None:
    """Read one object from standard input, write a line for each checked address and each message."""
    work = json.load(sys.stdin)
    if MISSING is not None:
        _say({"id": LIBRARY_MISSING, "ok": False, "reason": f"No module named {MISSING.name!r}"})
        return
    heard = _Heard()
    logger = logging.getLogger("apprise")
    logger.addHandler(heard)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    # It loads all its services with the first address. That takes seconds on a busy host, and none of them from a service's time.
    with contextlib.suppress(Failed):
        _instance("json://localhost", work["timeout"])
    threads = []
    for target in work["targets"]:
        # One thread for each target: messages to one target keep their order, and nobody waits for another's service.
        threads.append(threading.Thread(target=_serve, args=(target, work, heard), daemon=True))
        threads[-1].start()
    deadline = time.monotonic() + work["time_limit"]
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    with _OUTPUT:
        sys.stdout.flush()
        # Not the interpreter's own end, which would wait for the threads that hang.
        os._exit(0)


def _say(answer: Work) -> None:
    with _OUTPUT:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _serve(target: Work, work: Work, heard: _Heard) -> None:
    deadline = time.monotonic() + work["time_limit"]
    try:
        instance = None if target.get("put") else _instance(target["url"], work["timeout"])
    except Failed as failure:
        _say({"id": target["id"], "ok": False, "reason": str(failure)})
        for each in target["messages"]:
            _say({"id": each["id"], "ok": False, "reason": str(failure), "attempts": 0})
        return
    _say({"id": target["id"], "ok": True})
    for each in target["messages"]:
        _deliver(instance, {**each, "url": target["url"]}, work, heard, deadline)


def _instance(url: str, timeout: float, message: Work | None = None) -> t.Any:
    """Return Apprise's object for `url`, with our time limit where the URL names none of its own."""
    given = {name.lower() for name, _value in urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query)}
    scheme = url.partition(":")[0].lower()
    extra = [(name, f"{timeout:g}") for name in ("cto", "rto") if name not in given]
    if message is not None and scheme in ("json", "jsons", "form", "forms", "xml", "xmls"):
        extra += [(f":{name}", str(value)) for name, value in message["fields"].items()]
    joined = url + ("&" if "?" in url else "?") + urllib.parse.urlencode(extra)
    # Nothing in a message points to pages or pictures that are not ours.
    asset = apprise.AppriseAsset(app_id="sre.runbooks", app_desc="sre.runbooks", app_url="", async_mode=False)
    asset.image_url_mask = asset.image_url_logo = ""
    try:
        made = apprise.Apprise.instantiate(joined, asset=asset, suppress_exceptions=True)
    except (TypeError, ValueError, AttributeError):
        made = None
    if made is None:
        raise Failed(f"is no {scheme} address that Apprise understands", lasting=True)
    return made


def _deliver(instance: t.Any, message: Work, work: Work, heard: _Heard, deadline: float) -> None:
    """Send one message, again after a while if that may help, and say what became of it."""
    attempts, reason, ok = 0, "", False
    while not ok:
        attempts += 1
        try:
            heard.take()
            _send(instance, message, work, heard)
            ok = True
        except Failed as failure:
            reason = str(failure)
            pause = max(failure.wait, work["backoff"] * 2 ** (attempts - 1))
            if failure.lasting or attempts >= work["attempts"] or time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
    _say({"id": message["id"], "ok": ok, "reason": "" if ok else reason, "attempts": attempts})


def _send(instance: t.Any, message: Work, work: Work, heard: _Heard) -> None:
    if instance is None:
        _put(message, work["timeout"])
        return
    if isinstance(instance, NotifyPagerDuty):
        _pagerduty(instance, message, work["timeout"])
        return
    form = getattr(instance.notify_format, "value", str(instance.notify_format))
    body, title = message[form if form in ("markdown", "html") else "text"], message["title"]
    if message["url"].lower().startswith("slack:"):
        # What stands in angle brackets is a command there, also in code: <!channel> wakes everybody.
        body, title = (html.escape(text, quote=False) for text in (body, title))
    sender = _instance(message["url"], work["timeout"], message)
    try:
        sent = sender.notify(
            body=body, title=title, notify_type=apprise.NotifyType(message["type"]), body_format=instance.notify_format
        )
    except (TypeError, ValueError, OSError, requests.RequestException) as error:
        raise _failure(type(error).__name__) from None
    if not sent:
        raise _failure(heard.take())


def _failure(log: str) -> Failed:
    """Return the cause of a failure that a library has only logged. Nothing of the log is repeated: it has addresses in it."""
    code = re.search(r"\berror=(\d{3})\b", log)
    if code:
        return _answer(int(code[1]))
    for pattern, reason, lasting in (
        (r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", "its certificate is not trusted", True),
        (r"\(535\b|\(534\b|\(530\b|AuthenticationError|Authentication credentials", "refused the login", True),
        (r"user credentials\.\.\.\n.*Connection error", "did not answer the login", True),
        (r"STARTTLS extension not supported", "offers no encryption", True),
        (r"SMTP AUTH extension not supported|No suitable authentication", "takes no login", True),
        (r"\(5\d\d, ", "refused the message", True),
        (r"timed out|Timeout", "did not answer in time", False),
        (r"[Rr]efused", "refused the connection", False),
        (r"NameResolution|getaddrinfo|Name or service not known|name resolution", "its name cannot be resolved", False),
        (r"Connection aborted|RemoteDisconnected|IncompleteRead|unexpectedly closed|ConnectionReset|reset by peer|BadStatusLine",
         "ended the connection without a whole answer", False),
        (r"SSLError|SSL:", "could not agree on encryption", False),
        (r"ProxyError|proxy", "cannot be reached through the proxy", False),
        (r"Connection error|Socket Exception|Connection Exception", "cannot be reached", False),
    ):  # fmt: skip
        if re.search(pattern, log):
            return Failed(reason, lasting)
    return Failed("did not take the message")


def _answer(code: int, wait: float = 0.0) -> Failed:
    if code < 300:
        return Failed(f"answered {code}, but did not take the message")
    name = requests.status_codes._codes.get(code, ("",))[0].replace("_", " ")
    return Failed(f"answered {code} {name}".rstrip(), 400 <= code < 500 and code not in _TRIED_AGAIN, wait)


def _pagerduty(instance: t.Any, message: Work, timeout: float) -> None:
    """Send an event of the Events API v2, to the place and with the keys that Apprise read from the URL.

    Its own plugin knows neither `dedup_key` nor `acknowledge` and `resolve` (Apprise 1.13).
    """
    action = _PAGERDUTY_ACTIONS.get(message["event"])
    if action is None:
        return
    event: Work = {"routing_key": instance.integration_key, "event_action": action, "dedup_key": message["key"][:255]}
    if action == "trigger":
        payload = {
            "summary": message["title"][:1024],
            "severity": instance.severity or message["severity"],
            "source": message["source"][:255],
            "component": message["fields"].get("system", ""),
            "class": instance.class_id or message["kind"],
            "custom_details": {**message["fields"], "text": message["text"], **instance.details},
        }
        event["payload"] = {**payload, "group": instance.group} if instance.group else payload
        event["client"] = "sre.runbooks"
        link = instance.click or message["link"]
        if link:
            event["links"] = [{"href": link, "text": "Runbook"}]
    _request("POST", PAGERDUTY_API_LOOKUP[instance.region_name], event, timeout, instance.verify_certificate)


def _put(message: Work, timeout: float) -> None:
    """Bring the status page to its server."""
    _request("PUT", message["url"], message["document"], timeout)


def _request(method: str, url: str, body: Work, timeout: float, verify: bool = True) -> None:
    try:
        answer = requests.request(
            method,
            url,
            json=body,
            timeout=(timeout, timeout),
            verify=verify,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise _failure(f"{type(error).__name__} {error}") from None
    if not 200 <= answer.status_code < 300:
        later = answer.headers.get("Retry-After", "")
        raise _answer(answer.status_code, float(later) if re.fullmatch(r"\d{1,3}", later) else 0.0)


if __name__ == "__main__":
    main()
