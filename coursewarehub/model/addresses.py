"""The address of a site."""

from __future__ import annotations

from coursewarehub.model.site import Site


def public_url(site: Site) -> str:
    """What people type, with a slash at the end."""
    if site.edge.public_url:
        return f"{site.edge.public_url.rstrip('/')}/"
    scheme = "https" if site.edge.tls or site.edge.acme else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(site.edge.host, site.edge.host)  # noqa: S104
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    default = {"http": 80, "https": 443}[scheme]
    port = "" if site.edge.port == default else f":{site.edge.port}"
    return f"{scheme}://{host}{port}/"
