"""What is new of the runs that somebody has open: one look for all viewers, one stream a page."""
