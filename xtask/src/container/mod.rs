//! Running images: the tests of each in itself, checks of the sources in an image, and checks of images together.
//!
//! What is tested is what the image ships, never the sources.

pub mod case;
pub mod check;
pub mod checks;
pub mod compose;
mod http;
pub mod images;
pub mod junit;
mod log;
mod mounts;
mod probe;
pub mod run;
mod services;
mod stack;
mod tree;
mod within;
