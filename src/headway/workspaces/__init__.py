"""Workspaces: the notebooks of a project, open for several people at once, each under their own name.

One Jupyter server a project, on a UNIX socket that only we can reach; our proxy (`gate`) checks who comes and tells Jupyter in
a short-lived signed token (`identity`). Kernels run in the project's environments. Who may not edit reads our own page (`view`).
"""
