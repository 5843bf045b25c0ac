"""Container images: build contexts, building, verifying, pushing, pulling to all nodes in advance.

Runs in: CLI. What goes into an image is data (`recipes`, `wheel`, `context`); Docker is asked through its own command
(`client`), so that logins to registries, contexts and proxies are those of the person who asks.
"""
