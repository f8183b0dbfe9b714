//! Tests inside images: what is tested is what the image ships, never the sources. Checks: the sources in an image, and
//! images together.

pub mod case;
pub mod check;
pub mod checks;
mod compose;
mod http;
pub mod images;
pub mod junit;
mod log;
mod probe;
pub mod run;
mod stack;
mod within;
