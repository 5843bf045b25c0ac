"""CoursewareHub measured against stock JupyterHub, side by side in one run.

Runs in: command line, outside of every process of the product. The product is driven only through
its command line and its HTTP pages; nothing here imports ``coursewarehub``.
"""
