"""Searching conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from oblix._convert import records
from oblix._convert.records import role_name
from oblix._convert.validation import describe, invalid, text
from oblix._convert.values import to_struct
from oblix._resources.core import Core
from oblix.v1 import sessions_pb2

LARGEST_PAGE = 200


class SearchCalls(Core):
    """Finding what was said."""

    def search_messages(
        self,
        query: str,
        limit: int = 20,
        filter_metadata: Mapping[str, Any] | None = None,
        session_id: str | None = None,
    ) -> list[dict[str, Any]]:
        """Find messages and session titles by their words, best first: at most `limit`.

        `query`: words that must all be there, `"a phrase"`, `begin*`; 1 to 1,000
        characters. `filter_metadata` as in `list_sessions`; `session_id`: only
        there. Sessions that are put away are not searched. What was acknowledged
        before is found, but for a moment after very much was written at once.

        Each dict has `session_id`, `title`, `message_id`, `sequence` and `role`
        (of a title None, 0 and None), `timestamp`, `snippet` with the `spans` in it
        that the words take (`[start, length]` in characters), and `score`. Raises
        InvalidArgumentError, NotFoundError, and DeadlineExceededError
        SEARCH_TOO_SLOW.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise invalid("limit", "a whole number of 0 or more", describe(limit))
        request = sessions_pb2.SearchMessagesRequest(
            query=text(query, "query"),
            filter=to_struct(filter_metadata, "filter_metadata") if filter_metadata else None,
            session_id=text(session_id or "", "session_id"),
        )
        return [_hit_dict(hit) for hit in self._hits(limit, request)]

    def _hits(
        self, limit: int, request: sessions_pb2.SearchMessagesRequest
    ) -> Iterator[sessions_pb2.SearchHit]:
        while limit > 0:
            request.page_size = min(limit, LARGEST_PAGE)
            page = self._transport.call(lambda link: link.sessions.SearchMessages, request, repeatable=True)
            yield from page.hits
            limit -= len(page.hits)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return


def _hit_dict(hit: sessions_pb2.SearchHit) -> dict[str, Any]:
    return {
        "session_id": hit.session_id,
        "title": hit.title,
        "message_id": hit.message_id or None,
        "sequence": hit.sequence,
        "role": role_name(hit.role) or None,
        "timestamp": records.to_text(hit.create_time),
        "snippet": hit.snippet,
        "spans": [[span.start, span.length] for span in hit.spans],
        "score": hit.score,
    }
