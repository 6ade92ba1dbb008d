"""What makes the list that is shown of the ranked items."""

from polyrec.rules.at_most import AtMost
from polyrec.rules.candidates import Candidates, Listed
from polyrec.rules.diversify import Diversify
from polyrec.rules.epsilon_greedy import EpsilonGreedy
from polyrec.rules.exclude import Exclude
from polyrec.rules.listing import apply_rules
from polyrec.rules.pinned import Pinned
from polyrec.rules.plackett_luce import PlackettLuce
from polyrec.rules.rule import Rule
from polyrec.rules.where import Where

__all__ = [
    "AtMost",
    "Candidates",
    "Diversify",
    "EpsilonGreedy",
    "Exclude",
    "Listed",
    "Pinned",
    "PlackettLuce",
    "Rule",
    "Where",
    "apply_rules",
]
