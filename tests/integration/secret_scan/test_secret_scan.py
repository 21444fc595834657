# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Planted credentials are found, what looks like them is not, and what is known is quiet (K4)."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
import stat
import subprocess
import sys

import pytest

from .conftest import LETTERS, PROGRAM, UPPER, found, private_key, value, web_token


def slack_token():
    numbers = "-".join(str(random.randrange(10**11, 10**12)) for _each in range(2))
    return f"xoxb-{numbers}-{value(24)}"


def blob():
    """40 letters of which none comes twice: detect-secrets takes a draw with many repetitions for no secret, and one that begins as a path for one."""
    letters = random.sample(LETTERS, 38)
    return f"{''.join(letters[:19])}+/{''.join(letters[19:])}"


def planted():
    """Texts by file name, each line with the kinds of which one has to be told; empty lines hold nothing."""
    keyword = {"Secret Keyword", "Variable", "Base64 High Entropy String", "Hex High Entropy String"}
    return {
        "deploy.py": [
            (f'AWS = "AKIA{value(16, UPPER)}"', {"AWS Access Key"}),
            (f'headers = {{"x": "ghp_{value(36)}"}}', {"GitHub Token"}),
            (f'slack = "{slack_token()}"', {"Slack Token", *keyword}),
            (f'stripe.key = "sk_live_{value(24)}"', {"Stripe Access Key"}),
            (f'password = "{value(14)}"', keyword),
            (f'BLOB = "{blob()}"', keyword),
        ],
        "settings.yml": [
            ("database:", None),
            (f"  password: {value(14)}", keyword),
            (f"  url: postgresql://app:{value(12)}@db.internal/ghost", {"Basic Auth Credentials"}),
            (f"  token: {web_token()}", {"JSON Web Token", *keyword}),
        ],
        "app.ini": [
            ("[monday]", None),
            (f"api_key = {value(32)}", keyword),
            (f"secret={value(20)}", keyword),
        ],
        "service.conf": [
            (f"Environment=MONDAY_API_KEY={value(30)}", keyword),
            (f"ExecStart=/bin/x --password={value(12)}", {"Command line", *keyword}),
        ],
        "app.log": [
            (f"2026-11-20 09:00:00 GET /v1/jobs?api_key={value(32)}&page=2 200", {"Query string", *keyword}),
            (f"2026-11-20 09:00:01 > Authorization: Bearer {value(40)}", {"Authorization header"}),
            (f'2026-11-20 09:00:02 {{"user": "a", "password": "{value(12)}"}}', keyword),
        ],
        ".bash_history": [
            (f"mysql -u app -p{value(12)} ghost", {"Command line"}),
            (f"PGPASSWORD={value(12)} psql -h db", {"Command line", "Variable"}),
            (f"curl -u admin:{value(14)} https://api.internal/", {"Command line"}),
            (f"sshpass -p '{value(12)}' ssh app@db", {"Command line"}),
            (f"redis-cli -a {value(12)} ping", {"Command line"}),
            (f"export SLACK_TOKEN={value(24)}", keyword),
        ],
        "config": [
            ('[remote "origin"]', None),
            (f"\turl = https://bot:{value(20)}@git.internal/app.git", {"Basic Auth Credentials"}),
        ],
        "notes.txt": [("the key of the server:", None), (private_key("EC").rstrip(), {"Private Key"})],
    }  # fmt: skip


def test_k4_each_planted_credential_is_found_with_its_line_and_kind(run, tree):
    expected = {}
    for name, lines in planted().items():
        (tree / name).write_text("\n".join(line for line, _kinds in lines) + "\n")
        expected.update({(name, number): kinds for number, (_line, kinds) in enumerate(lines, 1) if kinds})
    result = run(tree)
    told = found(result)
    assert {place: kinds for place, kinds in expected.items() if told.get(place) not in kinds} == {}
    assert told.keys() == expected.keys()
    outcome = result["secrets:x"]
    assert (outcome["status"], outcome["stage"], result["changed"]) == ("critical", "secret_scan", False)
    assert outcome["metrics"]["findings"] == len(expected)
    severities = {each["kind"]: each["severity"] for each in outcome["details"]["findings"]}
    assert severities["AWS Access Key"] == severities["Private Key"] == "critical"
    assert severities["Secret Keyword"] == "warning"


def test_k4_what_looks_like_a_credential_and_is_none_is_not_told(run, tree):
    (tree / "a.conf").write_text(
        "password = changeme\n"
        "#password: the password that the server asks for\n"
        "password_encryption = scram-sha-256\n"
        "ssl_key_file = '/etc/ssl/private/server.key'\n"
        "secret = ${VAULT_SECRET}\n"
        "token={{ vault_token }}\n"
        f"checksum sha256:{value(64, '0123456789abcdef')}\n"
        "api_key = <your key here>\n"
        "passwd:         files systemd\n"
    )
    (tree / "b.py").write_text(
        'password = "password"\n'
        "token = settings.token\n"
        'secret = os.environ["SECRET"]\n'
        'URL = "https://user:password@example.com/"\n'
        f'DIGEST = "{value(40, "0123456789abcdef").lower().translate({ord(each): "a" for each in "qxzk"})}"\n'
        'ID = "7d444840-9dc0-11d1-b245-5ffdce74fad2"\n'
        'MAGIC = "-----BEGIN RSA PRIVATE KEY-----"\n'
        'parser.add_argument("--password", help="--password=SECRET")\n'
    )
    (tree / "package-lock.json").write_text(f'{{"integrity": "sha512-{value(86)}==", "password": "{value(16)}"}}\n')
    assert found(run(tree)) == {}


