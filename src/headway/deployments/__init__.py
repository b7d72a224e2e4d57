"""A model that answers: a stable name and address, immutable revisions behind it, and a proof before any traffic.

A deploy makes a revision: its environment is built from the bundle's lock, the bundle is proved in it, replicas start,
and only then the gateway, a process of its own, sends it traffic; rolling back is a change of weights.
"""
