"""`Budget`: tokens and money that a run may take, reserved before a request is sent so that it is never exceeded."""

from __future__ import annotations

from polyrec.core.errors import UserError
from polyrec.language.endpoint.chat import Messages, Usage
from polyrec.writing.writing import Writing


class Budget:
    """What a run has spent, and may still.

    A request is sent only if all it can take at most fits: its bytes read (a text has no more tokens than bytes), the tokens of
    a full answer, and the same again for a repair. When its answer comes, what the server counted takes the place of that.
    """

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self.spent = Usage()
        self.stopped = ""
        self._reserved = Usage()
        self._asked = Usage()

    def reserve(self, request: Messages) -> Usage | None:
        """Return what is set aside for a request; None where the budget does not bear it."""
        self._asked = most = self._writing.chat.most_with_repair(request)
        total = self.spent + self._reserved + most
        if self._writing.token_budget is not None and total.total > self._writing.token_budget:
            self.stopped = f"`token_budget` {self._writing.token_budget:,}"
            return None
        cost = self._writing.chat.cost(total)
        if self._writing.cost_budget is not None and cost is not None and cost > self._writing.cost_budget:
            self.stopped = f"`cost_budget` {self._writing.cost_budget:g}"
            return None
        self._reserved += most
        return most

    def settle(self, reserved: Usage, used: Usage) -> None:
        """Put what was used in the place of what was set aside."""
        self._reserved = Usage(self._reserved.input - reserved.input, self._reserved.output - reserved.output)
        self.spent += used

    def note(self) -> str:
        """Return what was spent, for a progress bar."""
        cost = self._writing.chat.cost(self.spent)
        return f"{self.spent.total:,} tokens" + ("" if cost is None else f", {cost:.4f}")

    def too_small(self) -> UserError:
        """Return the error for a budget that does not bear a single request."""
        cost = self._writing.chat.cost(self._asked)
        most = f"{self._asked.total:,} tokens" + ("" if cost is None else f" at {cost:.6f}")
        found = f"{self.stopped}, where one request may take {most}"
        remedy = "Raise it, lower the chat's `max_tokens`, or shorten the template."
        return UserError("the budget", expected="enough for one request", found=found, remedy=remedy)
