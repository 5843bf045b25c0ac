"""What every entry of `login` in site.yaml has, and how a course names one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from coursewarehub.model.values import Expect, Settings, Title

PROVIDER_NAME = r"^[a-z][a-z0-9-]{0,30}$"

ProviderName = Annotated[str, StringConstraints(pattern=PROVIDER_NAME), Expect("a name in `login` of site.yaml")]


class ProviderSettings(Settings):
    """What every provider has."""

    title: Title | None = Field(
        None,
        description="What people call their account there, for the login page; one text, or one per language.",
        examples=["University account"],
    )
