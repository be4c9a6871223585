"""The cache: private, whole or absent, and never trusted when others could have written it."""

import json
import os
import stat
import warnings
from pathlib import Path

import pytest

from numtrn import cache
from numtrn.errors import CacheWarning

BODY = {"a": [1, "two", None]}


@pytest.fixture
def directory(monkeypatch, tmp_path):
    path = tmp_path / "made" / "here"
    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(path))
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def refused(words):
    """What was kept is set aside with a warning, and then is simply absent."""
    with pytest.warns(CacheWarning, match=words):
        body, note = cache.read("x.json")
    assert body is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.read("x.json")[0] is None
    return note


def test_a_record_comes_back_and_is_private(directory):
    note = cache.write("x.json", BODY)
    assert note == f"kept in {directory / 'x.json'}"
    assert cache.read("x.json") == (BODY, note)
    assert mode(directory) == 0o700
    assert mode(directory / "x.json") == 0o600
    assert [path.name for path in directory.iterdir()] == ["x.json"]


def test_without_a_record_there_is_a_note(directory):
    assert cache.read("x.json") == (None, f"nothing is kept in {directory / 'x.json'}")
    assert cache.signature("x.json") is None


def test_the_signature_changes_with_the_record(directory):
    signatures = set()
    for body in (1, 2, 1):
        cache.write("x.json", body)
        signatures.add(cache.signature("x.json"))
    assert len(signatures) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[1]", "no record of numtrn"),
        ("[" * 200_000, "is not used"),
        ('{"schema": 99, "checksum": "", "body": 1}', "its schema is 99, this version reads 1"),
        ('{"schema": 1, "checksum": "0", "body": 1}', "checksum does not match"),
        (" " * (2**20 + 1), "the most is 1,048,576"),
        (b"\xff\xfe", "can't decode"),
    ],
)
def test_a_damaged_file_is_set_aside(directory, text, words):
    cache.write("x.json", BODY)
    file = directory / "x.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    note = refused(words)
    assert "It was renamed to x.json.aside" in note
    assert (directory / "x.json.aside").exists()
    assert not file.exists()


def test_a_changed_body_is_noticed(directory):
    cache.write("x.json", {"outcome": "wrong"})
    file = directory / "x.json"
    record = json.loads(file.read_text())
    record["body"]["outcome"] = "exact"
    file.write_text(json.dumps(record))
    refused("checksum does not match")


@pytest.mark.parametrize("bits", [0o644, 0o660, 0o604])
def test_a_file_open_to_others_is_set_aside(directory, bits):
    cache.write("x.json", BODY)
    (directory / "x.json").chmod(bits)
    refused(f"its mode is {bits:o}")


def test_a_file_of_another_user_is_set_aside(directory, monkeypatch):
    cache.write("x.json", BODY)
    fstat = os.fstat

    def of_another(handle):
        found = list(fstat(handle))
        found[stat.ST_UID] += 1
        return os.stat_result(found)

    monkeypatch.setattr(cache.os, "fstat", of_another)
    refused("it is of user")


def test_links_and_other_things_are_set_aside(directory, tmp_path):
    cache.write("x.json", BODY)
    file = directory / "x.json"
    file.rename(tmp_path / "elsewhere.json")
    file.symlink_to(tmp_path / "elsewhere.json")
    refused("is not used")
    os.mkfifo(file, 0o600)
    refused("not a plain file")


def test_a_directory_that_others_can_write_is_not_used(directory):
    cache.write("x.json", BODY)
    directory.chmod(0o770)
    body, note = cache.read("x.json")
    assert body is None
    assert "must be the user's own and writable by nobody else" in note
    assert "NUMTRN_CACHE_DIR names another one" in note
    assert "not kept: the cache directory must be" in cache.write("x.json", BODY)
    assert (directory / "x.json").exists()


def test_a_directory_of_another_user_is_not_used(directory, monkeypatch):
    cache.write("x.json", BODY)
    monkeypatch.setattr(cache.os, "geteuid", lambda: os.getuid() + 1)
    assert "must be the user's own" in cache.read("x.json")[1]


def test_a_place_that_cannot_be_written_is_said(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert "not kept: " in cache.write("x.json", BODY)
    assert cache.read("x.json")[0] is None
    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(tmp_path / "file"))
    assert cache.write("x.json", BODY).startswith("not kept: ")
    assert "is not a directory" in cache.read("x.json")[1]


def test_a_full_disk_leaves_what_was_there(directory, monkeypatch):
    cache.write("x.json", BODY)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    assert "not kept: [Errno 28]" in cache.write("x.json", "new")
    assert cache.read("x.json")[0] == BODY
    assert [path.name for path in directory.iterdir()] == ["x.json"]


def test_a_file_that_cannot_be_renamed_is_not_used_either(directory, monkeypatch):
    cache.write("x.json", BODY)
    (directory / "x.json").write_text("{")

    def fails(source, destination):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache.os, "replace", fails)
    with pytest.warns(CacheWarning, match="could not be renamed \\(Read-only file system\\); delete it"):
        assert cache.read("x.json")[0] is None


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMTRN_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.location("x.json") == str(tmp_path / "xdg" / "numtrn" / "x.json")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache.location("x.json") == str(tmp_path / ".cache" / "numtrn" / "x.json")
    monkeypatch.setenv("NUMTRN_CACHE_DIR", "not/absolute")
    assert cache.location("x.json") == "NUMTRN_CACHE_DIR= takes an absolute path; got 'not/absolute'"


def test_without_a_home_there_is_no_cache(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NUMTRN_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert "no home directory; NUMTRN_CACHE_DIR names a place" in cache.read("x.json")[1]
    assert cache.write("x.json", BODY).startswith("not kept: this user has no home directory")
    assert cache.signature("x.json") is None
