//! Conditions: `runtime=cuda,python<3.9`, the one language of `when`, `exclude`, `include`, `only` and `--only`.

use std::collections::BTreeMap;

/// One entry: comparisons that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub text: String,
}

/// What a condition is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub image: &'a str,
    pub id: &'a str,
    /// Axis → value.
    pub point: &'a [(String, String)],
    /// Axis → all its values in order, for `first` and `last`.
    pub axes: &'a BTreeMap<String, Vec<String>>,
}
