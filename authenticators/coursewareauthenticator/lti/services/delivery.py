"""One grade to its platform, whichever service that has.

Runs in: hub.
"""

from __future__ import annotations

from coursewareauthenticator.lti.services.basic_outcomes import BasicOutcomes
from coursewareauthenticator.lti.services.columns import is_same_grade
from coursewareauthenticator.lti.services.families import family
from coursewareauthenticator.lti.services.gradebook import Gradebooks
from coursewareauthenticator.lti.services.outbox import Parcel
from coursewareauthenticator.lti.services.platforms import Check
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.services.targets import RESULT_READ, LineItemTarget


class Delivery:
    """Sends a parcel. With `lift_zero`, platforms that do not show zero get almost zero instead."""

    def __init__(self, gradebooks: Gradebooks, outcomes: BasicOutcomes, *, lift_zero: bool = False) -> None:
        self._gradebooks = gradebooks
        self._outcomes = outcomes
        self._lift_zero = lift_zero

    async def __call__(self, parcel: Parcel, check: Check) -> Reason | None:
        """Send it; what there is to say of one that was taken. `check` is called directly before it is sent.

        Raises ServiceFailure when it was not taken, or nobody knows.
        """
        grade, target = parcel.grade, parcel.target
        if isinstance(target, LineItemTarget):
            await self._score(parcel, target, check)
        elif (fraction := grade.fraction) is not None:
            await self._outcomes.replace(target, fraction, check=check)
        hidden = grade.score == 0 and grade.is_final and family(target.platform).zero_hidden
        lifted = self._lift_zero and isinstance(target, LineItemTarget)
        return Reason.ZERO_HIDDEN if hidden and not lifted else None

    async def _score(self, parcel: Parcel, target: LineItemTarget, check: Check) -> None:
        try:
            await self._gradebooks.send(target, parcel.grade, parcel.stamp, lift_zero=self._lift_zero, check=check)
        except ServiceFailure as failed:
            if failed.kind is not Kind.CONFLICT or not await self._stands(parcel, target):
                raise

    async def _stands(self, parcel: Parcel, target: LineItemTarget) -> bool:
        """Whether the platform has this very grade already: an answer may have been lost."""
        fraction = parcel.grade.fraction
        if fraction is None or RESULT_READ not in target.scopes:
            return False
        try:
            result = await self._gradebooks.result(target)
        except ServiceFailure:
            return False
        return result is not None and is_same_grade(result, fraction)
