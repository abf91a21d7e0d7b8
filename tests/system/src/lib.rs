//! Tests over real processes live in `tests/`; what they share is in `windlass-fleet`.
