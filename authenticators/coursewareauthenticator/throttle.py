"""How often somebody may be wrong: failed logins, counted by account and by address, in a bounded table.

Only failures count. A person who got in from an address before is not kept out there by what others try elsewhere:
an attack on one account from many addresses does not lock its owner out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final


@dataclass(frozen=True)
class Allowance:
    """`burst` failures at once, and one more every `seconds`."""

    burst: int
    seconds: float


PAIR: Final = Allowance(6, 10.0)
"""One account from one address: a person who mistypes."""
ACCOUNT: Final = Allowance(30, 10.0)
"""One account from everywhere, for addresses it has not been used from."""
ADDRESS: Final = Allowance(60, 2.0)
"""One address, whatever the account: a class room behind one address may mistype, a list of passwords may not."""

LARGEST: Final = 20_000
"""Entries kept, of each of both tables; the oldest are forgotten first. About 200 bytes each."""


class Throttle:
    """Says whether a login may be tried; told how it ended. Times in seconds of `clock`."""

    def __init__(self, clock: Callable[[], float] = monotonic, largest: int = LARGEST) -> None:
        self._clock = clock
        self._largest = largest
        self._debts: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._debts) + len(self._known)

    def wait(self, account: str, address: str) -> float:
        """Return the seconds until `account` may be tried from `address`; 0: now."""
        return max(self._wait(key, allowance) for key, allowance in self._counted(account, address))

    def failed(self, account: str, address: str) -> None:
        """Count a failure. Call it before the check and `succeeded` after it, so that many at once count as well."""
        now = self._clock()
        for key, allowance in self._counted(account, address):
            debt = min(self._debt(key, allowance, now) + 1, float(allowance.burst))
            self._debts[key] = debt, now
            self._debts.move_to_end(key)
        while len(self._debts) > self._largest:
            self._debts.popitem(last=False)

    def forgive(self, account: str, address: str) -> None:
        """Take the failure back that was counted in advance: it was not the person's."""
        now = self._clock()
        for key, allowance in self._counted(account, address):
            if key in self._debts:
                self._debts[key] = max(0.0, self._debt(key, allowance, now) - 1), now

    def succeeded(self, account: str, address: str) -> None:
        """Take the failure back that was counted in advance, and remember that they belong together."""
        self.forgive(account, address)
        self._debts.pop((account, address), None)
        self._known[account, address] = None
        self._known.move_to_end((account, address))
        while len(self._known) > self._largest:
            self._known.popitem(last=False)

    def _counted(self, account: str, address: str) -> list[tuple[tuple[str, str], Allowance]]:
        """What a try counts against. A known pair answers for itself alone."""
        pair = [((account, address), PAIR)]
        if (account, address) in self._known:
            return pair
        return [*pair, ((account, ""), ACCOUNT), (("", address), ADDRESS)]

    def _debt(self, key: tuple[str, str], allowance: Allowance, now: float) -> float:
        debt, since = self._debts.get(key, (0.0, now))
        return max(0.0, debt - (now - since) / allowance.seconds)

    def _wait(self, key: tuple[str, str], allowance: Allowance) -> float:
        excess = self._debt(key, allowance, self._clock()) - (allowance.burst - 1)
        return max(0.0, excess * allowance.seconds)
