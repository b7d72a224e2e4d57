"""The keeper's turn among the server's loops."""

from headway.engines.keeper import step

INTERVAL_S = 0.25

__all__ = ["INTERVAL_S", "step"]
