"""The id that tells one site's objects apart from another's on the same Docker Engine."""

from __future__ import annotations

from coursewarehub.state.folders import SiteFolders
from coursewarehub.state.secrets import generated_once

_BYTES = 6


def site_id(folders: SiteFolders) -> str:
    """The site's id: 12 hexadecimal digits, made once. ConfigurationError when others can read its file."""
    return generated_once(folders.identity, bytes_of_randomness=_BYTES).get_secret_value()
