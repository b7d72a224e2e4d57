"""What was tried and what came of it: experiments, runs, their parameters, metrics, data, figures and models.

The store keeps a series as compressed chunks and a summary, not as a row a point; `service` and its neighbours are the only
writers. The MLflow REST protocol is the API: its odd names stop at `wire/`. The pages are a view of the same store.
"""
