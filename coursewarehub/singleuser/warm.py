"""What a learner's server imports at its start, imported once in the parent of all servers.

Import-only: nothing here may start a thread, open a file for good or hold a secret.
"""

from __future__ import annotations

from coursewarehub.prefork.kinds import import_available

import_available(
    (
        "jupyter_server.serverapp",
        "jupyterhub.singleuser.extension",
        "jupyterlab.labapp",
        "jupyterlab_server.handlers",
        "notebook.app",
        "notebook_shim.nbserver",
        "jupyter_lsp.serverextension",
        "jupyter_server_terminals.app",
        "nbconvert.exporters",
        "ipykernel.kernelspec",
    )
)
