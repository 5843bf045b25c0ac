"""What a site keeps on disk: folders, secrets, ports, and which processes are its own.

Runs in: site, hub, CLI, prefork parents (`processes` only).
"""
