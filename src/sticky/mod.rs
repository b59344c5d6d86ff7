//! WHICH ENDPOINT THIS SESSION HAD: our own cookie, bound to a session or not, or a binding kept in the store.
