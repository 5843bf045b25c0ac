"""Sites and courses as values, made as the loader makes them."""

from __future__ import annotations

import json
from typing import Any

from coursewarehub.model import Course, Site


def a_site(**changes: Any) -> Site:
    return Site.model_validate_json(json.dumps({"mode": "development", **changes}), strict=True)


def a_course(course_id: str = "alpha", **changes: Any) -> Course:
    values = {"id": course_id, "title": f"Course {course_id}", "state": "open", **changes}
    return Course.model_validate_json(json.dumps(values), strict=True)
