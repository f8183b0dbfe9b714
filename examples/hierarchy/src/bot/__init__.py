"""A bot that answers a customer's question with the nearest one it knows."""

import re
from collections.abc import Iterable
from datetime import datetime

import numpy
import snowballstemmer

KNOWN = {
    "Where is my parcel?": "It left our store yesterday.",
    "How can I return an item?": "Put it into its box; we fetch it.",
    "When do you open?": "At nine. It is now {time:%H:%M} with us.",
}
UNSURE = "I pass you on to a person."

stemmer = snowballstemmer.stemmer("english")


def stems(text: str) -> set[str]:
    """The words of a text without their endings, in lower case."""
    return set(stemmer.stemWords(re.findall(r"\w+", text.lower())))


def vector(words: Iterable[str], vocabulary: list[str]) -> numpy.ndarray:
    """One element for each word of the vocabulary, the whole of length 1, or all zero."""
    present = set(words)
    found = numpy.array([float(word in present) for word in vocabulary])
    length = float(numpy.linalg.norm(found))
    return found / length if length else found


def answer(question: str, now: datetime) -> str:
    """The answer to the known question whose words are the most alike, or UNSURE where none is alike enough (cosine 0.6)."""
    known = [stems(text) for text in KNOWN]
    vocabulary = sorted(set().union(*known, stems(question)))
    alike = numpy.array([vector(words, vocabulary) for words in known]) @ vector(stems(question), vocabulary)
    best = int(alike.argmax())
    return list(KNOWN.values())[best].format(time=now) if alike[best] >= 0.6 else UNSURE
