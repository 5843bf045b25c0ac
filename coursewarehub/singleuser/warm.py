"""What a learner's server imports at its start and in its first minutes, imported once in the parent of all servers.

Import-only: nothing here may start a thread, open a file for good or hold a secret.
"""

from __future__ import annotations

import pkgutil

import jupyter_server

from coursewarehub.prefork.kinds import import_available

import_available(
    (
        "jupyter_server.serverapp",
        "jupyter_server.nbconvert.handlers",
        "jupyterhub.singleuser.extension",
        "jupyterlab.labapp",
        "jupyterlab_server.handlers",
        "notebook.app",
        "notebook_shim.nbserver",
        "jupyter_lsp.serverextension",
        "jupyter_lsp.virtual_documents_shadow",
        "jupyter_server_terminals.app",
        "jupyter_server_terminals.handlers",
        "jupyter_client.manager",
        "jupyter_client.ioloop",
        "jupyter_client.provisioning.local_provisioner",
        "jupyter_core.migrate",
        "nbconvert.exporters",
        "ipykernel.kernelspec",
        "IPython",
        "jupyter_server.services.shutdown",
        "encodings.unicode_escape",
        "tornado.platform.asyncio",
        "tornado.simple_httpclient",
        "jinja2.ext",
    )
)
# The server imports the handlers of each of its parts by name.
import_available(
    module.name
    for module in pkgutil.walk_packages(jupyter_server.__path__, "jupyter_server.")
    if module.name.endswith(".handlers") and ".gateway" not in module.name
)
