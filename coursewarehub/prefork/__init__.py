"""A parent process that has imported a program once and forks ready-made processes of it.

Runs in: a process of its own (`python -m coursewarehub.prefork`); `client` runs in site and hub.

A parent holds no secret (it starts with a clean environment, and what a child gets arrives with its request),
is single-threaded, and a child drops every descriptor that is not its own, reseeds its randomness and gets
its own session, environment, limits and log file before any program code runs.
"""
