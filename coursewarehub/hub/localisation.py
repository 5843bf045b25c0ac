"""The language of a hub's pages, chosen for each request.

Runs in: hub.

It is a Jinja extension, so JupyterHub's own setting switches it on, for both of its environments:

    c.JupyterHub.jinja_environment_options = {"extensions": [Localisation]}

The language is the visitor's choice (`LANGUAGE_COOKIE`), else what the browser asks for, else the language
the course is taught in, else the site's. The last two are read from the template variables
`course["language"]` and `site_language`. The request is found through `static_url`, which JupyterHub puts
into the values of every page and which is a method of the handler that answers it. Nothing is stored, so
concurrent requests cannot mix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, runtime_checkable

from jinja2 import Environment, pass_context
from jinja2.ext import InternationalizationExtension
from jinja2.runtime import Context
from tornado.web import RequestHandler

from coursewareauthenticator.methods import LINKING, SENTENCES, WRONG
from coursewarehub.i18n import (
    LANGUAGE_COOKIE,
    N_,
    LanguageLink,
    choose,
    language_links,
    translations,
)
from coursewarehub.i18n.jinja import install_catalogues

UPSTREAM_LANGUAGE: Final = '<html lang="en">'
"""How JupyterHub's `page.html` begins, whatever language its blocks are in."""

REFUSALS: Final = (
    N_("This is not a valid user name."),
    N_("You are not a member of this course."),
    N_("Your learning platform does not say what you are in this course: ask your instructor."),
    N_("Your account in this course has ended. Ask your instructor."),
    N_("This login leads to another account of yours now. Please sign in again."),
    N_("This course no longer lets people in that way. Please sign in again."),
    N_("This course is not published yet."),
    N_("This course is closed."),
    N_("This course is archived."),
    N_("This course has not started yet."),
    N_("This course is over."),
)
"""What the access decision answers to those who may not enter."""

KNOWN_MESSAGES: Final = {
    **{reason: reason for reason in REFUSALS},
    **{sentence: sentence for sentence in (*SENTENCES, *LINKING, WRONG)},
    "Server requested": N_("Your notebook has been asked for."),
    "Spawning server...": N_("The notebook server is starting."),
    "Starting": N_("The notebook server is starting."),
    "Login form invalid or expired. Try again.": N_("The sign-in page was open for too long. Please sign in again."),
    "Active user limit exceeded. Try again in a few minutes.": N_(
        "All places of this course are taken. Try again in a few minutes."
    ),
}
"""Messages that JupyterHub, authenticators and spawners show to learners, and what our pages say for them."""


@runtime_checkable
class Localised(Protocol):
    """A text in several languages, such as the model's `LocalizedText`."""

    def text(self, language: str) -> str:
        """The text in this language, or the nearest there is."""
        ...


@runtime_checkable
class Translatable(Protocol):
    """A sentence that remembers its template and what is in it, such as the reason why a server ended."""

    def translated(self, gettext: Callable[[str], str]) -> str:
        """The sentence in the language of `gettext`."""
        ...


class Localisation(InternationalizationExtension):
    """Translation of our strings in JupyterHub's templates, and the language of the page they extend."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        install(environment)

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        """The template's source, in which the root element says the language of the request."""
        return source.replace(UPSTREAM_LANGUAGE, '<html lang="{{ language() }}">', 1)


def install(environment: Environment) -> None:
    """Give the templates `_`, `ngettext` and a few functions; the environment must have the i18n extension.

    The functions are `language()`, `languages()` for the language switch, `localised(text)` for a text of the
    course, `translated(text)` for a message made elsewhere, `known_messages()`, and `progress_messages()` for what
    spawners of containers tell while a server starts.
    """
    install_catalogues(environment, request_language)
    environment.globals.update(
        language=pass_context(request_language),
        languages=_languages,
        localised=_localised,
        translated=_translated,
        known_messages=_known_messages,
        progress_messages=_progress_messages,
    )


def request_language(context: Context) -> str:
    """The language in which to answer the request whose page is being rendered."""
    return language_of(_handler(context), context)


def language_of(handler: RequestHandler | None, values: Any) -> str:
    """The language in which to answer a handler's request; `values` are JupyterHub's template variables."""
    course = values.get("course") or {}
    defaults = (str(course.get("language", "")), str(values.get("site_language", "")))
    if handler is None:
        return choose(None, None, *defaults)
    return handler_language(handler, *defaults)


def handler_language(handler: RequestHandler, *defaults: str) -> str:
    """The language in which to answer a request; `defaults` when the visitor asks for none that we have."""
    accept_language = handler.request.headers.get("Accept-Language")
    return choose(handler.get_cookie(LANGUAGE_COOKIE), accept_language, *defaults)


def _handler(context: Context) -> RequestHandler | None:
    owner = getattr(context.get("static_url"), "__self__", None)
    return owner if isinstance(owner, RequestHandler) else None


@pass_context
def _languages(context: Context) -> tuple[LanguageLink, ...]:
    """The language switch; it comes back to this page, or to the course after a form was sent."""
    handler = _handler(context)
    back = str(context.get("base_url", ""))
    if handler is not None and getattr(handler, "asked_once", False):
        back = str(context.get("login_url", back))
    elif handler is not None and _can_be_asked_again(handler, str(context.get("login_url", ""))):
        back = handler.request.uri or back
    return language_links(request_language(context), str(context.get("portal_url", "/")), back)


def _can_be_asked_again(handler: RequestHandler, login_url: str) -> bool:
    by_get = handler.request.method == "GET" or getattr(handler, "also_by_get", False)
    return by_get or handler.request.path == login_url


@pass_context
def _localised(context: Context, text: Any) -> str:
    """A text of the course in the page's language, when there are several."""
    return text.text(request_language(context)) if isinstance(text, Localised) else str(text)


@pass_context
def _translated(context: Context, text: Any) -> str:
    """A message made elsewhere, in the page's language when our catalogues know it; never taken as markup.

    One that remembers what it was made of (`Translatable`) says it anew.
    """
    gettext = translations(request_language(context)).gettext
    if isinstance(text, Translatable):
        return text.translated(gettext)
    known = KNOWN_MESSAGES.get(str(text), str(text))
    return gettext(known) if known else ""


@pass_context
def _known_messages(context: Context) -> dict[str, str]:
    """`KNOWN_MESSAGES` in the page's language, for templates and their scripts."""
    gettext = translations(request_language(context)).gettext
    return {message: gettext(ours) for message, ours in KNOWN_MESSAGES.items()}


@pass_context
def _progress_messages(context: Context) -> dict[str, str]:
    """Templates of what is told while a server starts, and what stands for them in the page's language.

    Only for containers: what makes the templates is imported with their spawners.
    """
    if not context.get("engine"):
        return {}
    from coursewarespawner.messages import PROGRESS

    gettext = translations(request_language(context)).gettext
    return {template: gettext(template) for template in PROGRESS}
