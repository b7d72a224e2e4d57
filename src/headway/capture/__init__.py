"""Capture: in the user's process, standard library only. It watches, it never acts.

`boot` starts a `session`; `sources/` see prints, fits, scores, data, figures and names, and append facts to the `spool`.
Off the user's thread, `reduce` turns facts and source code into a record, and `shipper` sends it to the server.
"""
