"""Readers of an LMDB data file that trust nothing in it.

`pages` reads it page by page, without liblmdb. `page_walk` reads it with liblmdb, as a process of
its own. `forked_reader` runs any work in a child that may crash.
"""
