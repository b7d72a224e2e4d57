"""A project: a folder of files, the people in it, and the name that everything else hangs on.

The folder lies in the home folder under the project's slug, where notebooks, runs and people's own tools find it. Users'
code writes there too, so the server trusts nothing in it: paths are checked after one decoding, and no link is followed.
"""
