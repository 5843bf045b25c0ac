"""Routes to package registries as values; `tests/hubs/test_registries_door.py` asks the real Traefik."""

from __future__ import annotations

from typing import Any

import pytest

from coursewarehub.site.registries import registry_routes

REFUSED = {"entryPoints": ["registries"], "rule": "HostSNI(`*`)", "priority": 1, "service": "refused"}
REFUSALS = {"refused": REFUSED, "refused-tls": {**REFUSED, "tls": {"passthrough": True}}}
NOBODY = {"refused": {"loadBalancer": {"servers": []}}}


def test_each_name_leads_to_itself_for_the_networks_that_may_ask() -> None:
    asking = "ClientIP(`10.180.0.0/20`) || ClientIP(`10.180.32.0/20`)"

    def router(number: int, name: str) -> dict[str, Any]:
        return {
            "entryPoints": ["registries"],
            "rule": f"HostSNI(`{name}`) && ({asking})",
            "service": f"registry-{number}",
            "tls": {"passthrough": True},
        }

    assert registry_routes(("pypi.org", "deb.debian.org"), ("10.180.0.0/20", "10.180.32.0/20")) == {
        "tcp": {
            "routers": {
                **REFUSALS,
                "registry-0": router(0, "pypi.org"),
                "registry-1": router(1, "deb.debian.org"),
            },
            "services": {
                **NOBODY,
                "registry-0": {"loadBalancer": {"servers": [{"address": "pypi.org:443"}]}},
                "registry-1": {"loadBalancer": {"servers": [{"address": "deb.debian.org:443"}]}},
            },
        }
    }


@pytest.mark.parametrize(("names", "subnets"), [(("pypi.org",), ()), ((), ("10.180.0.0/20",)), ((), ())])
def test_where_nothing_is_to_be_reached_everything_is_refused(names: tuple[str, ...], subnets: tuple[str, ...]) -> None:
    assert registry_routes(names, subnets) == {"tcp": {"routers": REFUSALS, "services": NOBODY}}
