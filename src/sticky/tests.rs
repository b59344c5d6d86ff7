//! What becomes of a pin, for everything that a request and its session can be.
