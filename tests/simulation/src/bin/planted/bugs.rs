//! The planted bugs.

/// A bug: a name, and what to change in which file.
pub struct Bug {
    /// For people.
    pub name: &'static str,
    /// (file, text that stands there exactly once, text to put in its place).
    pub changes: &'static [(&'static str, &'static str, &'static str)],
}

/// All of them.
pub const BUGS: &[Bug] = &[];
