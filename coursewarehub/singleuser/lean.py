"""Importing JupyterHub's part of a learner's server without the hub behind it.

`jupyterhub.singleuser` needs a few lines of modules that go on to import the hub's database (SQLAlchemy, Alembic), its
pages and its metrics, which a learner's server never uses: a third of the processor time of its start, and 30 MB of
every learner's memory. While it is imported, stand-ins take their places. They are gone afterwards, so that whoever
asks for SQLAlchemy then gets SQLAlchemy.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final


class _Never(Exception):
    """Never raised, and nothing is one."""


def _count_no_request(_handler: object) -> None:
    """In the place of the hub's metrics of its requests."""


STAND_INS: Final[Mapping[str, Mapping[str, Any]]] = {
    "sqlalchemy": {"func": None},
    "sqlalchemy.exc": {"SQLAlchemyError": _Never},
    "jupyterhub.orm": {},
    "jupyterhub.handlers": {},
    "jupyterhub.handlers.pages": {"HealthCheckHandler": _Never},
    "jupyterhub.metrics": {"prometheus_log_method": _count_no_request},
}
"""Modules of which nothing but these names is used while `jupyterhub.singleuser` is imported."""


def import_jupyterhub(import_module: Callable[[str], ModuleType] = importlib.import_module) -> bool:
    """Import `jupyterhub.singleuser.extension`; whether stand-ins sufficed.

    Where they do not (another release of JupyterHub), or one of the modules is there already, everything is imported as
    it is.
    """
    name = "jupyterhub.singleuser.extension"
    if not any(module in sys.modules for module in (*STAND_INS, name)):
        known = set(sys.modules)
        sys.modules.update({module: _stand_in(module, content) for module, content in STAND_INS.items()})
        try:
            import_module(name)
        except (ImportError, AttributeError, TypeError):
            for module in set(sys.modules) - known:
                if module.partition(".")[0] == "jupyterhub":
                    del sys.modules[module]
        else:
            return True
        finally:
            for module in STAND_INS:
                sys.modules.pop(module, None)
    import_module(name)
    return False


def _stand_in(name: str, content: Mapping[str, Any]) -> ModuleType:
    module = ModuleType(name, "Stands in for a part of the hub.")
    module.__path__ = []
    module.__dict__.update(content)
    return module
