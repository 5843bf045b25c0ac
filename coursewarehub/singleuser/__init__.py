"""The learner's server: JupyterLab and Notebook 7 behind JupyterHub's login, with the course's material.

Runs in: learner's server. Imports `coursewarehub.wire` and nothing else of ours, so that an image needs neither
hub nor services.
"""
