"""Runs stage `local` on an embedded AWS emulator: what `make demo` and the end-to-end tests share."""
