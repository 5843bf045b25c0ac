"""What a person can be in a course."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person is in one course; it gives no right anywhere else."""

    OWNER = "owner"
    INSTRUCTOR = "instructor"
    ASSISTANT = "assistant"
    STUDENT = "student"
    OBSERVER = "observer"
