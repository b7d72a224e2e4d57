"""Environments: what code needs, asked for in the usual words, locked once, built once, the same everywhere.

Somebody asks (`ask`: requirements.txt, pyproject.toml, PEP 723, environment.yml), uv finds exact versions (`lock`), a process
builds them into a folder named by its content (`build`, `store`), and notebooks, runs and replicas all use that folder.
"""
