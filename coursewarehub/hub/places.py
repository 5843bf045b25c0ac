"""Where the pages of a course's own accounts are, below the hub's prefix, and who may see the staff's."""

from __future__ import annotations

from typing import Final

PASSWORD: Final = "password"  # noqa: S105 - a path
FORGOTTEN: Final = "password/forgotten"
PEOPLE: Final = "people"
IMPORT: Final = "people/import"
EXPORT: Final = "people/export.csv"

PEOPLE_SCOPE: Final = "custom:courseware:people"
"""What the roles `owner` and `instructor` carry: managing the course's accounts."""

TOKEN: Final = "token"  # noqa: S105 - a parameter
"""The parameter of a link that holds its secret; JupyterHub's log leaves out what is called so."""
