"""A client that watches all sessions, across every restart of the daemon, and keeps a copy of the list."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import grpc
from oblix.v1 import sessions_pb2, sessions_pb2_grpc
from support.drivers.daemon import SOON

APART = ("grpc.use_local_subchannel_pool", 1)


class Watcher:
    """Reads changes in a thread. What should not have been told is in `wrong`."""

    def __init__(self, home: Path) -> None:
        self.headers: dict[str, str] = {}
        """Session id to etag, as far as it was told."""
        self.revision: int | None = None
        self.wrong: list[str] = []
        self.changes = self.streams = 0
        self._channel = grpc.insecure_channel(f"unix:{home}/oblixd.sock", options=[*SOON, APART])
        self._stub = sessions_pb2_grpc.SessionServiceStub(self._channel)
        self._call: grpc.Call | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and the connection."""
        self._stopped.set()
        if self._call is not None:
            self._call.cancel()
        self._thread.join()
        self._channel.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._watch()
            except grpc.RpcError:
                time.sleep(0.02)  # nothing announces that the daemon is back

    def _watch(self) -> None:
        self._call = call = self._stub.WatchSessions(
            sessions_pb2.WatchSessionsRequest(from_revision=self.revision)
        )
        last = self.revision if self.revision is not None else 0
        is_listing, told = self.revision is None, set[str]()
        self.streams += 1
        for event in call:
            kind = event.WhichOneof("event")
            if kind == "resync_required":
                self.headers, self.revision = {}, None
                return
            if kind == "synced":
                is_listing, last = False, max(last, event.synced.revision)
                self.revision = last
                continue
            one = event.session if kind == "session" else event.removed
            session = one.session.id if kind == "session" else one.session_id
            if not is_listing and one.revision <= last:
                self.wrong.append(f"revision {one.revision} of {session} came after {last}")
            if is_listing and session in told:
                self.wrong.append(f"{session} was listed twice")
            told.add(session)
            self._take(session, one.session.etag if kind == "session" else "")
            if not is_listing:
                last = self.revision = one.revision
                self.changes += 1

    def _take(self, session: str, etag: str) -> None:
        if etag:
            self.headers[session] = etag
        else:
            self.headers.pop(session, None)
