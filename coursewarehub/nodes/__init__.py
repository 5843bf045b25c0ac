"""The agent of a node: keeps learners' containers apart with packet filters in their own network namespaces.

Runs in: node agent. `rules` and `tables` are pure; the rest does.
"""
