"""In the run: executes a notebook so that nothing it shows is ever lost.

The kernel lives in a session of its own and appends each output to a log before it tells anyone. The runner sends cells and
follows the log; when it is killed, the next one takes up where it was.
"""
