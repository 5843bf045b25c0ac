"""LTI 1.1: which launches are accepted, and why the others are not. Signatures are oauthlib's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA1, SIGNATURE_HMAC_SHA256, SIGNATURE_PLAINTEXT
from support.lti import FORM_11, KEY, LAUNCH_URL, NOW, SECRET, form, signed

from coursewareauthenticator.lti.launch import Launch, LaunchRefused, Message, Outcomes, Person
from coursewareauthenticator.lti.lti11 import Consumer, Request, base_string, signature, verify

WINDOW = 300
CONSUMERS = {KEY: Consumer(KEY, (SECRET,)), "other": Consumer("other", ("another secret",))}


def launch(body: bytes, *, consumers: Any = None, now: float = NOW, window: float = WINDOW, **request: Any) -> Launch:
    values: dict[str, Any] = {"method": "POST", "url": LAUNCH_URL, "body": body} | request
    return verify(Request(**values), CONSUMERS if consumers is None else consumers, now, window)


def refused(body: bytes, **how: Any) -> tuple[int, str]:
    with pytest.raises(LaunchRefused) as caught:
        launch(body, **how)
    sentence = caught.value.sentence
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 400
    assert SECRET not in sentence
    return caught.value.status, caught.value.field


def test_l11_01_a_whole_launch_is_understood() -> None:
    found = launch(signed(form()))
    assert (found.version, found.message) == ("1.1", Message.RESOURCE_LINK)
    assert (found.registration, found.subject) == ("lti11:moodle", "42")
    assert found.resource_link is not None and found.context is not None
    assert (found.resource_link.id, found.resource_link.title) == ("link-7", "Week 3")
    assert (found.context.id, found.context.label, found.context.types) == ("course-1", "PY", ("CourseSection",))
    assert found.roles == ("Instructor", "urn:lti:instrole:ims/lis/Administrator")
    assert found.person == Person("Ada Lovelace", "Ada", "Lovelace", "ada@example.org")
    assert found.custom == {"notebook": "week3/演習 1.ipynb", "blank": ""}
    assert (found.return_url, found.locale) == ("https://lms.example.org/course/view?id=1", "ja-JP")


@pytest.mark.parametrize("method", [SIGNATURE_HMAC_SHA1, SIGNATURE_HMAC_SHA256])
@pytest.mark.parametrize(
    "extra",
    [
        [("custom_a", "1"), ("custom_a", "2"), ("custom_a", "1")],
        [("custom_a", "2"), ("custom_a", "10"), ("custom_a-b", "1"), ("custom_ab", "1")],
        [("custom_blank", ""), ("custom_other", "")],
        [("custom_text", "~*%+ -._!'()\r\n\t&=;/?")],
        [("custom_Ünï", "漢字 é e\u0301 \U0001f600")],
        [("custom_percent", "%41%2B%%zz")],
    ],
    ids=["duplicates", "order", "blank", "special", "unicode", "percent"],
)
def test_l11_02_every_parameter_counts_in_the_base_string(extra: list[tuple[str, str]], method: str) -> None:
    body = signed([*FORM_11.items(), *extra], method=method)
    found = launch(body)
    for name, _ in extra:
        assert found.parameters[name] == tuple(value for other, value in [*FORM_11.items(), *extra] if other == name)


@pytest.mark.parametrize(
    ("signed_for", "arrived_at"),
    [
        ("https://HUB.Example.ORG:443/lti", "https://hub.example.org/lti"),
        ("https://hub.example.org/lti", "https://hub.example.org:443/lti"),
        ("http://hub.example.org/lti", "http://hub.example.org:80/lti"),
        ("https://hub.example.org:8443/lti", "https://hub.example.org:8443/lti"),
        ("https://hub.example.org", "https://hub.example.org/"),
        ("https://hub.example.org/a%20b", "https://hub.example.org/a%20b"),
    ],
)
def test_l11_02_the_address_is_normalised(signed_for: str, arrived_at: str) -> None:
    assert launch(signed(form(), url=signed_for), url=arrived_at).subject == "42"


@pytest.mark.parametrize(
    "query", ["a=1&a=2&b=&c", "next=%2Fhub%2Fhome", "custom_next=/user/a/lab?x=1", "q=%E6%BC%A2+x&q=%E6%BC%A2+x"]
)
def test_l11_02_the_query_of_the_address_is_signed_too(query: str) -> None:
    body = signed(form(), url=f"{LAUNCH_URL}?{query}")
    assert launch(body, query=query.encode()).subject == "42"
    assert refused(body) == (401, "oauth_signature")
    assert refused(body, query=query.encode() + b"&more=1") == (401, "oauth_signature")


def test_l11_02_the_base_string_is_the_example_of_the_standard() -> None:
    """RFC 5849 §3.4.1.1, with its parameters."""
    text = "b5=%3D%253D&a3=a&c%40=&a2=r%20b&c2=&a3=2+q"
    pairs = [(name.encode(), value.encode()) for name, value in parse_qsl(text, keep_blank_values=True)]
    oauth = {
        "consumer_key": "9djdj82h48djs9d2", "token": "kkk9d7dh3k39sjv7", "signature_method": "HMAC-SHA1",
        "timestamp": "137131201", "nonce": "7d8f3e4a", "signature": "not part of it",
    }  # fmt: skip
    pairs += [(f"oauth_{name}".encode(), value.encode()) for name, value in oauth.items()]
    assert base_string("POST", "http://EXAMPLE.COM:80/request", pairs) == (
        b"POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D"
        b"%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3D"
        b"HMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


def test_l11_02_and_13_a_platform_may_copy_the_query_into_the_form() -> None:
    """It signs the copy only; the address still has it."""
    body = signed([*form(), ("next", "/hub/home")])
    assert launch(body, query=b"next=%2Fhub%2Fhome").custom["next"] == "/hub/home"
    assert refused(body, query=b"next=%2Fhub%2Fspawn") == (401, "oauth_signature")


@pytest.mark.parametrize(
    ("how", "answer"),
    [
        ({"secret": "wrong"}, (401, "oauth_signature")),
        ({"secret": ""}, (401, "oauth_signature")),
        ({"key": "nobody"}, (401, "oauth_consumer_key")),
        ({"key": "other"}, (401, "oauth_signature")),
        ({"url": LAUNCH_URL + "/x"}, (401, "oauth_signature")),
        ({"url": LAUNCH_URL.replace("https", "http")}, (401, "oauth_signature")),
        ({"url": LAUNCH_URL.replace(".org", ".org:8443")}, (401, "oauth_signature")),
        ({"url": LAUNCH_URL.replace("hub.", "evil.")}, (401, "oauth_signature")),
    ],
)
def test_l11_03_a01_wrong_secret_key_or_address(how: dict[str, str], answer: tuple[int, str]) -> None:
    assert refused(signed(form(), **how)) == answer


@pytest.mark.parametrize("name", [*FORM_11, "oauth_nonce", "oauth_timestamp", "oauth_version"])
def test_a01_each_field_altered_after_signing(name: str) -> None:
    pairs = parse_qsl(signed(form()).decode(), keep_blank_values=True)
    assert name in dict(pairs)
    changed = [(key, value + "1" if key == name else value) for key, value in pairs]
    assert refused(urlencode(changed).encode()) in {(401, "oauth_signature"), (400, "oauth_version")}
    without = [(key, value) for key, value in pairs if key != name]
    status, field = refused(urlencode(without).encode())
    assert (status, field) in {(401, "oauth_signature"), (400, name)}


def test_a01_get_is_no_launch() -> None:
    assert refused(signed(form()), method="GET") == (405, "method")
    assert refused(b"", method="HEAD", query=signed(form())) == (405, "method")


def test_a01_signature_of_an_empty_secret() -> None:
    with pytest.raises(ValueError, match="not empty"):
        Consumer("key", ("",))
    with pytest.raises(ValueError, match="not empty"):
        Consumer("key", ())
    with pytest.raises(ValueError, match="HMAC"):
        Consumer("key", ("secret",), methods=frozenset({"PLAINTEXT"}))
    assert refused(signed(form(), secret="")) == (401, "oauth_signature")


def test_a01_each_character_of_the_signature_counts() -> None:
    pairs = dict(parse_qsl(signed(form()).decode(), keep_blank_values=True))
    right = pairs["oauth_signature"]
    for wrong in (right[:-1], right.rstrip("="), right + "=", right.swapcase(), f" {right}", "A" + right[1:], "é"):
        assert refused(urlencode(pairs | {"oauth_signature": wrong}).encode()) == (401, "oauth_signature"), wrong


@pytest.mark.parametrize("off", [-WINDOW - 1, WINDOW + 1, -600, 600, 3600, -86400])
def test_l11_04_f28_a_clock_too_far_off_is_told_with_its_measure(off: int) -> None:
    with pytest.raises(LaunchRefused, match=f"{abs(off)} s .* this hub's clock; 300 s are allowed") as caught:
        launch(signed(form()), now=NOW - off)
    assert (caught.value.status, caught.value.field) == (401, "oauth_timestamp")
    assert ("ahead of" if off > 0 else "behind") in caught.value.sentence


@pytest.mark.parametrize("off", [-WINDOW, -299.5, -31, 0, 31, WINDOW])
def test_l11_04_f28_a_clock_inside_the_window_is_accepted(off: float) -> None:
    assert launch(signed(form()), now=NOW - off).subject == "42"


def test_l11_04_the_window_is_the_callers() -> None:
    assert launch(signed(form()), now=NOW + 5000, window=5400).subject == "42"
    assert refused(signed(form()), now=NOW + 31, window=30) == (401, "oauth_timestamp")


@pytest.mark.parametrize(
    "text",
    [
        "abc",
        "1.5",
        "-1",
        "18000000000",
        "１８００００００００",
        "1" + "0" * 400,
        "+1800000000",
        " 1800000000",
        "1_8",
        "0x1",
        "1e9",
    ],
)
def test_b01_a_time_that_is_no_time(text: str) -> None:
    assert refused(signed(form(), timestamp=text)) == (400, "oauth_timestamp")


def test_b01_an_empty_time() -> None:
    body = urlencode([*form(), *parse_qsl("oauth_consumer_key=moodle&oauth_nonce=n&oauth_signature_method=HMAC-SHA1")])
    assert refused(body.encode() + b"&oauth_timestamp=&oauth_signature=x") == (400, "oauth_timestamp")


def test_l11_05_what_must_not_come_twice() -> None:
    body = signed(form())
    once = launch(body).once
    assert once == launch(body, now=NOW + 100).once or once.value == launch(body, now=NOW + 100).once.value
    assert once.owner == "lti11:moodle"
    assert once.expires >= NOW + WINDOW + 3600  # remembered when the clock is set back by an hour
    others = [signed(form(), nonce="nonce-2"), signed(form(), timestamp=str(NOW + 1))]
    other_consumer = signed(form(), key="other", secret="another secret")
    used = {(one.owner, one.value) for one in (once, *(launch(other).once for other in [*others, other_consumer]))}
    assert len(used) == 4


def test_l11_06_an_unsigned_launch_gives_no_nonce_to_use_up() -> None:
    """The nonce is in what `verify` returns, and it returns only what is signed."""
    assert refused(signed(form(), secret="wrong")) == (401, "oauth_signature")


@pytest.mark.parametrize("method", ["PLAINTEXT", "RSA-SHA1", "hmac-sha1", "HMAC-SHA512", "none"])
def test_l11_07_only_listed_signature_methods(method: str) -> None:
    params = [(name, method if name == "oauth_signature_method" else value) for name, value in _unsigned()]
    text = base_string("POST", LAUNCH_URL, [(name.encode(), value.encode()) for name, value in params])
    fitting = signature(text, SECRET, "HMAC-SHA1").decode()
    assert refused(urlencode([*params, ("oauth_signature", fitting)]).encode()) == (400, "oauth_signature_method")


def test_l11_07_a_consumer_may_allow_fewer_methods() -> None:
    strict = {KEY: replace(CONSUMERS[KEY], methods=frozenset({"HMAC-SHA256"}))}
    assert refused(signed(form()), consumers=strict) == (400, "oauth_signature_method")
    assert launch(signed(form(), method=SIGNATURE_HMAC_SHA256), consumers=strict).subject == "42"
    assert refused(signed(form(), method=SIGNATURE_PLAINTEXT), consumers=strict) == (400, "oauth_signature_method")


@pytest.mark.parametrize("version", ["9", "1.0a", "2.0", "1"])
def test_l11_07_the_version_is_1_0_or_left_out(version: str) -> None:
    assert refused(_sign([*_unsigned(), ("oauth_version", version)])) == (400, "oauth_version")
    assert launch(_sign(_unsigned())).subject == "42"
    assert launch(_sign([*_unsigned(), ("oauth_version", "1.0")])).subject == "42"


def _unsigned() -> list[tuple[str, str]]:
    oauth = {"consumer_key": KEY, "nonce": "n", "timestamp": str(NOW), "signature_method": "HMAC-SHA1"}
    return [*form(), *((f"oauth_{name}", value) for name, value in oauth.items())]


def _sign(params: list[tuple[str, str]]) -> bytes:
    """Sign by hand what oauthlib would not sign."""
    text = base_string("POST", LAUNCH_URL, [(name.encode(), value.encode()) for name, value in params])
    fitting = signature(text, SECRET, "HMAC-SHA1").decode()
    return urlencode([*params, ("oauth_signature", fitting)]).encode()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lti_message_type": "ContentItemSelectionRequest"}, "lti_message_type"),
        ({"lti_message_type": "basic-lti-launch"}, "lti_message_type"),
        ({"lti_message_type": "BASIC-LTI-LAUNCH-REQUEST"}, "lti_message_type"),
        ({"lti_version": "LTI-2p0"}, "lti_version"),
        ({"lti_version": "1.3.0"}, "lti_version"),
        ({"lti_version": "LTI-1p1"}, "lti_version"),
    ],
)
def test_l11_08_wrong_message_type_or_version(changes: dict[str, str], field: str) -> None:
    assert refused(signed(form(**changes))) == (400, field)


REQUIRED = ["lti_message_type", "lti_version", "resource_link_id", "user_id"]
OAUTH = ["oauth_consumer_key", "oauth_signature_method", "oauth_timestamp", "oauth_nonce", "oauth_signature"]


@pytest.mark.parametrize("name", REQUIRED)
def test_l11_09_b02_a_required_field_missing_or_empty(name: str) -> None:
    assert refused(signed(form(**{name: None}))) == (400, name)
    assert refused(signed(form(**{name: ""}))) == (400, name)


@pytest.mark.parametrize("name", OAUTH)
def test_l11_09_b02_a_field_of_oauth_missing_empty_or_doubled(name: str) -> None:
    pairs = parse_qsl(signed(form()).decode(), keep_blank_values=True)
    without = [(key, value) for key, value in pairs if key != name]
    assert refused(urlencode(without).encode()) == (400, name)
    assert refused(urlencode([*without, (name, "")]).encode()) == (400, name)
    assert refused(urlencode([*pairs, (name, dict(pairs)[name])]).encode()) == (400, name)
    assert refused(signed(form()), query=f"{name}=1".encode()) == (400, name)


SINGLE = [*REQUIRED, "context_id", "roles", "lis_person_contact_email_primary", "lis_result_sourcedid"]


@pytest.mark.parametrize("name", SINGLE)
def test_b02_a_field_sent_twice(name: str) -> None:
    assert refused(signed([*form(), (name, "x")])) == (400, name)


@pytest.mark.parametrize("name", [*REQUIRED, *OAUTH])
def test_b02_a_field_of_64_kilobytes(name: str) -> None:
    pairs = dict(parse_qsl(signed(form()).decode(), keep_blank_values=True))
    assert refused(urlencode(pairs | {name: "x" * 65536}).encode()) == (413, "body")
    assert refused(b"", query=b"x" * 65537) == (413, "body")


@pytest.mark.parametrize("name", [*REQUIRED, *OAUTH])
def test_b02_a_field_that_is_not_utf_8(name: str) -> None:
    body = signed(form())
    start = body.index(f"{name}=".encode()) + len(name) + 1
    assert refused(body[:start] + b"%ff%fe" + body[start:]) in {(400, name), (401, "oauth_signature")}


@pytest.mark.parametrize("name", REQUIRED)
def test_b02_signed_text_that_is_not_utf_8(name: str) -> None:
    pairs = [(key.encode(), b"\xff\xfe" if key == name else value.encode()) for key, value in _unsigned()]
    pairs.append((b"oauth_signature", signature(base_string("POST", LAUNCH_URL, pairs), SECRET, "HMAC-SHA1")))
    assert refused("&".join(f"{quote(key)}={quote(value)}" for key, value in pairs).encode()) == (400, name)


@pytest.mark.parametrize("name", ["user_id", "resource_link_id", "context_id"])
@pytest.mark.parametrize("value", ["x" * 256, "a\0b", "a\nb", "\x7f"], ids=["long", "nul", "line", "delete"])
def test_b02_an_identifier_that_cannot_be_one(name: str, value: str) -> None:
    assert refused(signed(form(**{name: value}))) == (400, name)


def test_b02_a_value_without_a_name_is_no_parameter() -> None:
    pairs = [(name.encode(), value.encode()) for name, value in [*_unsigned(), ("", "nothing")]]
    pairs.append((b"oauth_signature", signature(base_string("POST", LAUNCH_URL, pairs), SECRET, "HMAC-SHA1")))
    found = launch("&".join(f"{quote(key)}={quote(value)}" for key, value in pairs).encode())
    assert "" not in found.parameters and found.subject == "42"


def test_b02_too_many_parameters() -> None:
    assert refused(b"a=1&" * 1001) == (413, "body")


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data; boundary=x", "application/json"])
def test_b02_another_content_type(kind: str) -> None:
    assert refused(signed(form()), content_type=kind) == (415, "Content-Type")


def test_b02_the_charset_of_the_content_type_does_not_matter() -> None:
    kind = "Application/X-WWW-Form-URLencoded; charset=UTF-8"
    assert launch(signed(form()), content_type=kind).subject == "42"


def test_l11_09_a_guest_enters_only_where_guests_may() -> None:
    guests = {KEY: replace(CONSUMERS[KEY], guests=True)}
    assert launch(signed(form(user_id=None)), consumers=guests).subject is None
    assert launch(signed(form()), consumers=guests).subject == "42"


def test_l11_10_no_person_is_taken_from_the_address() -> None:
    """An author can write the launch address, so what it says is custom and nothing else."""
    query = "user_id=1&roles=Instructor&context_id=9&custom_week=3&lis_person_contact_email_primary=x@example.org"
    body = signed(form(user_id=None, roles=None), url=f"{LAUNCH_URL}?{query}")
    assert refused(body, query=query.encode()) == (400, "user_id")
    found = launch(signed(form(roles=None), url=f"{LAUNCH_URL}?{query}"), query=query.encode())
    assert (found.subject, found.roles, found.custom["week"]) == ("42", (), "3")
    assert found.person.email == "ada@example.org"


def test_l11_13_the_target_may_be_in_the_address_only() -> None:
    query = b"next=%2Fhub%2Fuser-redirect%2Flab"
    body = signed(form(), url=f"{LAUNCH_URL}?{query.decode()}")
    assert launch(body, query=query).custom["next"] == "/hub/user-redirect/lab"


def test_l11_14_the_public_address_is_the_callers() -> None:
    """A request has no headers here: nothing that a proxy or a browser adds can change what was signed."""
    assert set(Request.__dataclass_fields__) == {"method", "url", "query", "body", "content_type"}


def test_l11_15_all_parameters_but_those_of_oauth_are_kept() -> None:
    found = launch(signed([*form(), ("ext_lms", "a"), ("ext_lms", "b")]))
    assert found.parameters == {name: (value,) for name, value in FORM_11.items()} | {"ext_lms": ("a", "b")}
    assert found.services.outcomes == Outcomes(FORM_11["lis_outcome_service_url"], FORM_11["lis_result_sourcedid"])


@pytest.mark.parametrize(
    ("roles", "found"),
    [
        ("Learner", ("Learner",)),
        ("", ()),
        (None, ()),
        (
            " Instructor , ,urn:lti:role:ims/lis/TeachingAssistant,",
            ("Instructor", "urn:lti:role:ims/lis/TeachingAssistant"),
        ),
    ],
)
def test_l11_16_roles_are_a_list_with_commas(roles: str | None, found: tuple[str, ...]) -> None:
    assert launch(signed(form(roles=roles))).roles == found


def test_l11_03_two_secrets_while_one_is_replaced() -> None:
    both = {KEY: Consumer(KEY, ("new", SECRET))}
    assert launch(signed(form()), consumers=both).subject == "42"
    assert launch(signed(form(), secret="new"), consumers=both).subject == "42"
    assert refused(signed(form(), secret="newer"), consumers=both) == (401, "oauth_signature")


def test_a03_another_course_of_the_platform() -> None:
    only = {KEY: replace(CONSUMERS[KEY], contexts=frozenset({"course-2"}))}
    assert refused(signed(form()), consumers=only) == (403, "context_id")
    assert refused(signed(form(context_id=None)), consumers=only) == (403, "context_id")
    assert launch(signed(form(context_id="course-2")), consumers=only).subject == "42"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//lms.example.org", "https://u:p@lms.example.org", "ftp://a/b"]
)
@pytest.mark.parametrize("name", ["launch_presentation_return_url", "lis_outcome_service_url"])
def test_b02_an_address_that_is_no_web_address(name: str, url: str) -> None:
    assert refused(signed(form(**{name: url}))) == (400, name)


def test_a29_neither_consumer_nor_launch_shows_what_is_secret_or_personal() -> None:
    assert SECRET not in repr(CONSUMERS[KEY])
    text = repr(launch(signed(form())))
    assert not [word for word in ("Ada", "ada@", "instanceid", SECRET) if word in text]


NAMES = st.sampled_from([*FORM_11, *OAUTH, "oauth_version", "custom_x", "next", "\xff", ""])
VALUES = st.one_of(
    st.text(max_size=40), st.binary(max_size=40), st.sampled_from(["1800000000", KEY, "HMAC-SHA1", "1.0"])
)


@st.composite
def malformed(draw: st.DrawFn) -> tuple[Request, bool]:
    """A launch with some damage; half of them are signed after it."""
    pairs = [(name.encode(), value.encode()) for name, value in _unsigned()]
    for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=5)):
        raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        where = draw(st.integers(0, len(pairs)))
        if draw(st.booleans()):
            pairs.insert(where, (name.encode(), raw))
        else:
            pairs = [(key, raw if key == name.encode() else old) for key, old in pairs]
    is_signed = draw(st.booleans())
    text = base_string("POST", LAUNCH_URL, pairs)
    pairs.append(
        (b"oauth_signature", signature(text, SECRET, "HMAC-SHA1") if is_signed else draw(st.binary(max_size=40)))
    )
    body = "&".join(f"{quote(key)}={quote(value)}" for key, value in pairs).encode()
    if draw(st.integers(0, 3)) == 0:
        damaged = draw(st.one_of(st.binary(max_size=300), st.just(body[: draw(st.integers(0, len(body)))])))
        is_signed = is_signed and damaged == body
        body = damaged
    query = draw(st.one_of(st.just(b""), st.just(b""), st.binary(max_size=60)))
    method = draw(st.sampled_from(["POST", "POST", "POST", "GET", "", "\0"]))
    return Request(method, LAUNCH_URL, query, body), is_signed


def _only_refusals(case: tuple[Request, bool]) -> None:
    request, is_signed = case
    try:
        found = verify(request, CONSUMERS, NOW, WINDOW)
    except LaunchRefused as refusal:
        assert 400 <= refusal.status < 500
        assert refusal.field
        assert "\n" not in refusal.sentence
    else:
        assert is_signed
        assert found.subject and found.resource_link


@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(malformed())
def test_b02_malformed_launches_raise_nothing_but_a_refusal(case: tuple[Request, bool]) -> None:
    _only_refusals(case)


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(malformed())
def test_b02_a_hundred_thousand_malformed_launches(case: tuple[Request, bool]) -> None:
    _only_refusals(case)
