"""The pure parts of the benchmarks: what they compute, judge and read."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks.bursts import Entered, empty, spread
from benchmarks.forms import link_to, login_form
from benchmarks.hubs import Samples
from benchmarks.hubs import rows as hub_rows
from benchmarks.launch import rows as launch_rows
from benchmarks.measure import (
    Aim,
    Row,
    Stat,
    descendants,
    median,
    number,
    parse_available,
    parse_busy,
    parse_pss,
    parse_stat,
    parse_total,
    parse_usage,
    quantile,
    table,
)
from benchmarks.report import numbers
from benchmarks.tasks import noted, seconds


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], 3.0), ([3.0, 1.0, 2.0], 2.0), ([1.0, 2.0, 4.0, 100.0], 3.0)],
)
def test_median(values: list[float], expected: float) -> None:
    assert median(values) == expected


@pytest.mark.parametrize(("share", "expected"), [(0.01, 1.0), (0.5, 10.0), (0.95, 19.0), (0.951, 20.0), (1.0, 20.0)])
def test_quantile_is_a_measured_value(share: float, expected: float) -> None:
    assert quantile([float(value) for value in range(20, 0, -1)], share) == expected


def test_statistics_need_values() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        median([])
    with pytest.raises(ValueError, match="at least one value"):
        quantile([], 0.5)
    with pytest.raises(ValueError, match="above 0"):
        quantile([1.0], 0.0)


@pytest.mark.parametrize(
    ("stock", "ours", "aim", "ratio", "met"),
    [
        ((10.0,), (4.0,), Aim(ratio=0.4), 0.4, True),
        ((10.0,), (4.1,), Aim(ratio=0.4), 0.41, False),
        ((10.0, 1.0, 20.0), (5.0, 1.0, 90.0), None, 0.5, None),
        ((), (4.0,), Aim(ratio=0.4), None, None),
        ((), (4.0,), Aim(value=5.0), None, True),
        ((), (6.0,), Aim(value=5.0), None, False),
        ((10.0,), (), Aim(value=5.0), None, None),
        ((0.0,), (0.0,), Aim(value=0.0), None, True),
        ((10.0,), (4.0,), Aim(ratio=0.5, value=3.0), 0.4, False),
        ((10.0,), (0.0,), Aim(ratio=0.5), 0.0, True),
        ((10.0,), (-3.0,), Aim(ratio=0.5), None, None),
        ((-3.0,), (1.0,), Aim(ratio=0.5), None, None),
    ],
)
def test_ratio_and_verdict(
    stock: tuple[float, ...],
    ours: tuple[float, ...],
    aim: Aim | None,
    ratio: float | None,
    met: bool | None,
) -> None:
    row = Row("m", "s", stock, ours, aim)
    assert row.ratio == (None if ratio is None else pytest.approx(ratio))
    assert row.met is met


def test_a_row_can_show_a_high_quantile_and_keeps_every_value() -> None:
    values = tuple(float(value) for value in range(1, 11))
    row = Row("wake", "s", values, (1.0, 2.0), Aim(value=1.5), share=0.95)
    written = row.as_json()
    assert written["summary"] == "p95"
    assert written["stock"] == {"figure": 10.0, "values": list(values)}
    assert written["ratio"] == pytest.approx(0.2)
    assert written["met"] is False


def test_the_table_is_aligned_and_says_what_is_missed() -> None:
    text = table(
        [
            Row("a long metric", "MiB", (100.0, 120.0, 110.0), (55.0,), Aim(ratio=0.4)),
            Row("b", "s", (), (0.25,), Aim(value=0.5)),
        ]
    )
    head, rule, first, second = text.splitlines()
    assert first.split("  ")[0] == "a long metric"
    assert "110 (100–120)" in first
    assert "0.5×" in first
    assert first.endswith("MISSED")
    assert second.endswith("met")
    assert "3/1" in first
    assert head.index("unit") == first.index("MiB")
    assert head.index("stock") == first.index("110") == second.index("–")
    assert set(rule) == {"-", " "}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (0.254, "0.25"), (9.96, "9.96"), (12.34, "12.3"), (11712.0, "11712")],
)
def test_numbers_have_three_digits_that_matter(value: float, shown: str) -> None:
    assert number(value) == shown


SMAPS = """\
55d0c0c00000-7ffd000 ---p 00000000 00:00 0                               [rollup]
Rss:               58448 kB
Pss:               31020 kB
Pss_Dirty:         12000 kB
SwapPss:               7 kB
"""


def test_pss_is_read_in_bytes() -> None:
    assert parse_pss(SMAPS) == 31020 * 1024


def test_a_dead_process_weighs_nothing() -> None:
    assert parse_pss("") == 0


def test_meminfo_is_read_in_bytes() -> None:
    text = "MemTotal:       1000 kB\nMemFree:          10 kB\nMemAvailable:    600 kB\n"
    assert parse_available(text) == 600 * 1024
    assert parse_total(text) == 1000 * 1024
    with pytest.raises(ValueError, match="MemAvailable"):
        parse_available("MemTotal:       1000 kB\n")


def test_busy_ticks_leave_out_idle_and_disk() -> None:
    text = "cpu  10 1 5 80 4 2 3 0 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
    assert parse_busy(text) == (21, 105)


def test_usage_of_a_control_group_is_read_in_seconds() -> None:
    assert parse_usage("usage_usec 2500000\nuser_usec 2000000\n") == 2.5
    with pytest.raises(ValueError, match="usage_usec"):
        parse_usage("nothing\n")


def test_stat_of_a_process_with_an_odd_name() -> None:
    line = "42 (a (b) c) S 7 42 42 0 -1 4194304 100 0 0 0 11 12 13 14 20 0 1 0 99"
    assert parse_stat(line) == Stat(pid=42, parent=7, state="S", cpu_ticks=50)


def test_descendants_are_found_at_any_depth_and_others_are_not() -> None:
    parents = {2: 1, 3: 2, 4: 3, 5: 3, 6: 1, 7: 99, 1: 0}
    assert descendants(parents, 2) == {3, 4, 5}
    assert descendants(parents, 7) == set()


LOGIN = """
<form action="/search"><input name="q"></form>
<form action="/courses/a/hub/login?next=%2F&amp;x=1" method="post">
  <input type="hidden" name="_xsrf" value="token==">
  <input name="username"><input type="password" name="password">
