"""The table of roles: what counts, what does not, and which of several wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursewareauthenticator.lti.roles import MAIN, SUB, role_of
from coursewarehub.model.roles import Role

M = "http://purl.imsglobal.org/vocab/lis/v2/membership"
INSTITUTION = "http://purl.imsglobal.org/vocab/lis/v2/institution/person"
SYSTEM = "http://purl.imsglobal.org/vocab/lis/v2/system/person"
OWNER, INSTRUCTOR, ASSISTANT, STUDENT, OBSERVER = Role


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        # Short names, LTI 1.1.
        (["Instructor"], INSTRUCTOR),
        (["Learner"], STUDENT),
        (["Student"], STUDENT),
        (["TeachingAssistant"], ASSISTANT),
        (["ContentDeveloper"], INSTRUCTOR),
        (["Administrator"], INSTRUCTOR),
        (["Mentor"], OBSERVER),
        (["instructor"], INSTRUCTOR),
        (["Instructor/GuestInstructor"], INSTRUCTOR),
        (["TeachingAssistant/Grader"], ASSISTANT),
        # Names in full, LTI 1.1.
        (["urn:lti:role:ims/lis/Instructor"], INSTRUCTOR),
        (["urn:lti:role:ims/lis/Learner"], STUDENT),
        (["urn:lti:role:ims/lis/Learner/NonCreditLearner"], STUDENT),
        (["urn:lti:role:ims/lis/TeachingAssistant"], ASSISTANT),
        (["urn:lti:role:ims/lis/TeachingAssistant/TeachingAssistantSection"], ASSISTANT),
        (["urn:lti:role:ims/lis/Mentor"], OBSERVER),
        # Lists with commas.
        (["Instructor,Learner"], INSTRUCTOR),
        (["Learner, urn:lti:role:ims/lis/TeachingAssistant"], ASSISTANT),
        (["Learner,,", " Mentor "], STUDENT),
        (["Student,Learner"], STUDENT),
        # Addresses, LTI 1.3.
        ([f"{M}#Instructor"], INSTRUCTOR),
        ([f"{M}#Learner"], STUDENT),
        ([f"{M}#ContentDeveloper"], INSTRUCTOR),
        ([f"{M}#Administrator"], INSTRUCTOR),
        ([f"{M}#Mentor"], OBSERVER),
        ([f"{M}#Manager"], OBSERVER),
        ([f"{M}#Officer"], OBSERVER),
        ([f"{M}#Member"], STUDENT),
        ([f"{M}/Instructor#GuestInstructor"], INSTRUCTOR),
        ([f"{M}/Learner#GuestLearner"], STUDENT),
        # An assistant, as the specification and as some platforms write it.
        ([f"{M}/Instructor#TeachingAssistant"], ASSISTANT),
        ([f"{M}#Instructor", f"{M}/Instructor#TeachingAssistant"], ASSISTANT),
        ([f"{M}/Instructor#TeachingAssistant", f"{M}#Learner"], ASSISTANT),
        ([f"{M}#Instructor#TeachingAssistant"], ASSISTANT),
        ([f"{M}/Instructor#Grader"], ASSISTANT),
        # One who is both is the higher of the two.
        ([f"{M}#Instructor", f"{M}/Instructor#PrimaryInstructor", f"{M}/Instructor#TeachingAssistant"], INSTRUCTOR),
        ([f"{M}#Administrator", f"{M}/Instructor#TeachingAssistant"], INSTRUCTOR),
        ([f"{M}#Administrator", f"{M}#Instructor"], INSTRUCTOR),
        ([f"{M}/Administrator#Support", f"{M}#Administrator"], OBSERVER),
        ([f"{M}/Administrator#Support", f"{M}#Learner"], STUDENT),
    ],
)  # fmt: skip
def test_l11_16_l13_18_roles_in_the_course(roles: list[str], role: Role) -> None:
    assert role_of(roles) is role
    assert role_of(reversed(roles)) is role
    assert role_of([",".join(roles)]) is role


@pytest.mark.parametrize(
    "roles",
    [
        [],
        [""],
        [",", " "],
        [f"{INSTITUTION}#Administrator"],
        [f"{INSTITUTION}#Instructor"],
        [f"{INSTITUTION}#Faculty"],
        [f"{INSTITUTION}#None", f"{SYSTEM}#None"],
        [f"{SYSTEM}#Administrator"],
        [f"{SYSTEM}#SysAdmin"],
        [f"{SYSTEM}#TestUser"],
        ["urn:lti:sysrole:ims/lis/SysAdmin"],
        ["urn:lti:sysrole:ims/lis/Administrator"],
        ["urn:lti:instrole:ims/lis/Instructor"],
        ["urn:lti:instrole:ims/lis/Administrator"],
        ["Faculty"],
        ["Staff"],
        ["SysAdmin"],
        ["owner"],
        ["admin"],
        [f"{M}#None"],
        [f"{M}#"],
        [f"{M}"],
        [f"{M}/Instructor"],
        [f"{M}/Instructor#"],
        [f"{M}/#Instructor"],
        [f"{M}s#Instructor"],
        [f"{M}x/Instructor#TeachingAssistant"],
        [f"https{M[4:]}#Instructor"],
        ["http://evil.example/membership#Instructor"],
        [f"{M}/a/Instructor#Grader"],
        ["urn:lti:role:ims/lis/"],
        ["urn:lti:role:other/Instructor"],
        ["/Instructor"],
    ],
)
def test_l13_18_everything_else_is_no_role_here(roles: list[str]) -> None:
    assert role_of(roles) is None
    assert role_of([*roles, f"{M}#Learner"]) is STUDENT


def test_l13_18_nobody_is_made_owner() -> None:
    assert OWNER not in {*MAIN.values(), *SUB.values()}


def test_l11_16_a_course_may_say_otherwise() -> None:
    more = {"administrator": OWNER, "instructor/grader": STUDENT, "auditor": OBSERVER}
    assert role_of([f"{M}#Administrator"], more) is OWNER
    assert role_of(["Instructor/Grader"], more) is STUDENT
    assert role_of(["Auditor"], more) is OBSERVER
    assert role_of(["Learner"], more) is STUDENT
    assert role_of([f"{M}/Administrator#Support"], more) is OBSERVER


@given(st.lists(st.text(max_size=60) | st.text(max_size=20).map(lambda text: f"{M}{text}"), max_size=5))
def test_b03_no_text_makes_roles_fail(roles: list[str]) -> None:
    assert role_of(roles) in {*Role, None}
