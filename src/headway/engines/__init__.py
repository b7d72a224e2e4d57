"""Where things run. A run, a notebook server, a replica and a build are one idea: a process with a wanted and an actual state.

The keeper brings the two together; an engine only places processes; the shim beside each process decides how it ended.
"""
