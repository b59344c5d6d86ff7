//! What is remembered of sessions for a short time, kept right by pushes from the store.
