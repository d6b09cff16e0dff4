"""Errors of the disk and jumps of the clock inside one program, by a preloaded library.

The test writes into a small file that the library has mapped: while `write_error` or `sync_error` is not
zero, writes to (syncs of) the watched file fail with that errno; so do, with `meta_error`, those that are
synced one by one, as liblmdb writes its meta pages. `clock_offset_s` is added to the wall clock; the
monotonic clocks stay as they are. Needs a C compiler.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

_FIELDS = {"write_error": 0, "sync_error": 8, "clock_offset_s": 16, "failed": 24, "meta_error": 32}


class Controls:
    """What the library does now. Made before the program that it is loaded into."""

    def __init__(self, directory: Path, watched: str = "data.mdb") -> None:
        self._file = directory / "machine-faults"
        self._file.write_bytes(bytes(4096))
        self._library = library(directory)
        self._watched = watched
        with self._file.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 4096)

    @property
    def environ(self) -> dict[str, str]:
        """What the program is started with."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAULTS_FILE": str(self._file),
            "FAULTS_WATCHED": self._watched,
        }

    def set(self, **values: int) -> None:
        """Set some of write_error, sync_error, meta_error and clock_offset_s."""
        for name, value in values.items():
            struct.pack_into("<q", self._map, _FIELDS[name], value)

    @property
    def failed(self) -> int:
        """How many calls have failed by it so far."""
        return int(struct.unpack_from("<q", self._map, _FIELDS["failed"])[0])


def library(directory: Path) -> Path:
    """The library, compiled. Skips the test where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("errors of the disk need a C compiler")
    source, built = directory / "machine_faults.c", directory / "machine_faults.so"
    source.write_text(_SOURCE)
    words = [compiler, "-O1", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"]
    subprocess.run(words, check=True)
    return built


_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct controls { volatile int64_t write_error, sync_error, clock_offset_s, failed, meta_error; };
static struct controls none, *controls = &none;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_FILE");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *there = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (there != MAP_FAILED) controls = there;
    close(file);
}

static int is_watched(int descriptor) {
    char link[64], path[4096];
    const char *name = getenv("FAULTS_WATCHED");
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1), wanted = name ? strlen(name) : 0;
    return wanted && length > wanted && path[length - wanted - 1] == '/' &&
           !memcmp(path + length - wanted, name, wanted);
}

static int fails(int descriptor, volatile int64_t *error) {
    if (!*error || !is_watched(descriptor)) return 0;
    errno = (int)*error;
    __sync_fetch_and_add(&controls->failed, 1);
    return 1;
}

static volatile int64_t *error_of(int descriptor) {
    if (controls->write_error || !controls->meta_error) return &controls->write_error;
    return fcntl(descriptor, F_GETFL) & O_DSYNC ? &controls->meta_error : &controls->write_error;
}

#define REAL(name, ...) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__)
#define WRITES(kind, name, declared, ...)                                     \
    kind name declared {                                                      \
        if (fails(descriptor, error_of(descriptor))) return -1;               \
        return REAL(name, __VA_ARGS__);                                       \
    }

WRITES(ssize_t, pwrite, (int descriptor, const void *p, size_t n, off_t at), descriptor, p, n, at)
WRITES(ssize_t, pwrite64, (int descriptor, const void *p, size_t n, off64_t at), descriptor, p, n, at)
WRITES(ssize_t, pwritev, (int descriptor, const struct iovec *p, int n, off_t at), descriptor, p, n, at)
WRITES(ssize_t, pwritev64, (int descriptor, const struct iovec *p, int n, off64_t at), descriptor, p, n, at)
WRITES(ssize_t, writev, (int descriptor, const struct iovec *p, int n), descriptor, p, n)
WRITES(int, ftruncate, (int descriptor, off_t size), descriptor, size)
WRITES(int, ftruncate64, (int descriptor, off64_t size), descriptor, size)

int fsync(int descriptor) {
    if (fails(descriptor, &controls->sync_error)) return -1;
    return REAL(fsync, descriptor);
}

int fdatasync(int descriptor) {
    if (fails(descriptor, &controls->sync_error)) return -1;
    return REAL(fdatasync, descriptor);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(clock, now);
    if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += controls->clock_offset_s;
    return done;
}
"""
