//! `kind = "csv"`: the keys of a file source.

use std::path::Path;

use windlass_shared::settings::{Problem, Shape, Spec};

use super::Turbine;
use super::raw::RawSource;
use crate::source::CsvFile;

pub(super) fn spec() -> Spec {
    Spec::new().required("name", Shape::Text)
}

pub(super) fn build(
    _raw: RawSource,
    _at: &str,
    _dir: &Path,
    _turbines: &[Option<Turbine>],
    _problems: &mut Vec<Problem>,
) -> Option<CsvFile> {
    None
}
