//! What one client may do next. Pure.
