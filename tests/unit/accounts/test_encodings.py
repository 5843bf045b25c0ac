"""B11: a roster's encoding is told from its bytes, or asked for; never guessed wrong in silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursewareauthenticator.accounts.encodings import UNCERTAIN, UNKNOWN, UNREADABLE, EncodingUnknown, decode

HEAD = "name,display name\r\n"
JAPANESE = HEAD + "s1,山田太郎\r\ns2,鈴木 花子\r\ns3,ﾀﾅｶ ｲﾁﾛｳ\r\n"
FRENCH = HEAD + "s1,Hélène Müller\r\ns2,François Noël\r\n"


@pytest.mark.parametrize("text", [HEAD, JAPANESE, FRENCH])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_b11_unicode(text: str, codec: str) -> None:
    read, name = decode(text.encode(codec))
    assert read == text and codec.startswith(name)


def test_b11_what_spreadsheets_write_in_japan_and_in_europe() -> None:
    assert decode(JAPANESE.encode("cp932")) == (JAPANESE, "cp932")
    assert decode(FRENCH.encode("cp1252")) == (FRENCH, "cp1252")


@pytest.mark.parametrize(
    ("name", "codec"),
    [("Shift_JIS", "cp932"), ("sjis", "cp932"), ("CP932", "cp932"), ("UTF-8", "utf-8-sig"), ("utf8", "utf-8")],
)
def test_b11_named_encodings(name: str, codec: str) -> None:
    assert decode(JAPANESE.encode(codec), name)[0] == JAPANESE


def refused(data: bytes, encoding: str | None = None) -> str:
    with pytest.raises(EncodingUnknown) as error:
        decode(data, encoding)
    return error.value.sentence.template


def test_b11_what_cannot_be_told_is_asked() -> None:
    assert refused(HEAD.encode() + "ﾔﾏﾀﾞ".encode("cp932")) == UNCERTAIN
    assert refused(JAPANESE.encode("cp932"), "utf-8") == UNREADABLE
    assert refused(b"", "klingon") == UNKNOWN


@given(st.binary(max_size=200), st.sampled_from([None, "utf-8", "utf-16", "cp932", "latin-1"]))
def test_b11_any_bytes_are_text_or_a_sentence(data: bytes, encoding: str | None) -> None:
    try:
        text, _ = decode(data, encoding)
    except EncodingUnknown as unknown:
        assert str(unknown)
    else:
        assert isinstance(text, str)


@given(st.lists(st.sampled_from("山田太郎鈴木花子佐藤美咲高橋翔加藤さくら"), min_size=2, max_size=40))
def test_b11_japanese_names_are_never_read_as_french(chars: list[str]) -> None:
    text = HEAD + "s1," + "".join(chars) + "\r\n"
    try:
        assert decode(text.encode("cp932")) == (text, "cp932")
    except EncodingUnknown:
        assert set(chars) == {"翔"}, "rare characters alone are asked about"
