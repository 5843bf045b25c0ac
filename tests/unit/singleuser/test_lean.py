"""A server in a container imports nothing of the hub, and what comes later is not taken in by stand-ins."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PROLOGUE = """
import json, sys
from coursewarehub.singleuser import lean
heavy = ("sqlalchemy", "alembic", "jupyterhub.orm", "jupyterhub.handlers", "jupyterhub.metrics")
def there():
    return [name for name in heavy if name in sys.modules]
"""


def run(code: str) -> Any:
    """What the code prints last, in a process that has imported nothing yet."""
    command = [sys.executable, "-c", PROLOGUE + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_of_the_hub_is_imported() -> None:
    assert run("print(json.dumps([lean.import_jupyterhub(), there()]))") == [True, []]


def test_nor_by_the_rest_of_the_server() -> None:
    code = "lean.import_jupyterhub()\nimport coursewarehub.singleuser.main\nprint(json.dumps(there()))"
    assert run(code) == []


def test_what_is_left_of_jupyterhub_works() -> None:
    code = """
lean.import_jupyterhub()
from jupyterhub.scopes import _intersect_expanded_scopes
from jupyterhub import log, utils
print(json.dumps(sorted(_intersect_expanded_scopes({"access:servers!user=a", "self"}, {"access:servers"}))))
"""
    assert run(code) == ["access:servers!user=a"]


def test_who_asks_afterwards_gets_the_real_ones() -> None:
    code = """
lean.import_jupyterhub()
import sqlalchemy, jupyterhub.orm, jupyterhub.handlers.pages
from sqlalchemy.exc import SQLAlchemyError
engine = sqlalchemy.create_engine("sqlite://")
with engine.connect() as connection:
    answer = connection.execute(sqlalchemy.text("select 42")).scalar()
print(json.dumps([answer, jupyterhub.orm.User.__tablename__, SQLAlchemyError.__module__]))
"""
    assert run(code) == [42, "users", "sqlalchemy.exc"]


def test_a_jupyterhub_that_wants_more_gets_it_all() -> None:
    code = """
lean.STAND_INS = {**lean.STAND_INS, "jupyterhub.metrics": {}}
sufficed = lean.import_jupyterhub()
from jupyterhub.log import log_request, prometheus_log_method
print(json.dumps([sufficed, there()[:2], prometheus_log_method.__module__]))
"""
    assert run(code) == [False, ["sqlalchemy", "alembic"], "jupyterhub.metrics"]


def test_what_is_there_already_stays() -> None:
    code = """
import sqlalchemy as before
sufficed = lean.import_jupyterhub()
import sqlalchemy as after
print(json.dumps([sufficed, before is after, "jupyterhub.singleuser.extension" in sys.modules]))
"""
    assert run(code) == [False, True, True]
