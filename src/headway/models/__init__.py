"""Models that people agreed on: names, versions that never change, and aliases such as champion and candidate.

A version takes its own hold of the files it was registered from, so it can be loaded and deployed whatever becomes of the
run. Nothing here unpickles a model: the server reads its manifest and hands its bytes on.
"""
