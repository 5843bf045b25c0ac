"""The configuration file that a course's JupyterHub loads; everything is decided in `assembly`."""

from coursewarehub.hub.assembly import configure

configure(get_config())  # type: ignore[name-defined]  # noqa: F821 - JupyterHub provides it
