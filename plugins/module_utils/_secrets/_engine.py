# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The programs that look for secrets: detect-secrets and gitleaks, run over the staging folder (K4).

Each batch holds a file of made-up credentials. An engine that does not find them has not looked: its silence is no `ok`.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import string
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

DETECT_SECRETS, GITLEAKS = "detect-secrets", "gitleaks"
# Where the role prerequisites installs detect-secrets, below the state folder.
VENV = "venv"
PROOF = "proof.conf"
_OUTPUT = "found.json"
_MOST_OUTPUT = 8 << 20
_PROCESSES = 2
_VERSION_SECONDS = 60.0
# Addresses are no secrets; the others report identifiers.
_NEVER = ("IPPublicDetector",)
# detect-secrets names a finding by another name than the plugin that made it.
PLUGINS = {
    "Artifactory Credentials": "ArtifactoryDetector", "AWS Access Key": "AWSKeyDetector", "Azure Storage Account access key": "AzureStorageKeyDetector",
    "Base64 High Entropy String": "Base64HighEntropyString", "Basic Auth Credentials": "BasicAuthDetector", "Cloudant Credentials": "CloudantDetector",
    "Discord Bot Token": "DiscordBotTokenDetector", "GitHub Token": "GitHubTokenDetector", "GitLab Token": "GitLabTokenDetector",
    "Hex High Entropy String": "HexHighEntropyString", "IBM Cloud IAM Key": "IbmCloudIamDetector", "IBM COS HMAC Credentials": "IbmCosHmacDetector",
    "JSON Web Token": "JwtTokenDetector", "Secret Keyword": "KeywordDetector", "Mailchimp Access Key": "MailchimpDetector", "NPM tokens": "NpmDetector",
    "OpenAI Token": "OpenAIDetector", "Private Key": "PrivateKeyDetector", "PyPI Token": "PypiTokenDetector", "SendGrid API Key": "SendGridDetector",
    "Slack Token": "SlackDetector", "SoftLayer Credentials": "SoftlayerDetector", "Square OAuth Secret": "SquareOAuthDetector",
    "Stripe Access Key": "StripeDetector", "Telegram Bot Token": "TelegramBotTokenDetector", "Twilio API Key": "TwilioKeyDetector",
}  # fmt: skip


class Engine(t.NamedTuple):
    """A program with the version it says it has."""

    kind: str
    program: str
    version: str


class Found(t.NamedTuple):
    """A finding as an engine tells it: the staged file, the line there, the kind, and the SHA-1 of the value."""

    name: str
    line: int
    kind: str
    digest: str


class NoEngine(RunbookError):
    """No program that could look for secrets is on the host."""


class EngineFailed(RunbookError):
    """The program ended badly, or what it said cannot be believed. Never holds what it wrote: that may quote files."""

    def __init__(self, problem: str, timed_out: bool = False) -> None:
        super().__init__(problem)
        self.timed_out = timed_out


def find(choice: str, program: str | None, state_dir: str, commands: Commands) -> Engine:
    """The engine to use; NoEngine with the remedy when there is none."""
    for kind, path in _candidates(choice, program, state_dir):
        found = shutil.which(path, path=os.environ.get("PATH", os.defpath) + ":/usr/local/bin")
        if found:
            return Engine(kind, found, _version(kind, found, commands))
    wanted = program or (choice if choice != "auto" else f"neither {DETECT_SECRETS} nor {GITLEAKS}")
    raise NoEngine(
        f"{wanted} is {'' if wanted.startswith('neither') else 'not '}installed on this host. Install detect-secrets "
        "(the role sre.runbooks.prerequisites does), or say with program where it is."
    )


def _candidates(choice: str, program: str | None, state_dir: str) -> list[tuple[str, str]]:
    if program:
        guess = GITLEAKS if GITLEAKS in os.path.basename(program) else DETECT_SECRETS
        return [(guess if choice == "auto" else choice, program)]
    known = [
        (DETECT_SECRETS, os.path.join(state_dir, VENV, "bin", DETECT_SECRETS)),
        (DETECT_SECRETS, DETECT_SECRETS),
        (GITLEAKS, GITLEAKS),
    ]
    return [each for each in known if choice in ("auto", each[0])]


def _version(kind: str, program: str, commands: Commands) -> str:
    arguments = ["version"] if kind == GITLEAKS else ["--version"]
    try:
        said = commands.run([program, *arguments], timeout=_VERSION_SECONDS).stdout.strip()
    except CommandFailed as error:
        raise NoEngine(f"{program} {_ended(error)}. Repair it, or install it anew.") from error
    except RunbookError as error:
        raise NoEngine(f"{program} cannot be run. Repair it, or install it anew.") from error
    version = said.split()[-1] if said else ""
    if not version or len(version) > 40 or not version.lstrip("v")[:1].isdigit():
        raise NoEngine(f"{program} does not say its version, as {kind} does. Name another program.")
    return version


