//! What a running bake tells: its JSON lines read, folded into a state a target, and shown.

pub mod display;
pub mod rawjson;
pub mod state;
