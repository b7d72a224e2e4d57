"""The kit that pages and APIs are made of; it knows no pillar.

A request is one transaction (`edge`), an error has one handler (`answers`), a page is a template and a few words (`render`),
and what is alive streams as server-sent events (`live`).
"""
