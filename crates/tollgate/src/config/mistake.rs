//! What is wrong with a configuration, where, and the mend.
//!
//! Mistakes are collected rather than returned one by one, so that a file is mended in one go. A message never holds
//! an expanded variable or the value of a secret.

use std::fmt;

use super::tree::Place;

/// Mistakes shown at most; a file with more has one cause.
const SHOWN_MAX: usize = 20;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub at: Place,
    /// The key, as `upstreams[0].name`; empty where the whole file is meant.
    pub path: String,
    /// What is wrong and the mend.
    pub message: String,
}

/// Everything that is wrong; at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// The file's name, as given on the command line.
    pub file: Option<String>,
    /// In the order of the file.
    pub all: Vec<Mistake>,
}

impl Mistake {
    /// A mistake at a place, about no key in particular.
    pub fn at(at: Place, message: impl Into<String>) -> Self {
        Self {
            at,
            path: String::new(),
            message: message.into(),
        }
    }

    /// A mistake about a key.
    pub fn of(at: Place, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            at,
            path: path.into(),
            message: message.into(),
        }
    }

    fn show(&self, file: Option<&str>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.at, file) {
            (Place::File { line, column }, Some(file)) => write!(f, "{file}:{line}:{column}: ")?,
            (Place::File { line, column }, None) => write!(f, "{line}:{column}: ")?,
            (Place::Named(name), _) => write!(f, "{name}: ")?,
            (Place::Nowhere, Some(file)) => write!(f, "{file}: ")?,
            (Place::Nowhere, None) => {}
        }
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl Mistakes {
    /// Says which file the places are in.
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Takes one more.
    pub fn push(&mut self, mistake: Mistake) {
        self.all.push(mistake);
    }

    /// `value`, if nothing is wrong.
    pub fn or<T>(mut self, value: T) -> Result<T, Self> {
        if self.all.is_empty() {
            return Ok(value);
        }
        self.all.sort_by_key(|mistake| match mistake.at {
            Place::File { line, column } => (line, column),
            _ => (0, 0),
        });
        self.all.dedup();
        Err(self)
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self {
            file: None,
            all: vec![mistake],
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.all.iter().take(SHOWN_MAX).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            mistake.show(self.file.as_deref(), f)?;
        }
        if self.all.len() > SHOWN_MAX {
            write!(f, "\nand {} more", self.all.len() - SHOWN_MAX)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
