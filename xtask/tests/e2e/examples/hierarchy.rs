//! examples/hierarchy.
