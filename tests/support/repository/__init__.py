"""The files of this repository, for the tests that read them."""
