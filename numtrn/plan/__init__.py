"""Request, options and machine facts in; `Plan` or `Refusal` out. No array is touched here."""

from numtrn.plan.blocked import BlockedPlan
from numtrn.plan.decide import DEFAULT_MIN_WORK, DTYPES, AnyPlan, can_stay, make_plan, threshold
from numtrn.plan.mp2 import Mp2Plan
from numtrn.plan.records import Plan, Refusal
from numtrn.plan.stages import ContractionPlan
from numtrn.plan.tiling import Tiling

__all__ = [
    "DEFAULT_MIN_WORK",
    "DTYPES",
    "AnyPlan",
    "BlockedPlan",
    "ContractionPlan",
    "Mp2Plan",
    "Plan",
    "Refusal",
    "Tiling",
    "can_stay",
    "make_plan",
    "threshold",
]
