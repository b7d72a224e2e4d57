"""What pages show of runs: tables, charts, comparisons, previews, and the routes of those pages."""
