# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What env_file writes is read by the real readers, and all else stays byte for byte (K3)."""

from __future__ import annotations

import configparser
import json
import random
import subprocess
import sys

import pytest
import ruamel.yaml
import yaml

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env import _write

from .conftest import ENVIRONMENT, readers

# Values that all readers of an environment file can be made to see alike.
WRITABLE = [
    "", "x", "plain-1._/:@%+,=", "two words", " space around ", "#hash", "a#b", "a # b", ";semicolon", "it's", 'say "hi"', "it's \"both\"",
    "$HOME", "a$b`c`", "`id`", "$(id)", "back\\slash", "end\\", "\\\\two", "C:\\new\\table", "'", '"', "two\nlines", "a\n\nB=c\n", "tab\there",
    "~root", "*", "a;b", "a&b|c>d<e", "(x)", "!event", "%s%%", "{a}", "[a]", "ünï€😀", "a=b=c", "=", "export X=1", "x" * 5000, "null", "true",
    "1e3", "0x1F", "\u00a0", "- a", "key: value", "&anchor", "*alias", "@at", "|", ">", "a\\nb", "\\'\"",
]  # fmt: skip
# Values that some reader would see differently however they are written.
REFUSED = ["${HOME}", "a'b$c", "a\\b$c", "`'", "bell\x07", "nul\x00", "cr\rx", "\x85", "\ud800"]
ALPHABET = "aB1 '\"\\$`#;{}()\n\t=~!%&é"
STYLES = ["K=old", "K='old'", 'K="old"', "K=old # said", "K=", ""]


def attempt(path, variable, value, kind):
    """Set the variable; what is told when that is refused."""
    try:
        _write.set_variable(str(path), variable, value, kind, state_dir=str(path.parent))
    except RunbookError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("style", STYLES)
def test_hostile_values_are_read_alike_by_shells_systemd_and_dotenv(tmp_path, style):
    text = f"# first\nA=1\n{style}\nB='2'\n"
    path = tmp_path / "file"
    chance = random.Random(style)
    values = WRITABLE + ["".join(chance.choices(ALPHABET, k=chance.randint(1, 8))) for _each in range(25)]
    refused = 0
    for value in values:
        path.write_text(text)
        if told := attempt(path, "K", value, "env"):
            assert value not in WRITABLE, told
            assert path.read_text() == text
            refused += 1
            continue
        assert _write.set_variable(str(path), "K", value, state_dir=str(tmp_path)) is False
        for reader, found in readers(path).items():
            if "#" in style and reader == "systemd":
                continue  # it knows no comment there, which the module says
            assert {name: found[name] for name in "AKB"} == {"A": "1", "K": value, "B": "2"}, (reader, path.read_text())
    assert refused < 20


@pytest.mark.parametrize(
    ("raw", "value"), [("two words", "two words"), ("it's", "it's"), ("'a'\"b\"", "a"), ('"a\\$b"', "a$b")]
)
def test_a_value_that_is_there_but_not_for_all_readers_is_written_anew(tmp_path, raw, value):
    path = tmp_path / "file"
    path.write_text(f"K={raw}\nA=1\n")
    assert _write.set_variable(str(path), "K", value, state_dir=str(tmp_path))
    assert not _write.set_variable(str(path), "K", value, state_dir=str(tmp_path))
    assert {found["K"] for found in readers(path).values()} == {value}
    assert {found["A"] for found in readers(path).values()} == {"1"}


@pytest.mark.parametrize("value", REFUSED)
def test_what_readers_would_see_differently_is_refused_with_the_remedy_and_without_the_value(tmp_path, value):
    path = tmp_path / "file"
    path.write_text("K=old\n")
    with pytest.raises(RunbookError, match="Choose a value without") as caught:
        _write.set_variable(str(path), "K", value, state_dir=str(tmp_path))
    assert value not in str(caught.value)
    assert path.read_text() == "K=old\n"
    assert not (tmp_path / "file.previous").exists()


