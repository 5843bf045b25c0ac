"""Accounts of a course's own: people whom somebody has invited, each with a password of theirs.

Runs in: hub, CLI. `rules`, `roster`, `plan` and `sentences` are pure; `store` and `mail` block and are called in
threads; `hashing` and `method` are the hub's.
"""