</form>
"""


def test_the_login_form_is_found_among_others() -> None:
    form = login_form(LOGIN)
    assert form is not None
    assert form.action == "/courses/a/hub/login?next=%2F&x=1"
    assert form.fields == {"_xsrf": "token==", "username": "", "password": ""}


def test_a_waiting_page_has_no_login_form() -> None:
    assert login_form("<p>Opening the course</p><form><input name='q'></form>") is None


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ('<a href="/">x</a><a href="/courses/b/">b</a><a href="/courses/a/">a</a>', "/courses/a/"),
        ('<form action="/courses/a/"><button>Enter</button></form>', "/courses/a/"),
        ('<a href="/courses/b/">b</a>', None),
    ],
)
def test_the_portals_way_into_a_course(page: str, found: str | None) -> None:
    assert link_to(page, "courses/a/") == found


def test_bursts_are_read_from_the_command_line() -> None:
    assert numbers("1,20,50") == [1, 20, 50]
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
        numbers("1,0")


def test_sleeping_courses_are_compared_with_scaled_idle_ones() -> None:
    samples = Samples()
    samples.add("stock", "idle pss", 1200.0)
    samples.add("ours", "idle pss", 400.0)
    samples.add("ours", "asleep pss", 150.0)
    samples.add("ours", "part edge", 50.0)
    options = argparse.Namespace(courses=10, sleeping=100)
    found = {row.metric: row for row in hub_rows(samples, options)}
    idle = found["memory per idle course, everything shared out, PSS"]
    assert (idle.stock, idle.ours) == ((120.0,), (40.0,))
    asleep = found["memory of 100 sleeping courses, PSS"]
    assert (asleep.stock, asleep.ours) == ((12000.0,), (150.0,))
    assert asleep.met is True
    assert "scaled" in asleep.note
    assert found["- of it edge"].ours == (50.0,)
    each = found["memory per sleeping course, PSS"]
    assert (each.stock, each.ours) == ((120.0,), (1.5,))


def test_a_burst_is_summed_up_by_those_who_got_in() -> None:
    values = empty()["ours"]
    spread(
        [Entered("a", 3.0, 2.0), Entered("b", failure="no page"), Entered("c", 5.0, 4.5), Entered("d", 4, 4)], values
    )
    times = {"first": [3.0], "median": [4.0], "last": [5.0], "last ready": [4.5]}
    assert dict(values) == {"success": [75.0], "failures": [1], **times}


def test_a_burst_without_a_page_has_no_times() -> None:
    values = empty()["stock"]
    spread([Entered("a", failure="no page")], values)
    assert dict(values) == {"success": [0.0], "failures": [1]}


def test_moments_of_docker_have_nanoseconds() -> None:
    assert seconds("1970-01-01T00:01:00.123456789Z") == pytest.approx(60.123456789)
    assert seconds("1970-01-01T00:01:00Z") == 60


def test_the_first_moment_of_an_event_counts(tmp_path: Path) -> None:
    file = tmp_path / "measured"
    assert noted(file, "seen") == {}
    file.write_text("seen student001 12.5\nover student001 13\nseen student001 14\n")
    assert noted(file, "seen") == {"student001": 12.5}


def test_launches_have_a_rate_and_a_slowest_twentieth() -> None:
    seconds_of = [number / 100 for number in range(1, 101)]
    samples = {("stock", "1.1"): seconds_of, ("ours", "1.1"): [0.1], ("ours", "1.1 rate"): [20.0, 30.0]}
    rate, one, slowest = launch_rows(samples)[:3]
    assert rate.figure(rate.ours) == 25.0 and rate.stock == ()
    assert one.figure(one.stock) == pytest.approx(0.505) and slowest.figure(slowest.stock) == 0.95
    assert slowest.met is True and len(launch_rows({})) == 6
