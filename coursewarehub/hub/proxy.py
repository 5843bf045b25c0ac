"""The seam to the edge: how a hub tells the front door of its routes. Another edge is another class here."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
from jupyterhub_traefik_proxy.traefik_utils import TraefikConfigFileHandler, atomic_writing, generate_alias
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from traitlets import Float, default, observe

_NOT_YET = 404
_RESERVED = frozenset("/:?#[]!$&'()*+,;=%")
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def rule(routespec: str) -> str:
    """Traefik's rule for a percent-encoded path with slashes at both ends; it matches the path without the last, too.

    Traefik compares with the request's path in which only reserved characters (RFC 3986, section 2.2, and the per cent
    sign) are still encoded. ValueError for a backquote: it would end the quotation and become part of the rule.
    """
    segments = ("".join(quote(c, safe="") if c in _RESERVED else c for c in unquote(s)) for s in routespec.split("/"))
    path = "/".join(segments)
    if "`" in path:
        raise ValueError("a route must not contain a backquote")
    bare = path.rstrip("/")
    return f"PathPrefix(`{path}`) || Path(`{bare}`)" if bare else f"PathPrefix(`{path}`)"


class RoutesFile(TraefikConfigFileHandler):
    """The file of routes as JSON, which is YAML as well.

    All routes are written for each new one, and the hub's event loop stands still meanwhile: in YAML, that took a
    quarter of the hub's processor time when a class came in.
    """

    def load(self) -> Any:
        """What is in the file, also if an earlier version has written it. Raises FileNotFoundError."""
        try:
            return json.loads(Path(self.file_path).read_text())
        except ValueError:
            return super().load()

    def atomic_dump(self, data: Any) -> None:
        """Write the file whole or not at all."""
        text = json.dumps(data, ensure_ascii=False)
        with atomic_writing(self.file_path) as file:
            file.write(_NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


class CourseProxy(TraefikFileProviderProxy):
    """Writes the course's own file of routes in the folder that the edge watches.

    A route that stands already is not written again, so a route announced while the server was still starting
    costs nothing when it is confirmed. Whether the edge has it is asked at short, steady intervals.
    """

    ask_every = Float(0.02, help="Seconds between two questions whether the edge has a new route.").tag(config=True)

    @default("dynamic_config_handler")
    def _default_handler(self) -> RoutesFile:
        return RoutesFile(self.dynamic_config_file)

    @observe("dynamic_config_file")
    def _set_dynamic_config_file(self, _change: Any) -> None:
        self.dynamic_config_handler = RoutesFile(self.dynamic_config_file)

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        """Add a route unless it is there, and return when the edge has it; ValueError as `rule` says."""
        wanted = {"routespec": self.validate_routespec(routespec), "target": target, "data": data}
        if await self.get_route(routespec) == wanted:
            await self._wait_for_route(routespec)
        else:
            await super().add_route(routespec, target, data)

    def _dynamic_config_for_route(
        self, routespec: str, target: str, data: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        traefik, jupyterhub = super()._dynamic_config_for_route(routespec, target, data)
        for router in traefik["http"]["routers"].values():
            router["rule"] = rule(routespec)
        return traefik, jupyterhub

    async def _wait_for_route(self, routespec: str) -> None:
        deadline = asyncio.get_running_loop().time() + self.check_route_timeout
        router = f"{generate_alias(self.validate_routespec(routespec), 'router')}@{self.provider_name}"
        while not await self._edge_knows(router):
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"the edge did not take up the route {routespec}")
            await asyncio.sleep(self.ask_every)

    async def _edge_knows(self, router: str) -> bool:
        try:
            await AsyncHTTPClient().fetch(
                f"{self.traefik_api_url}/api/http/routers/{router}",
                auth_username=self.traefik_api_username,
                auth_password=self.traefik_api_password,
            )
        except HTTPClientError as error:
            if error.code != _NOT_YET:
                self.log.warning("The edge's API answered %s", error.code)
            return False
        except OSError:
            return False
        return True
