//! Tests inside images: what is tested is what the image ships, never the sources.

pub mod case;
mod http;
pub mod junit;
mod probe;
pub mod run;
