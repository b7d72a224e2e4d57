"""What you started goes on.

A submitted notebook or script is an execution: a row, a copy of the project's files, and a process that the server only
watches. Whoever dies on the way, the platform says how it ended, and why, in words. Schedules submit at their times.
"""
