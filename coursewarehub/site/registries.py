"""Package registries for courses with `egress: registries`: routes of the edge, by the name that TLS asks for. Pure.

A learner's container finds the names of the registries at the site's address. The edge hands each connection on,
unopened, to the registry of that name; any other is closed without a word. Reference: doc.traefik.io/traefik (v3), TCP
routers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

ENTRY_POINT: Final = "registries"
REFUSAL: Final = "refused"
_TLS_PORT: Final = 443
_LOWEST: Final = 1


def registry_routes(names: Iterable[str], subnets: Sequence[str]) -> dict[str, Any]:
    """The `tcp` part of Traefik's dynamic configuration: `names` for connections from `subnets`, nothing for others."""
    asking = " || ".join(f"ClientIP(`{subnet}`)" for subnet in subnets)
    # Without these, Traefik would open what no other router takes with a certificate of its own, and speak HTTP.
    refused = {"entryPoints": [ENTRY_POINT], "rule": "HostSNI(`*`)", "priority": _LOWEST, "service": REFUSAL}
    routers: dict[str, Any] = {REFUSAL: refused, f"{REFUSAL}-tls": {**refused, "tls": {"passthrough": True}}}
    services: dict[str, Any] = {REFUSAL: {"loadBalancer": {"servers": []}}}
    for number, name in enumerate(names if subnets else ()):
        key = f"registry-{number}"
        routers[key] = {
            "entryPoints": [ENTRY_POINT],
            "rule": f"HostSNI(`{name}`) && ({asking})",
            "service": key,
            "tls": {"passthrough": True},
        }
        services[key] = {"loadBalancer": {"servers": [{"address": f"{name}:{_TLS_PORT}"}]}}
    return {"tcp": {"routers": routers, "services": services}}
