"""Which runs, in which order: the grammar of filters, its conditions, searches page by page, and what may be typed next."""
