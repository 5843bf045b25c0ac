"""One course's JupyterHub.

Runs in: hub. `assembly` turns (site, course) into JupyterHub configuration, `main` runs it.
"""
