"""Where things lie: rows in a database, bytes in a content-addressed store, secrets in a vault.

Nothing above this package knows whether the database is SQLite or PostgreSQL. A change is acknowledged only after its
commit has reached the disk, and who works on what is decided by leased rows.
"""
