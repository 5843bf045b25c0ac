"""The command line of the agent."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from coursewarehub.nodes import __main__ as command
from coursewarehub.nodes import host
from coursewarehub.nodes.health import Health
from coursewarehub.nodes.iptables import IptablesError


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.os, "geteuid", lambda: 0)


def test_what_it_does_when_it_is_told_nothing() -> None:
    told = command.parser().parse_args([])
    assert (told.engine, told.host_rules, told.ports) == ("unix:///var/run/docker.sock", None, [8081, 8082])


@pytest.mark.parametrize("pool", ["10.0.0.1/14", "here", "::/0", ""])
def test_a_pool_that_is_none_is_refused(pool: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.parser().parse_args(["--host-rules", pool])
    assert ended.value.code == 2 and "--host-rules" in capsys.readouterr().err


def test_check_says_how_the_agent_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "health.json"
    assert command.main(["--check", "--health", str(file)]) == 1
    assert "no agent has written" in capsys.readouterr().out
    Health(2).write(file)
    assert command.main(["--check", "--health", str(file)]) == 0
    assert capsys.readouterr().out == "rules are in force in 2 containers\n"


def test_only_root_applies_rules(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command.os, "geteuid", lambda: 1000)
    assert command.main([]) == 1
    assert capsys.readouterr().err == "the agent of a node must run as root: it sets packet filters\n"


def test_rules_are_removed_for_a_pool(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(host, "remove", lambda pool: asked.append(pool) or True)
    assert command.main(["--remove", "--host-rules", "10.180.0.0/14"]) == 0
    assert asked == [str(IPv4Network("10.180.0.0/14"))]


def test_remove_needs_to_know_which(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--remove"])
    assert "--remove needs --host-rules POOL" in capsys.readouterr().err


def test_check_and_remove_are_two_things(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--remove", "--check"])


def test_a_machine_that_cannot_is_one_sentence(
    root: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_pool: str) -> bool:
        raise IptablesError("the program `iptables-save` is missing: install the package `iptables`")

    monkeypatch.setattr(host, "remove", refuse)
    assert command.main(["--remove", "--host-rules", "10.180.0.0/14"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rules cannot be applied on this node: the program `iptables-save` is missing")
