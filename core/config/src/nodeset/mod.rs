//! Node sets: expressions like `n[1-3],@db!n2` to names, and names back to the shortest expression.
//!
//! The grammar is ClusterShell's (`nodeset(1)`): `,` union, `!` difference, `&` intersection, `^`
//! symmetric difference, all applied from left to right; ranges with padding and steps in any
//! number of brackets; `@group`, `@source:group`, `@*`; `*` and `?` match known nodes. From pdsh
//! come `^file` (`^"any, file"`) at the start of an element and brackets next to each other. Names
//! are opaque here: what `user@host:port` means is the business of [`crate::Destination`].

use crate::error::Error;

mod expand;
mod fold;
mod pattern;
mod set;

pub(crate) use expand::matches_glob;
pub use expand::{check, expand};
pub use fold::fold;
pub use set::NodeSet;

/// The greatest node set: an expression that means more is refused before it is expanded.
pub const MAX_NODES: usize = 1_000_000;

/// Who knows what `@name` and `^file` stand for.
pub trait Groups {
    /// The nodes of a group, of `source` or of the default one; `None`: no such group. The name `*`
    /// (also the empty name) is every node of the source.
    ///
    /// # Errors
    /// The group is known but cannot be read.
    fn group(&self, source: Option<&str>, name: &str) -> Result<Option<Vec<String>>, Error>;

    /// Names of groups, to hint at the nearest one.
    fn known(&self) -> Vec<String> {
        Vec::new()
    }

    /// The nodes of a host file.
    ///
    /// # Errors
    /// The file cannot be read or holds a bad expression.
    fn file(&self, path: &str) -> Result<Vec<String>, Error>;
}

/// Knows no groups and no files.
#[derive(Debug, Clone, Copy)]
pub struct NoGroups;

impl Groups for NoGroups {
    fn group(&self, _: Option<&str>, _: &str) -> Result<Option<Vec<String>>, Error> {
        Ok(None)
    }

    fn file(&self, path: &str) -> Result<Vec<String>, Error> {
        Err(Error::plain(format!("host file \"{path}\" is not allowed here")))
    }
}
