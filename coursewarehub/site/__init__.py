"""The site process: supervises edge and hubs, watches the course files, shows the portal.

Runs in: site.
"""
