//! Configuration checks for both binaries: every mistake at once, each with its key, what was found and what was expected.
