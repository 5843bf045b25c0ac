"""Package registries for courses with `egress: registries`: routes of the edge, by the name that TLS asks for. Pure.

A learner's container finds the names of the registries at the site's address. The edge hands each connection on,
unopened, to the registry of that name and to nothing else. Reference: doc.traefik.io/traefik (v3), TCP routers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

ENTRY_POINT: Final = "registries"
_TLS_PORT: Final = 443


def registry_routes(names: Iterable[str], subnets: Sequence[str]) -> dict[str, Any]:
    """The `tcp` part of Traefik's dynamic configuration: `names` for connections from `subnets`; empty for none."""
    if not subnets:
        return {}
    asking = " || ".join(f"ClientIP(`{subnet}`)" for subnet in subnets)
    routers, services = {}, {}
    for number, name in enumerate(names):
        key = f"registry-{number}"
        routers[key] = {
            "entryPoints": [ENTRY_POINT],
            "rule": f"HostSNI(`{name}`) && ({asking})",
            "service": key,
            "tls": {"passthrough": True},
        }
        services[key] = {"loadBalancer": {"servers": [{"address": f"{name}:{_TLS_PORT}"}]}}
    return {"tcp": {"routers": routers, "services": services}} if routers else {}
