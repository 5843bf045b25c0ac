"""Authenticators of CoursewareHub: one provider a file, one access decision for all of them.

Runs in: hub. Registered under `jupyterhub.authenticators`, so that any JupyterHub can use them alone.
"""
