"""What a site is on a Docker Swarm: its services and secrets as values, what differs from what runs, applying it.

Runs in: CLI. `stack`, `difference` and `nodes` are pure; `apply` talks to the engine.
"""
