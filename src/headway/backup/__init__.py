"""Everything that a home folder keeps as one file, taken while it is written to, and made into a home again.

A backup is a tar: `headway-backup.json` (what it is), `headway.db` (the database, always as SQLite, whichever it came from),
`home/...` (key, projects, what runs left), `blobs/...` (the bytes that the database refers to), `manifest.json` (size and
SHA-256 of all of these). Environments, bundles of endpoints and copies of runs' files are not in it: they are made again.
"""