@pytest.mark.parametrize("style", ["old", "'old'", '"old"', "", "null"])
def test_yaml_takes_every_value_in_every_style(tmp_path, style):
    path = tmp_path / "file.yml"
    for value in WRITABLE + ["${HOME}", "a'b$c", "y", "No", "2001-01-01", "1:30", "\u2028", "\ufeff"]:
        path.write_text(f"# c\na:\n  - x\n  - k: {style}  # said\n    z: 1\nb: &n [1, 2]\nd: *n\n")
        assert _write.set_variable(str(path), "a.1.k", value, "yaml", state_dir=str(tmp_path)) is (
            value != style or style in ("", "null")
        )
        assert _write.set_variable(str(path), "a.1.k", value, "yaml", state_dir=str(tmp_path)) is False
        text = path.read_text()
        wanted = {"a": ["x", {"k": value, "z": 1}], "b": [1, 2], "d": [1, 2]}
        assert yaml.safe_load(text) == wanted == ruamel.yaml.YAML(typ="safe").load(text)
        assert text.count("# said") == 1


def test_json_takes_every_value_and_keeps_its_indentation(tmp_path):
    path = tmp_path / "file.json"
    before = '{\n\t"a.b": {"k" : "old", "n": null},\n\t"l": [ "x" ]\n}'
    for value in WRITABLE + ["${HOME}"]:
        path.write_text(before)
        assert _write.set_variable(str(path), "a\\.b.k", value, "json", state_dir=str(tmp_path))
        assert path.read_text() == before.replace('"old"', json.dumps(value))
        assert _write.set_variable(str(path), "a\\.b.n", value, "json", state_dir=str(tmp_path))
        assert _write.set_variable(str(path), "l.0", value, "json", state_dir=str(tmp_path)) is (value != "x")
        assert json.loads(path.read_text()) == {"a.b": {"k": value, "n": value}, "l": [value]}


def test_ini_writes_what_configparser_reads_with_and_without_interpolation_or_refuses(tmp_path):
    path = tmp_path / "file.ini"
    written = 0
    for value in WRITABLE:
        path.write_text("; c\n[DEFAULT]\nd = 1\n[a.b]\nK: old\n\n[z]\nx=1\n")
        if told := attempt(path, "a.b.k", value, "ini"):
            assert "Choose a value without" in told
            continue
        written += 1
        for interpolation in (None, configparser.BasicInterpolation()):
            parser = configparser.ConfigParser(interpolation=interpolation)
            parser.read(path)
            assert parser["a.b"]["k"] == value
            assert (parser["z"]["x"], parser["a.b"]["d"]) == ("1", "1")
    assert written > 25


