"""What a run printed and showed: the log of a notebook's outputs, and how a terminal would have shown a text.

Standard library only: the runner writes the executed notebook with it, the server draws the page with it.
"""
