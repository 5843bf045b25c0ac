"""Whether a server keeps the lease that it was given: ours does, another image's server knows nothing of it."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from jupyterhub.utils import url_path_join
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from coursewarehub.wire import paths

_TRIES: Final = 5
_PAUSE: Final = 2.0
_PHASES: Final = frozenset({"held", "paused"})


async def keeps_lease(server_url: str, token: str) -> bool:
    """Ask the server at this URL, with its own token, whether it stops writing when its lease is over.

    False as well when it does not tell, so that nobody relies on it.
    """
    for _ in range(_TRIES):
        try:
            answer = await AsyncHTTPClient().fetch(
                url_path_join(server_url, paths.LEASE),
                headers={"Authorization": f"token {token}"},
                follow_redirects=False,
                request_timeout=10,
            )
            return json.loads(answer.body)["phase"] in _PHASES
        except HTTPClientError as error:
            if error.code == 404:
                return False
        except (OSError, TimeoutError, ValueError, KeyError, TypeError):
            pass
        await asyncio.sleep(_PAUSE)
    return False
