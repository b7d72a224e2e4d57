"""Who is there, and what they may do: users, sessions, tokens, members of projects, and the audit log.

`rules` is the whole of the law, in one table; `guard` asks it on each request. Everything that proves who somebody is (a
cookie, a token, a link) is random, shown once and stored as a digest. Somebody who isn't in a project gets the same
answer about it as about a project that doesn't exist.
"""
