//! IS THIS SESSION ALIVE: where its id is (cookie, header, bearer), its format, its store, and what is remembered of it.

pub mod cache;
pub mod store;
