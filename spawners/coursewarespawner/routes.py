"""Telling the proxy of a server's address while the server is still starting, so that the route is there in time."""

from __future__ import annotations

from typing import Any


class EarlyRoutes:
    """For spawners with a setting `early_route`."""

    early_route: Any
    user: Any
    name: Any
    proxy_spec: Any

    @property
    def _proxy(self) -> Any:
        return self.user.settings.get("proxy") if self.early_route else None

    async def _add_route_early(self, url: str) -> None:
        if self._proxy is not None:
            await self._proxy.add_route(self.proxy_spec, url, {"user": self.user.name, "server_name": self.name})

    async def _remove_route(self) -> None:
        if self._proxy is not None:
            await self._proxy.delete_route(self.proxy_spec)
