//! Problems in what people wrote, each with its place.

use std::path::{Path, PathBuf};

/// A problem in a file or an expression: where, what was found, what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place(.file.as_ref(), *.line, *.column))]
pub struct Error {
    pub file: Option<PathBuf>,
    /// 1-based; 0 when there is no line (command line, environment).
    pub line: u32,
    /// 1-based; 0 when unknown.
    pub column: u32,
    /// Lower case, without the place.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

fn place(file: Option<&PathBuf>, line: u32, column: u32) -> String {
    match (file, line, column) {
        (None, ..) => String::new(),
        (Some(f), 0, _) => format!("{}: ", f.display()),
        (Some(f), l, 0) => format!("{} line {l}: ", f.display()),
        (Some(f), l, c) => format!("{} line {l}:{c}: ", f.display()),
    }
}

impl Error {
    /// A problem without a place in a file.
    pub fn plain(message: impl Into<String>) -> Error {
        Error { file: None, line: 0, column: 0, message: message.into(), hint: None }
    }

    /// The same problem, placed in a file; a place that is already known stays.
    #[must_use]
    pub fn at(mut self, file: &Path, line: u32, column: u32) -> Error {
        if self.file.is_none() {
            (self.file, self.line, self.column) = (Some(file.to_owned()), line, column);
        }
        self
    }

    /// The same problem with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }
}
