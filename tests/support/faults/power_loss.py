"""Power losses: what a program writes to one file is recorded, and played up to any moment.

A library is loaded into the program (LD_PRELOAD) that writes every write, truncation and sync of
the watched file into a journal, in their order. What the program prints by `acknowledge` stands there,
too. After a loss of power the file has everything up to its last sync, and any part of what came
after it: each sector of 512 bytes is there or not. Needs a C compiler.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parents[2]
SECTOR = 512
_HEAD = struct.Struct("<cQQ")
WRITE, TRUNCATE, SYNC, DURABLE, SAID = b"w", b"t", b"s", b"d", b"a"


class Event(NamedTuple):
    """One thing that happened to the file, or that was acknowledged."""

    kind: bytes
    offset: int
    data: bytes


def library(directory: Path) -> Path:
    """The library, compiled. Skips the test where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a recorded power loss needs a C compiler")
    source, built = directory / "record.c", directory / "record.so"
    source.write_text(_SOURCE)
    words = [compiler, "-O1", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl", "-lpthread"]
    subprocess.run(words, check=True)
    return built


def record(built: Path, journal: Path, names: Sequence[str], words: Sequence[str]) -> None:
    """Run Python with the library: it watches the file that has one of these names, at any time."""
    watched = {"RECORD_JOURNAL": str(journal), "RECORD_NAMES": ":".join(names)}
    environ = {**os.environ, "LD_PRELOAD": str(built), **watched}
    subprocess.run([sys.executable, *words], cwd=TESTS, env=environ, check=True)


def events(journal: Path) -> list[Event]:
    """What was recorded, in order."""
    return list(_parse(journal.read_bytes()))


def _parse(content: bytes) -> Iterator[Event]:
    at = 0
    while at < len(content):
        kind, offset, size = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        has_data = kind in (WRITE, DURABLE, SAID)
        yield Event(kind, offset, content[at : at + size] if has_data else b"")
        at += size if has_data else 0


def after_loss(recorded_events: list[Event], moment: int, chosen: random.Random) -> bytes:
    """The file as it is after the power went before event number `moment`."""
    past = recorded_events[:moment]
    synced = max((at for at, event in enumerate(past) if event.kind == SYNC), default=-1)
    file = bytearray()
    for at, event in enumerate(past):
        if event.kind == TRUNCATE:
            del file[event.offset :]
            file.extend(bytes(event.offset - len(file)))
        elif event.kind == DURABLE or (event.kind == WRITE and at < synced):
            _put(file, event.offset, event.data)
        elif event.kind == WRITE:
            _put_some(file, event, chosen)
    return bytes(file)


def acknowledged_lines(recorded_events: list[Event], moment: int) -> list[str]:
    """What the program had said before a moment."""
    return [event.data.decode() for event in recorded_events[:moment] if event.kind == SAID]


def _put_some(file: bytearray, event: Event, chosen: random.Random) -> None:
    for start in range(0, len(event.data), SECTOR):
        if chosen.random() < 0.5:
            _put(file, event.offset + start, event.data[start : start + SECTOR])


def _put(file: bytearray, offset: int, data: bytes) -> None:
    file.extend(bytes(max(offset + len(data) - len(file), 0)))
    file[offset : offset + len(data)] = data


_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;

static ssize_t (*real_write)(int, const void *, size_t);

static void note(char kind, uint64_t offset, const struct iovec *parts, int count) {
    uint64_t size = 0;
    for (int i = 0; i < count; i++) size += parts[i].iov_len;
    char head[17];
    head[0] = kind;
    memcpy(head + 1, &offset, 8);
    memcpy(head + 9, &size, 8);
    if (journal < 0) {
        int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
        real_write = dlsym(RTLD_NEXT, "write");
        journal = real_open(getenv("RECORD_JOURNAL"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    }
    real_write(journal, head, sizeof head);
    for (int i = 0; i < count; i++) real_write(journal, parts[i].iov_base, parts[i].iov_len);
}

static int is_watched(int descriptor) {
    char link[64], path[4096];
    const char *name = getenv("RECORD_NAMES");
    if (!name) return 0;
    int n = 0, d = descriptor, digits = 1;
    for (int v = d; v >= 10; v /= 10) digits++;
    memcpy(link, "/proc/self/fd/", 14);
    n = 14;
    for (int i = digits - 1; i >= 0; i--) { link[n + i] = '0' + d % 10; d /= 10; }
    link[n + digits] = 0;
    ssize_t length = readlink(link, path, sizeof path - 1);
    while (*name) {
        size_t wanted = strcspn(name, ":");
        if (length > (ssize_t)wanted && path[length - wanted - 1] == '/' &&
            !memcmp(path + length - wanted, name, wanted)) return 1;
        name += wanted + (name[wanted] == ':');
    }
    return 0;
}

static int is_durable(int descriptor) { return (fcntl(descriptor, F_GETFL) & O_DSYNC) != 0; }

/* The lock spans the call and its note, so that the journal has the order in which things took effect. */
#define NOTED(call, kind, offset, parts, count)                                     \
    do {                                                                            \
        pthread_mutex_lock(&lock);                                                  \
        ssize_t done = call;                                                        \
        if (done >= 0) note(kind, offset, parts, count);                            \
        pthread_mutex_unlock(&lock);                                                \
        return done;                                                                \
    } while (0)

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    if (!is_watched(descriptor)) return real(descriptor, data, size, offset);
    struct iovec part = {(void *)data, size};
    NOTED(real(descriptor, data, size, offset), is_durable(descriptor) ? 'd' : 'w', offset, &part, 1);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    return pwrite64(descriptor, data, size, offset);
}

ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t offset) {
    ssize_t (*real)(int, const struct iovec *, int, off_t) = dlsym(RTLD_NEXT, "pwritev");
    if (!is_watched(descriptor)) return real(descriptor, parts, count, offset);
    NOTED(real(descriptor, parts, count, offset), is_durable(descriptor) ? 'd' : 'w', offset, parts, count);
}

ssize_t pwritev64(int descriptor, const struct iovec *parts, int count, off64_t offset) {
    return pwritev(descriptor, parts, count, offset);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    if (!is_watched(descriptor)) return real(descriptor, parts, count);
    off_t offset = lseek(descriptor, 0, SEEK_CUR);
    NOTED(real(descriptor, parts, count), is_durable(descriptor) ? 'd' : 'w', offset, parts, count);
}

ssize_t write(int descriptor, const void *data, size_t size) {
    if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
    if (!is_watched(descriptor)) return real_write(descriptor, data, size);
    struct iovec part = {(void *)data, size};
    off_t offset = lseek(descriptor, 0, SEEK_CUR);
    NOTED(real_write(descriptor, data, size), is_durable(descriptor) ? 'd' : 'w', offset, &part, 1);
}

int ftruncate64(int descriptor, off64_t size) {
    int (*real)(int, off64_t) = dlsym(RTLD_NEXT, "ftruncate64");
    if (!is_watched(descriptor)) return real(descriptor, size);
    NOTED(real(descriptor, size), 't', size, 0, 0);
}

int ftruncate(int descriptor, off_t size) { return ftruncate64(descriptor, size); }

int fdatasync(int descriptor) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    if (!is_watched(descriptor)) return real(descriptor);
    NOTED(real(descriptor), 's', 0, 0, 0);
}

int fsync(int descriptor) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    if (!is_watched(descriptor)) return real(descriptor);
    NOTED(real(descriptor), 's', 0, 0, 0);
}

void acknowledge(const char *text, uint64_t size) {
    struct iovec part = {(void *)text, size};
    pthread_mutex_lock(&lock);
    note('a', 0, &part, 1);
    pthread_mutex_unlock(&lock);
}
"""
