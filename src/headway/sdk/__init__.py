"""The client: everything headway does, from Python, with the standard library alone.

It finds the server and who you are (`address`), speaks HTTP with it (`transport`), and turns an answer that says what was
wrong back into the exception it was (`client`). The nouns (`projects`, `runs`, `models`, `endpoints`...) are thin on top.
"""
