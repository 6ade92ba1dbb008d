"""`Budget`: a run's limits in tokens and money, reserved before each request so that they are never exceeded."""

from __future__ import annotations

from polyrec.core.errors import UserError
from polyrec.language.endpoint.chat import Chat, Messages, Usage


class Budget:
    """Tokens that a run has spent, reserved and left.

    A request is sent only if its upper bound fits: the bytes that it sends (a text has no more tokens than bytes), the tokens
    of a full answer, and the same again for a repair. The server's count replaces the bound when the answer arrives.
    """

    def __init__(self, chat: Chat, token_budget: int | None, cost_budget: float | None) -> None:
        self._chat, self._token_budget, self._cost_budget = chat, token_budget, cost_budget
        self.spent = Usage()
        self.stopped = ""
        self._reserved = Usage()
        self._last_bound = Usage()

    def reserve(self, request: Messages) -> Usage | None:
        """Reserve and return the upper bound of a request; return None if the budget does not cover it."""
        self._last_bound = bound = self._chat.most_with_repair(request)
        total = self.spent + self._reserved + bound
        if self._token_budget is not None and total.total > self._token_budget:
            self.stopped = f"`token_budget` {self._token_budget:,}"
            return None
        cost = self._chat.cost(total)
        if self._cost_budget is not None and cost is not None and cost > self._cost_budget:
            self.stopped = f"`cost_budget` {self._cost_budget:g}"
            return None
        self._reserved += bound
        return bound

    def settle(self, reserved: Usage, used: Usage) -> None:
        """Replace a reservation by the tokens that were used."""
        self._reserved = Usage(self._reserved.input - reserved.input, self._reserved.output - reserved.output)
        self.spent += used

    def note(self) -> str:
        """Return the tokens spent and their cost, for a progress bar."""
        cost = self._chat.cost(self.spent)
        return f"{self.spent.total:,} tokens" + ("" if cost is None else f", {cost:.4f}")

    def too_small(self) -> UserError:
        """Return the error for a budget that does not cover a single request."""
        cost = self._chat.cost(self._last_bound)
        most = f"{self._last_bound.total:,} tokens" + ("" if cost is None else f" at {cost:.6f}")
        found = f"{self.stopped}, where one request may take {most}"
        remedy = "Raise it, lower the chat's `max_tokens`, or shorten the template."
        return UserError("the budget", expected="enough for one request", found=found, remedy=remedy)
