"""A name that people can say, for a run that was given none."""

from __future__ import annotations

_FIRST = """
adaptable agreeable amusing bold bouncy bright calm capable carefree charming classy clean colorful dapper dashing delightful
efficient fearless flawless fortunate gentle gifted honorable inquisitive invincible judicious learned likeable luminous
lyrical marvelous melodic nimble orderly peaceful placid polite rare resilient selective sincere skillful stately suave
thoughtful unique upbeat useful valuable wise youthful
"""
_SECOND = """
alder aspen badger bay beech birch brook cedar cliff clover coast cove crane creek dale dune egret elm ember falcon fern
finch fjord glade grove harbor hawk hazel heron hill isle jay kite lagoon lake lark linden maple marsh meadow mesa oak otter
owl pine plover pond quail reef ridge river robin sedge shore spruce swan tern thrush vale wren willow
"""


def name_for(uuid: str) -> str:
    """Two words and a number, made of the run's id."""
    number = int.from_bytes(uuid.encode()[-8:], "big") * 2_654_435_761 >> 7
    first, second = _FIRST.split(), _SECOND.split()
    return f"{first[number % len(first)]}-{second[number // 64 % len(second)]}-{number // 4096 % 900 + 100}"
