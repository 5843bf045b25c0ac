"""CoursewareHub: a JupyterHub distribution for teaching.

Runs in: every process; this file imports nothing.
"""

__version__ = "0.1.0"