def test_a_secret_in_its_place_is_a_finding_only_when_others_can_read_it(run, tree):
    os.chmod(tree.parent, 0o755)
    for each in tree.parents:
        if each.stat().st_uid == os.getuid() and not each.stat().st_mode & stat.S_IXOTH:
            os.chmod(each, 0o711)
    group = 65534
    files = {
        ".env": (f"DB_PASSWORD={value(14)}\n", 0o600, 0),
        "open.env": (f"DB_PASSWORD={value(14)}\n", 0o644, 0),
        "plain.env": ("PORT=8000\n", 0o644, 0),
        "id_ed25519": (private_key("OPENSSH"), 0o640, group),
        "server.key": (private_key(), 0o644, 0),
        "kept.pem": (private_key(), 0o600, 0),
        "root.pem": ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", 0o644, 0),
        ".pgpass": (f"*:*:*:app:{value(12)}\n", 0o640, 0),
    }
    for name, (text, mode, gid) in files.items():
        (tree / name).write_text(text)
        os.chown(tree / name, -1, gid)
        (tree / name).chmod(mode)
    result = run(tree)
    assert found(result) == {}
    outcome = result["secret_files:x"]
    told = {os.path.basename(each["file"]): (each["severity"], each["mode"]) for each in outcome["details"]["files"]}
    assert told == {
        "open.env": ("critical", "0644"),
        "server.key": ("critical", "0644"),
        "id_ed25519": ("warning", "0640"),
    }
    assert outcome["status"] == "critical"
    assert outcome["metrics"] == {"secret_files": 7, "world_readable": 2, "group_readable": 1}
    # A folder that others cannot enter closes all that is in it.
    tree.chmod(0o700)
    assert run(tree)["secret_files:x"]["status"] == "ok"


def test_archives_long_lines_and_other_encodings(run, tree):
    secret = f"password={value(14)}\n"
    (tree / "app.log.1.gz").write_bytes(gzip.compress(b"quiet\n" * 9 + secret.encode()))
    (tree / "app.log.2.bz2").write_bytes(bz2.compress(secret.encode()))
    (tree / "app.log.3.xz").write_bytes(lzma.compress(secret.encode()))
    subprocess.run(["zstd", "-q", "-o", tree / "app.log.4.zst"], input=secret.encode(), check=True)
    (tree / "long.log").write_text("x" * 20_000 + " " + secret + "short\n" + f"password={value(14)}\n")
    (tree / "latin.conf").write_bytes(b"# gr\xfc\xdfe\n" + secret.encode())
    (tree / "wide.conf").write_bytes(secret.encode("utf-16"))
    (tree / "binary").write_bytes(b"\x7fELF\0\0" + secret.encode())
    # Larger than one piece.
    (tree / "many.log").write_text("a quiet line of the log\n" * 46_000 + secret)
    result = run(tree)
    assert found(result).keys() == {
        ("app.log.1.gz", 10), ("app.log.2.bz2", 1), ("app.log.3.xz", 1), ("app.log.4.zst", 1), ("long.log", 1),
        ("long.log", 3), ("latin.conf", 2), ("wide.conf", 1), ("many.log", 46_001),
    }  # fmt: skip
    assert result["secrets:x"]["metrics"]["binary_files"] == 1


def test_the_baseline_is_written_quiet_closed_and_audited(run, tree, tmp_path):
    baseline = tmp_path / "x.baseline"
    secret = value(14)
    (tree / "a.conf").write_text(f"port=1\npassword={secret}\n")
    assert run(tree, baseline=str(baseline), write_baseline=True, check=True)["changed"]
    assert not baseline.exists()
    assert not (tmp_path / "state").exists()
    first = run(tree, baseline=str(baseline), write_baseline=True)
    assert (first["changed"], first["secrets:x"]["status"]) == (True, "ok")
    assert stat.S_IMODE(baseline.stat().st_mode) == 0o600
    assert secret not in baseline.read_text()
    assert not run(tree, baseline=str(baseline), write_baseline=True)["changed"]
    # Lines move, values do not.
    (tree / "a.conf").write_text(f"\n\n\npassword={secret}\n")
    assert run(tree, baseline=str(baseline))["secrets:x"]["metrics"]["baseline_findings"] == 1
    (tree / "a.conf").write_text(f"password={value(14)}\n")
    assert found(run(tree, baseline=str(baseline))) == {("a.conf", 1): "Secret Keyword"}
    # What an audit calls a secret is one.
    (tree / "a.conf").write_text(f"password={secret}\n")
    document = json.loads(baseline.read_text())
    document["results"][str(tree / "a.conf")][0]["is_secret"] = True
    baseline.write_text(json.dumps(document))
    assert found(run(tree, baseline=str(baseline))) == {("a.conf", 1): "Secret Keyword"}


