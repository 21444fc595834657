# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of authorized_keys: what is not ours stays byte for byte (K3)."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._ssh_keys import _lines
from ansible_collections.sre.runbooks.plugins.modules import ssh_keys

OLD, NEW, OTHER = (
    "ssh-ed25519 " + base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00 " + bytes([n]) * 32).decode()
    for n in (1, 2, 3)
)
BLOB = {text: base64.b64decode(text.split()[1]) for text in (OLD, NEW, OTHER)}


@pytest.mark.parametrize(
    ("options", "rest"),
    [
        ("", "a comment with  two blanks"),
        ('from="10.0.0.0/8,!10.0.0.1",no-pty', "x"),
        ('command="echo \\"a b\\" # no comment",restrict', ""),
        ('environment="A=b c",command="x\\\\\\"y z"', "ssh-rsa AAAA is a comment"),
    ],
)
def test_the_new_key_gets_the_options_of_the_old_one_and_both_go_as_they_came(options, rest):
    line = " ".join(part for part in (options, OLD, rest) if part)
    text = f"# first\n\n{OTHER} eva\r\n  {line}\nnonsense \xff\n{OTHER}"
    lines = _lines.split(text)
    assert _lines.joined(lines) == text
    assert [each.options for each in lines if each.blob == BLOB[OLD]] == [options]
    more = _lines.added(lines, f"{NEW} automation", BLOB[NEW], [BLOB[OLD]])
    added = " ".join(part for part in (options, NEW, "automation") if part)
    assert _lines.joined(more) == text.replace(f"  {line}\n", f"  {line}\n{added}\n")
    assert _lines.added(more, f"{NEW} automation", BLOB[NEW], [BLOB[OLD]]) == more
    assert _lines.joined(_lines.without(_lines.split(_lines.joined(more)), [BLOB[NEW]])) == text


def test_a_last_line_without_an_end_and_one_with_a_carriage_return():
    assert _lines.joined(_lines.added(_lines.split(OLD), NEW, BLOB[NEW], [BLOB[OLD]])) == f"{OLD}\n{NEW}\n"
    assert _lines.joined(_lines.added(_lines.split(f"{OLD}\r\n"), NEW, BLOB[NEW], [BLOB[OLD]])) == f"{OLD}\r\n{NEW}\r\n"


def test_where_none_of_the_known_keys_is_nothing_is_added():
    lines = _lines.split(f"{OTHER}\n")
    assert _lines.added(lines, NEW, BLOB[NEW], [BLOB[OLD]]) == lines


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 !!!", f"{OLD}\n{NEW}", "rsa AAAA", f"no-pty {OLD}"])
def test_what_is_no_public_key_is_refused(text):
    with pytest.raises(InputError):
        _lines.public(text, "key")


def test_fingerprints_are_those_of_ssh_keygen(tmp_path):
    path = tmp_path / "key.pub"
    path.write_text(f"{OLD}\n")
    told = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], check=True, capture_output=True, text=True).stdout
    assert told.split()[1] == _lines.fingerprint(BLOB[OLD])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"stage": "add"}, "key: None is needed for the stage add"),
        ({"stage": "add", "key": "nonsense"}, "key: 'nonsense' is no public key"),
        ({"stage": "revoke", "key": OLD, "remove": ["x"]}, "remove: 'x' is no public key"),
        ({"stage": "rollback", "remove": [OLD]}, "beside: [] is needed"),
        ({"user": "no-such-user"}, "user: 'no-such-user' is no user of this host"),
        ({"path": "/tmp/../etc/authorized_keys"}, "is no plain absolute path"),
    ],
)
def test_options_that_cannot_be_used_are_refused(arguments, told, capsys, tmp_path):
    with patch_module_args({"state_dir": str(tmp_path / "state"), **arguments}), pytest.raises(SystemExit):
        ssh_keys.main()
    result = json.loads(capsys.readouterr().out)
    assert result["failed"]
    assert told in result["msg"]


def test_the_last_key_that_opens_a_host_is_never_removed(capsys, tmp_path):
    path = tmp_path / "authorized_keys"
    path.write_text(f"{OLD}\n{OTHER}\n")
    for arguments in (
        {"stage": "revoke", "key": NEW, "remove": [OLD]},
        {"stage": "rollback", "remove": [OLD], "beside": [NEW]},
    ):
        given = {"state_dir": str(tmp_path / "state"), "path": str(path), **arguments}
        with patch_module_args(given), pytest.raises(SystemExit):
            ssh_keys.main()
        result = json.loads(capsys.readouterr().out)
        assert result["status"] == "critical"
        assert "holds none of the keys that must go on to open it" in result["outcomes"][0]["summary"]
    assert path.read_text() == f"{OLD}\n{OTHER}\n"
