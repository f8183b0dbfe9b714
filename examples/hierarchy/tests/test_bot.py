from datetime import datetime

import pytest

from bot import UNSURE, answer

NOON = datetime(2025, 6, 1, 12, 0)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Where is my parcel?", "It left our store yesterday."),
        ("where are my parcels", "It left our store yesterday."),
        ("how do I return items", "Put it into its box; we fetch it."),
        ("When are you opening?", "At nine. It is now 12:00 with us."),
        ("Do you like cheese?", UNSURE),
        ("", UNSURE),
    ],
)
def test_answers(question: str, expected: str) -> None:
    assert answer(question, NOON) == expected
