r"""The languages of the pages: choosing one for a request, and the catalogues of translated strings.

Runs in: site, hub. Pure: strings in, strings out; the only files read are this package's own catalogues.

Strings are written in English in templates and code, as `_("...")`, or as `N_("...")` where the string is
defined in one place and translated in another. The translations are in
`locales/<language>/LC_MESSAGES/coursewarehub.po`, compiled in memory when first needed. After changing a
string, run this command from the root of the repository,

    pybabel -q extract -F babel.cfg --no-location -o messages.pot . && for l in ja fr; do \
      pybabel -q update -N --no-wrap --ignore-obsolete --ignore-pot-creation-date -D coursewarehub \
      -d coursewarehub/i18n/locales -i messages.pot -l $l; done; rm messages.pot

then fill the empty `msgstr` of both files. A test fails while one is missing.
"""

from coursewarehub.i18n.catalogues import N_, translations
from coursewarehub.i18n.languages import LANGUAGE_COOKIE, LANGUAGES, NAMES, choose, negotiate
from coursewarehub.i18n.switch import LanguageLink, language_links, return_path

__all__ = [
    "LANGUAGES",
    "LANGUAGE_COOKIE",
    "NAMES",
    "N_",
    "LanguageLink",
    "choose",
    "language_links",
    "negotiate",
    "return_path",
    "translations",
]
