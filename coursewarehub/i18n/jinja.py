"""Our catalogues in a Jinja environment."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import Environment, pass_context
from jinja2.runtime import Context

from coursewarehub.i18n.catalogues import translations

EXTENSION = "jinja2.ext.i18n"


def install_catalogues(environment: Environment, language_of: Callable[[Context], str]) -> None:
    """Give `_`, `gettext` and `ngettext` to templates, in the language `language_of` reads from a context.

    The environment must have been made with `EXTENSION`. Values go in by name, as in
    `_("Hello %(name)s", name=user)`, and are escaped where autoescaping is on. The message itself is taken as
    HTML: it must be a literal, never a visitor's text.
    """

    @pass_context
    def gettext(context: Context, message: str) -> str:
        return translations(language_of(context)).gettext(message)

    @pass_context
    def ngettext(context: Context, singular: str, plural: str, number: int) -> str:
        return translations(language_of(context)).ngettext(singular, plural, number)

    environment.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