BYTES = [
    ("env", "K", b"\xef\xbb\xbf# \xe4 of old\r\n\r\n  export  K = '@'   \r\nL=\"other\r\nK=no\"\r\n; semicolon"),
    ("env", "K", b"K=first\nL=1\n\n\nK=@"),
    ("env", "K", b"A=\"x\"y\nP='K=1\nK=2'\nK=\"@\" # why\nB=it's\nC=a\\\nb\n"),
    ("yaml", "a.k", b"---\r\n# c\r\na:   \r\n   k:    '@'    # why\r\n   z: |\r\n      k: x\r\n"),
    ("yaml", "k", b"\xef\xbb\xbf{x: 1, k: \"@\", y: {k: 2}}"),
    ("json", "a.k", b'{"k": "x",\r\n  "a": {"k": "first", "b": [1,2 ],"k"  :  "@"}  }\r\n\r\n'),
    ("ini", "s.k", b"[t]\r\nk=1\r\n[s]\r\n# \xe4\r\nj =1\r\n  2\r\nK\t:  @  \r\n\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "variable", "template"), BYTES)
def test_all_but_the_value_stays_byte_for_byte_and_comes_back(tmp_path, kind, variable, template):
    before = template.replace(b"@", b"old")
    path = tmp_path / "file"
    path.write_bytes(before)
    assert _write.current(str(path), variable, kind) == "old"
    _write.set_variable(str(path), variable, "new-value", kind, state_dir=str(tmp_path))
    assert path.read_bytes() == template.replace(b"@", b"new-value")
    assert (tmp_path / "file.previous").read_bytes() == before
    assert _write.previous(str(path), variable, kind) == "old"
    assert _write.restore_previous(str(path), variable, kind, state_dir=str(tmp_path))
    assert path.read_bytes() == before
    assert not (tmp_path / "file.previous").exists()


ADDED = [
    ("env", "N", "A=1", "A=1\nN=v"),
    ("env", "N", "A=1\r\n", "A=1\r\nN=v\r\n"),
    ("env", "N", "", "N=v\n"),
    ("yaml", "a.new", "a:\n  b: 1 # c\n# end\nz: 2", "a:\n  b: 1 # c\n  new: v\n# end\nz: 2"),
    ("yaml", "new", "a: {b: 1}", "a: {b: 1}\nnew: v"),
    ("yaml", "new", "", "new: v\n"),
    ("json", "a.n", '{"a": {"b": 1, "c": 2}}', '{"a": {"b": 1, "c": 2, "n": "v"}}'),
    ("json", "n", '{\n  "a": 1\n}\n', '{\n  "a": 1,\n  "n": "v"\n}\n'),
    ("json", "n", "{}", '{"n": "v"}'),
    ("ini", "s.n", "[s]\na=1\n\n[t]\nb = 2\n", "[s]\na=1\nn=v\n\n[t]\nb = 2\n"),
    ("ini", "u.n", "[t]\nb = 2\n", "[t]\nb = 2\n\n[u]\nn = v\n"),
]


@pytest.mark.parametrize(("kind", "variable", "before", "after"), ADDED)
def test_a_variable_that_is_not_there_is_added_and_taken_back(tmp_path, kind, variable, before, after):
    path = tmp_path / "file"
    path.write_bytes(before.encode())
    assert _write.set_variable(str(path), variable, "v", kind, state_dir=str(tmp_path))
    assert path.read_bytes().decode() == after
    assert _write.restore_previous(str(path), variable, kind, state_dir=str(tmp_path))
    assert path.read_bytes().decode() == before


WRONG = [
    ("env", "K", "A='1\nK=2\n", "line 1 is never closed. Close it"),
    ("yaml", "a.k", "a: [1", "line 1"),
    ("yaml", "a.k", "a: 1\n", "a has no members"),
    ("yaml", "a", "a: 1\n", "something else than a text"),
    ("yaml", "a", "a: |\n  x\n", "double quotes"),
    ("yaml", "b", "a: &x t\nb: *x\n", "plain text by hand"),
    ("yaml", "a", "a: *canary-key\n", "line 1: found undefined alias"),
    ("yaml", "a", "a: !!str t\n", "plain text by hand"),
    ("yaml", "a", "a: &x t\nb: *x\n", "plain text by hand"),
    ("yaml", "a", "a: t\n---\na: t\n", "one document"),
    ("yaml", "x.y", "a: t\n", "x is not there"),
    ("json", "a", '{"a": 1}', "something else than a text"),
    ("json", "a", '{"a": "1",}', "no JSON: line 1"),
    ("json", "a.b", '{"a": "1"}', "a has no members"),
    ("json", "a.5", '{"a": ["1"]}', "does not have"),
    ("ini", "s.k", "[s]\nk = 1 ; c\n", "line of its own"),
    ("ini", "s.k", "[s]\nk = 1\n  2\n", "goes on in the next line"),
]


@pytest.mark.parametrize(("kind", "variable", "text", "told"), WRONG)
def test_what_cannot_be_changed_safely_says_where_and_what_to_do(tmp_path, kind, variable, text, told):
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(RunbookError) as caught:
        _write.set_variable(str(path), variable, "canary-value", kind, state_dir=str(tmp_path))
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"{path}: {variable}: ")
    assert "canary" not in str(caught.value)
    assert path.read_text() == text


def test_without_pyyaml_only_yaml_is_refused_and_the_package_named(tmp_path):
    """`-S` leaves Python with its standard library alone, as on a host."""
    script = """
import sys
from ansible_collections.sre.runbooks.plugins.module_utils._env import _write
try:
    print(_write.set_variable(sys.argv[1], "K", "new", sys.argv[2], state_dir=sys.argv[3]))
except Exception as error:
    print(error)
"""
    told = {}
    for kind, text in {"env": "K=old\n", "json": '{"K": "old"}', "yaml": "K: old\n"}.items():
        path = tmp_path / f"file.{kind}"
        path.write_text(text)
        command = [sys.executable, "-S", "-c", script, str(path), kind, str(tmp_path)]
        told[kind] = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    assert (told["env"], told["json"]) == ("True\n", "True\n")
    assert "is not installed on this host. Install the package python3-yaml" in told["yaml"]
    assert path.read_text() == "K: old\n"
