"""The tool's keys: made once, published two at a time while one takes over, for nobody else's eyes."""

from __future__ import annotations

import base64
import hashlib
import json
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from support.lti import NOW

from coursewareauthenticator.lti.keys import SETTLE, KeysUnusable, ToolKeys
from coursewareauthenticator.lti.tokens import read_key_set, verified_claims


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "lti-keys"


def kids(keys: ToolKeys, now: float = NOW) -> list[str]:
    return [key["kid"] for key in keys.document(now)["keys"]]


def test_l13_21_a_key_is_made_once(folder: Path) -> None:
    first = ToolKeys(folder).signing(NOW)
    assert ToolKeys(folder).signing(NOW + 10**8).kid == first.kid
    assert kids(ToolKeys(folder)) == [first.kid]


def test_l13_21_the_document_has_public_halves_only(folder: Path) -> None:
    (key,) = ToolKeys(folder).document(NOW)["keys"]
    assert key.keys() == {"kty", "n", "e", "kid", "use", "alg"}
    assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")


def test_l13_21_what_is_signed_fits_the_document(folder: Path) -> None:
    keys = ToolKeys(folder)
    signed = keys.signing(NOW).sign({"a": "漢"})
    assert verified_claims(signed, read_key_set(json.dumps(keys.document(NOW)).encode())) == {"a": "漢"}
    (public,) = keys.document(NOW)["keys"]
    head, payload, signature = signed.split(".")
    n, e = (int.from_bytes(unpadded(public[name]), "big") for name in "ne")
    rsa.RSAPublicNumbers(e, n).public_key().verify(
        unpadded(signature), f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    assert json.loads(unpadded(head)) == {"alg": "RS256", "kid": public["kid"], "typ": "JWT"}


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_l13_21_the_name_of_a_key_is_its_thumbprint(folder: Path) -> None:
    """RFC 7638 §3."""
    (key,) = ToolKeys(folder).document(NOW)["keys"]
    text = f'{{"e":"{key["e"]}","kty":"RSA","n":"{key["n"]}"}}'
    assert unpadded(key["kid"]) == hashlib.sha256(text.encode()).digest()


def test_l13_21_f29_a_new_key_is_published_before_it_signs(folder: Path) -> None:
    keys = ToolKeys(folder)
    old = keys.signing(NOW)
    new = keys.rotate(NOW + 100)
    assert kids(keys) == [old.kid, new.kid]
    assert keys.signing(NOW + 100).kid == old.kid
    assert keys.signing(NOW + 100 + SETTLE - 1).kid == old.kid
    assert keys.signing(NOW + 100 + SETTLE).kid == new.kid
    assert kids(keys) == [old.kid, new.kid]  # what was signed a moment ago can still be checked


def test_l13_21_at_most_two_keys_whatever_is_done(folder: Path) -> None:
    keys = ToolKeys(folder)
    signing = keys.signing(NOW).kid
    for number in range(3):
        newest = keys.rotate(NOW + number).kid
        assert kids(keys) == [signing, newest]
        assert keys.signing(NOW + number).kid == signing
    later = NOW + 2 * SETTLE
    newer = keys.rotate(later).kid
    assert kids(keys) == [newest, newer]
    assert keys.signing(later).kid == newest


def test_f28_rotating_with_a_clock_set_back_still_makes_the_newest(folder: Path) -> None:
    keys = ToolKeys(folder)
    old, new = keys.signing(NOW), keys.rotate(NOW - 3600)
    assert kids(keys) == [old.kid, new.kid]


def test_a29_files_are_for_their_owner(folder: Path) -> None:
    previous = os.umask(0)
    try:
        ToolKeys(folder).rotate(NOW)
    finally:
        os.umask(previous)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert "PRIVATE" not in repr(ToolKeys(folder).signing(NOW))


def test_b09_a_key_that_others_can_read_is_refused(folder: Path) -> None:
    ToolKeys(folder).signing(NOW)
    (file,) = folder.glob("*.pem")
    file.chmod(0o640)
    with pytest.raises(KeysUnusable, match=r"can be read by others: run `chmod 600 .*\.pem`"):
        ToolKeys(folder).signing(NOW)


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_b09_a_damaged_key_is_named(folder: Path, text: str) -> None:
    ToolKeys(folder).signing(NOW)
    (file,) = folder.glob("*.pem")
    file.write_text(text)
    with pytest.raises(KeysUnusable, match="is not a private key"):
        ToolKeys(folder).document(NOW)


def test_b09_a_key_under_the_name_of_another_is_refused(folder: Path) -> None:
    keys = ToolKeys(folder)
    keys.signing(NOW)
    keys.rotate(NOW + 1)
    one, two = folder.glob("*.pem")
    one.write_bytes(two.read_bytes())
    with pytest.raises(KeysUnusable, match="not the key of its name"):
        keys.document(NOW)


def test_l13_21_of_many_threads_one_makes_the_key(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: ToolKeys(folder).signing(NOW).kid, range(8)))
    assert len(set(made)) == 1
    assert len(list(folder.glob("*.pem"))) == 1


def _make(folder: Path, answers: multiprocessing.Queue[str]) -> None:
    answers.put(ToolKeys(folder).signing(NOW).kid)


@pytest.mark.slow
def test_l13_21_of_many_processes_one_makes_the_key(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=_make, args=(folder, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    assert len({answers.get(timeout=60) for _ in processes}) == 1
    for process in processes:
        process.join(timeout=30)
