"""What is asked on the site's own socket."""

from __future__ import annotations

import pytest

from coursewarehub.wire.control import NodeNotice

NOTICE = NodeNotice("n2", {"en": "Soon.", "fr": "Bientôt."}, 60)


def test_a_notice_reads_back() -> None:
    assert NodeNotice.decode(NOTICE.encode()) == NOTICE
    assert NOTICE.encode() == {"node": "n2", "text": {"en": "Soon.", "fr": "Bientôt."}, "seconds": 60}


@pytest.mark.parametrize(
    ("change", "telling"),
    [
        ({"node": ""}, "`node` is the name"),
        ({"node": 3}, "`node` is the name"),
        ({"text": {}}, "`text` is one text"),
        ({"text": "Soon."}, "`text` is one text"),
        ({"text": {"en": 3}}, "`text` is one text"),
        ({"seconds": -1}, "from 0 to 86400"),
        ({"seconds": True}, "from 0 to 86400"),
        ({"seconds": 86401}, "from 0 to 86400"),
        ({"more": 1}, "with `node`, `text` and `seconds`"),
    ],
)
def test_anything_else_is_refused(change: dict[str, object], telling: str) -> None:
    with pytest.raises(ValueError, match=telling):
        NodeNotice.decode(NOTICE.encode() | change)


@pytest.mark.parametrize("message", [None, [], "x", {}])
def test_other_messages_are_refused(message: object) -> None:
    with pytest.raises(ValueError, match="a notice to a node"):
        NodeNotice.decode(message)
