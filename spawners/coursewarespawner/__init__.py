"""Spawners of CoursewareHub.

Runs in: hub. Registered under `jupyterhub.spawners`, so that any JupyterHub can use them alone.
"""
