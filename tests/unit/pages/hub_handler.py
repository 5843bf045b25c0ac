"""JupyterHub's own rendering, without a hub: its handler, its templates, our extension."""

from __future__ import annotations

import asyncio
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jupyterhub._data import DATA_FILES_PATH
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.login import LoginHandler
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application

from coursewarehub.hub import localisation

BASE = "/courses/python/"
TEMPLATES = localisation.__file__.replace("localisation.py", "templates")
UPSTREAM = f"{DATA_FILES_PATH}/templates"


class HandlerOutsideHub:
    """What a handler takes from a running hub, fixed."""

    hub = SimpleNamespace(base_url=f"{BASE}hub/")
    base_url = BASE
    version_hash = "v1"
    xsrf_token = b"xsrf"
    parsed_scopes: Any = MappingProxyType({})
    expanded_scopes: Any = frozenset()
    user: Any = None
    accessible_services: tuple[Any, ...] = ()
    authenticator = SimpleNamespace(login_service="", request_otp=False)

    @property
    def current_user(self) -> Any:
        return self.user

    def get_accessible_services(self, _user: Any) -> tuple[Any, ...]:
        return self.accessible_services


class Handler(HandlerOutsideHub, BaseHandler):  # type: ignore[misc]
    """JupyterHub's base handler."""


class Login(HandlerOutsideHub, LoginHandler):  # type: ignore[misc]
    """JupyterHub's handler of the login page, which renders its errors in a way of its own."""


def environment(asynchronous: bool) -> Environment:
    """As `JupyterHub.init_tornado_settings` makes them."""
    loader = ChoiceLoader(
        [
            PrefixLoader({"templates": FileSystemLoader([UPSTREAM])}, "/"),
            FileSystemLoader([TEMPLATES, UPSTREAM]),
        ]
    )
    options: dict[str, Any] = {"autoescape": True, "extensions": [localisation.Localisation]}
    return Environment(loader=loader, **options, enable_async=asynchronous)


ASYNC, SYNC = environment(True), environment(False)


def course(**changes: Any) -> dict[str, Any]:
    """The template variable `course`."""
    values = {"id": "python", "title": "Qwerty", "description": "Uiop", "language": "en"}
    values["logins"] = [{"name": "dummy", "kind": "workshop", "title": None, "self_chosen_names": False}]
    return values | changes


def handler(
    kind: type[Any] = Handler,
    *,
    headers: dict[str, str] | None = None,
    uri: str = f"{BASE}hub/home",
    method: str = "GET",
    template_vars: dict[str, Any] | None = None,
) -> Any:
    """A handler in the middle of answering a request."""
    values = {
        "course": course(),
        "site_title": "Azerty",
        "portal_url": "/",
        "courseware_css_url": "/assets/courseware.css?v=1",
    }
    settings: dict[str, Any] = {
        "template_vars": values | (template_vars or {}),
        "jinja2_env": ASYNC,
        "jinja2_env_sync": SYNC,
        "login_url": f"{BASE}hub/login",
        "logout_url": f"{BASE}hub/logout",
        "static_path": f"{DATA_FILES_PATH}/static",
        "static_url_prefix": f"{BASE}hub/static/",
        "headers": {"Content-Security-Policy": "x"},
    }
    line = RequestStartLine(method, uri, "HTTP/1.0")
    request = HTTPServerRequest(start_line=line, headers=HTTPHeaders(headers or {}), connection=MagicMock())
    return kind(Application([], **settings), request)


def rendered(of: Any, template: str, **values: Any) -> str:
    """The page, made twice: in the way of an ordinary answer and in that of an error, which must agree."""
    now = of.render_template(template, sync=True, **values)
    later = asyncio.run(of.render_template(template, **values))
    assert now == later
    return str(now)


def user(name: str = "ada") -> Any:
    """The person signed in, as templates see them."""
    spawner = SimpleNamespace(options_form="", active=False, pending=None)
    escaped = name.replace("<", "\\u003c").replace(">", "\\u003e").replace('"', '\\"')
    return SimpleNamespace(name=name, spawner=spawner, json_escaped_name=escaped)
