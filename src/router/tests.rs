//! The router against a naive linear reference.
