"""The configuration of a site and its courses: models, strict loader, access decisions, names.

Runs in: every process. Pure: reads files when asked to load or check, writes nothing, starts
nothing. Names are imported on first use, so that `import coursewarehub.model` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coursewarehub.model.access import STAFF, Arrival, Decision, Identity, Reason, account_name, decide
    from coursewarehub.model.course import Course, CourseState
    from coursewarehub.model.load import (
        LoadedSite,
        check_site,
        course_file,
        load_course,
        load_site,
        usable,
    )
    from coursewarehub.model.names import normalise_name, object_name, valid_name
    from coursewarehub.model.problems import ConfigurationError, Problem
    from coursewarehub.model.resources import EffectiveResources, resources_for
    from coursewarehub.model.roles import Role
    from coursewarehub.model.secret import SecretRef
    from coursewarehub.model.site import Site
    from coursewarehub.model.values import ByteSize, Duration, LocalizedText

__all__ = [
    "STAFF",
    "Arrival",
    "ByteSize",
    "ConfigurationError",
    "Course",
    "CourseState",
    "Decision",
    "Duration",
    "EffectiveResources",
    "Identity",
    "LoadedSite",
    "LocalizedText",
    "Problem",
    "Reason",
    "Role",
    "SecretRef",
    "Site",
    "account_name",
    "check_site",
    "course_file",
    "decide",
    "load_course",
    "load_site",
    "normalise_name",
    "object_name",
    "resources_for",
    "usable",
    "valid_name",
]

_HOME = {
    "access": ("STAFF", "Arrival", "Decision", "Identity", "Reason", "account_name", "decide"),
    "course": ("Course", "CourseState"),
    "load": ("LoadedSite", "check_site", "course_file", "load_course", "load_site", "usable"),
    "names": ("normalise_name", "object_name", "valid_name"),
    "problems": ("ConfigurationError", "Problem"),
    "resources": ("EffectiveResources", "resources_for"),
    "roles": ("Role",),
    "secret": ("SecretRef",),
    "site": ("Site",),
    "values": ("ByteSize", "Duration", "LocalizedText"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
