"""Documents to ask about: read here, cut into passages, found by words and by meaning.

>>> from oblix.documents import Library
>>> library = Library.open("notes")
>>> library.add("notes/")
>>> for passage in library.search("how warm does the heat pump run?"):
...     print(passage.place, passage.text)

The index is derived data: a SQLite file a library, beside the daemon's own, which `update` makes anew from
the documents. The documents stay where they are.
"""

from oblix.documents.connectors import Connector, Document, register_connector
from oblix.documents.index import Passage
from oblix.documents.library import Embedder, Library, Report, libraries

__all__ = [
    "Connector",
    "Document",
    "Embedder",
    "Library",
    "Passage",
    "Report",
    "libraries",
    "register_connector",
]
