"""How a run's facts are kept: names as numbers, series as chunks, what is written, folded, read back and purged."""