def proof() -> str:
    """Credentials of several kinds that are nobody's, one a line."""
    letters = string.ascii_letters + string.digits
    upper = string.ascii_uppercase + "234567"
    body = "\n".join(_random(letters, 64) for _line in range(4))
    kind = "RSA PRIVATE KEY"
    return "\n".join(
        [
            f"a: AKIA{_random(upper, 16)}",
            f"b: ghp_{_random(letters, 36)}",
            f"c: glpat-{_random(letters, 20)}",
            f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n",
        ]
    )


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _index in range(length))


def look(engine: Engine, folder: str, disabled: t.Sequence[str], seconds: float, commands: Commands) -> list[Found]:
    """What the engine finds in `folder`, where PROOF stands too; EngineFailed when it did not do its work."""
    report = os.path.join(folder, f".{_OUTPUT}")
    try:
        try:
            _execute(engine, folder, report, disabled, seconds, commands)
        except CommandFailed as error:
            raise EngineFailed(f"{engine.kind} {_ended(error)}", error.rc in (124, 137)) from error
        found = (_gitleaks if engine.kind == GITLEAKS else _detect_secrets)(_document(engine, report), folder)
    finally:
        if os.path.lexists(report):
            os.unlink(report)
    if not any(each.name == PROOF for each in found):
        raise EngineFailed(f"{engine.kind} does not find credentials that were made to be found")
    return [each for each in found if each.name != PROOF and each.kind not in disabled]


def _execute(
    engine: Engine, folder: str, report: str, disabled: t.Sequence[str], seconds: float, commands: Commands
) -> None:
    if engine.kind == GITLEAKS:
        command = ["detect", "--no-git", "--source", folder] if _old(engine.version) else ["dir", folder]
        commands.run(
            [engine.program, *command, "--no-banner", "--exit-code", "0", "--report-format", "json", "--report-path", report],
            timeout=seconds,
        )  # fmt: skip
        return
    off = sorted({PLUGINS.get(each, each) for each in disabled} & set(PLUGINS.values()) | set(_NEVER))
    argv = [
        engine.program,
        "-C",
        folder,
        "-c",
        str(min(_PROCESSES, os.cpu_count() or 1)),
        "scan",
        "--all-files",
        "--no-verify",
    ]
    argv += [part for each in off for part in ("--disable-plugin", each)]
    # Its output goes to a file: of thousands of findings it would fill our memory.
    commands.pipeline([[*argv, folder], ["dd", f"of={report}", "status=none"]], timeout=seconds)


def _old(version: str) -> bool:
    """Before 8.19 gitleaks had no `dir`."""
    parts = [int(part) if part.isdigit() else 0 for part in version.lstrip("v").split(".")[:2]]
    return parts < [8, 19]


def _ended(error: CommandFailed) -> str:
    if error.rc in (124, 137) and "within" in str(error):
        return "did not end within its time"
    return f"was killed by signal {error.rc - 128}" if error.rc > 128 else f"ended with status {error.rc}"


def _document(engine: Engine, report: str) -> t.Any:
    try:
        if os.path.getsize(report) > _MOST_OUTPUT:
            raise EngineFailed(f"{engine.kind} finds more than can be told")
        with open(report, encoding="utf-8", errors="replace") as stream:
            return json.load(stream)
    except (OSError, ValueError, RecursionError) as error:
        # The cause quotes the text: it is not passed on.
        raise EngineFailed(f"{engine.kind} says what is no JSON ({type(error).__name__})") from None


def _detect_secrets(document: t.Any, _folder: str) -> list[Found]:
    try:
        return [
            Found(os.path.basename(name), int(each["line_number"]), str(each["type"]), str(each["hashed_secret"]))
            for name, entries in document["results"].items()
            for each in entries
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise EngineFailed("detect-secrets says what is none of its results") from None


def _gitleaks(document: t.Any, _folder: str) -> list[Found]:
    try:
        return [
            Found(
                os.path.basename(each["File"]), int(each["StartLine"]), str(each["RuleID"]), sha1(str(each["Secret"]))
            )
            for each in document or ()
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise EngineFailed("gitleaks says what is none of its results") from None


def sha1(value: str) -> str:
    """The digest by which detect-secrets knows a value in a baseline."""
    return hashlib.sha1(value.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
