"""Estimates of what another policy would have earned, from logs of served lists."""

from polyrec.evaluate.off_policy.estimate import off_policy
from polyrec.evaluate.off_policy.log import LogColumns
from polyrec.evaluate.off_policy.report import OffPolicy

__all__ = [
    "LogColumns",
    "OffPolicy",
    "off_policy",
]