def test_the_baseline_is_one_that_detect_secrets_reads(run, tree, tmp_path):
    baseline = tmp_path / "x.baseline"
    (tree / "a.conf").write_text(f"password={value(14)}\n")
    run(tree, baseline=str(baseline), write_baseline=True)
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    hook = PROGRAM + "-hook"
    done = subprocess.run([hook, "--baseline", baseline, tree / "a.conf"], capture_output=True, check=False, cwd=tree)
    # It says 1 for a secret that is in no baseline, 3 when it has moved lines of one.
    assert done.returncode in (0, 3), done.stdout + done.stderr


def test_what_is_allowed_disabled_or_excluded(run, tree):
    (tree / "a.log").write_text(f"GET /?key=public-{value(20)}\nGET /?key={value(20)}\n")
    (tree / "skip").mkdir()
    (tree / "skip" / "b.conf").write_text(f"password={value(14)}\n")
    allow = [{"path": "*.log", "kind": "Query string", "line": "key=public-"}]
    assert found(run(tree, allow=allow, exclude=["skip"])) == {("a.log", 2): "Query string"}
    assert found(run(tree, disabled=["Query string", "KeywordDetector"])) == {}
    assert found(run(tree, patterns=["*.conf"])) == {("b.conf", 1): "Secret Keyword"}
    assert found(run(tree, patterns=["*.conf"], recurse=False)) == {}


def test_files_that_were_clean_are_looked_at_again_only_when_they_changed(run, tree):
    for number in range(20):
        (tree / f"{number}.conf").write_text(f"port={number}\n")
    (tree / "found.conf").write_text(f"password={value(14)}\n")
    assert run(tree)["secrets:x"]["metrics"]["scanned_files"] == 21
    metrics = run(tree)["secrets:x"]["metrics"]
    assert (metrics["scanned_files"], metrics["unchanged_files"], metrics["findings"]) == (1, 20, 1)
    old = (tree / "3.conf").stat()
    (tree / "3.conf").write_text("pass=7\n")
    os.utime(tree / "3.conf", ns=(old.st_atime_ns, old.st_mtime_ns))
    assert run(tree)["secrets:x"]["metrics"]["scanned_files"] == 2
    # Another question is asked of all files.
    assert run(tree, disabled=["Private Key"])["secrets:x"]["metrics"]["scanned_files"] == 21


def test_links_are_not_followed_and_mounts_not_entered(run, tree, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.conf").write_text(f"password={value(14)}\n")
    (tree / "folder").symlink_to(outside)
    (tree / "file").symlink_to(outside / "a.conf")
    os.mkfifo(tree / "pipe.conf")
    result = run(tree)
    assert (found(result), result["secrets:x"]["status"]) == ({}, "ok")
    assert run(tree / "folder")["secrets:x"]["status"] == "unknown"


def test_limits_are_told_and_the_next_run_comes_further(run, tree):
    for number in range(6):
        (tree / f"{number}.conf").write_text("a=b\n" * 100)
    (tree / "last.conf").write_text(f"a=b\npassword={value(14)}\n" + "a=b\n" * 40_000)
    result = run(tree, limits={"file_size": "64KiB"})["secrets:x"]
    assert "limits.file_size" in result["summary"]
    assert result["metrics"]["unscanned_files"] == 1
    result = run(tree, limits={"files": 3})["secrets:x"]
    assert result["status"] in ("unknown", "warning")
    assert "limits.files" in result["summary"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"paths": ["etc"]}, ["scans.x.paths", "etc", "slash"]),
        ({"name": "a/b"}, ["scans[0].name", "a/b"]),
        ({"limits": {"bytes": "many"}}, ["scans.x.limits.bytes", "many"]),
        ({"limits": {"files": 0}}, ["scans.x.limits.files"]),
        ({"allow": [{}]}, ["scans.x.allow[0]"]),
        ({"allow": [{"line": "("}]}, ["scans.x.allow[0].line"]),
        ({"disabled": ["--verbose;"]}, ["scans.x.disabled"]),
        ({"write_baseline": True}, ["write_baseline", "baseline"]),
        ({"timeout": 0}, ["timeout"]),
        ({"show": 5000}, ["show"]),
    ],
)
def test_bad_input_is_refused_before_a_file_is_opened(run, tree, options, words):
    result = run(*options.pop("paths", [tree]), **options)
    assert result["failed"]
    assert all(word in result["msg"] for word in words), result["msg"]


@pytest.mark.parametrize("engine", ["auto", "detect-secrets", "gitleaks"])
def test_without_a_program_nothing_is_called_ok(run, tree, monkeypatch, engine):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tree / "server.key").write_text(private_key())
    outcome = run(tree, program=None, engine=engine)["secrets:x"]
    assert outcome["status"] == "unknown"
    assert "prerequisites" in outcome["summary"]
    assert sys.executable not in outcome["summary"]
