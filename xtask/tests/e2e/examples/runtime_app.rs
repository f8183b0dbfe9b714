//! examples/runtime-app.
