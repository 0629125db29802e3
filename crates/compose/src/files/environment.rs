//! The variables that files are interpolated with.

use super::interpolate::QUIET;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Variables by name: those of the process, and behind them those of `.env`.
#[derive(Debug, Default, Clone)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Those that were asked for and had no value.
    missing: RefCell<BTreeSet<String>>,
    /// Those that were asked for.
    used: RefCell<BTreeSet<String>>,
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        variables.collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Sets a variable unless it has a value.
    pub fn or_set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.entry(name.to_owned()).or_insert_with(|| value.into());
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// The value that a file asks for; remembers where there is none.
    pub fn asked(&self, name: &str) -> Option<String> {
        let bare = name.trim_start_matches(QUIET);
        self.used.borrow_mut().insert(bare.to_owned());
        let found = self.variables.get(bare).cloned();
        if found.is_none() && !name.starts_with(QUIET) {
            self.missing.borrow_mut().insert(bare.to_owned());
        }
        found
    }

    /// Names that files asked for in vain.
    pub fn missing(&self) -> Vec<String> {
        self.missing.borrow().iter().cloned().collect()
    }

    /// Names that files asked for.
    pub fn used(&self) -> Vec<String> {
        self.used.borrow().iter().cloned().collect()
    }

    /// Counts what was asked of a copy as asked of this.
    pub fn also_asked(&self, other: &Self) {
        self.missing.borrow_mut().extend(other.missing());
        self.used.borrow_mut().extend(other.used());
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self { variables: pairs.into_iter().collect(), ..Self::default() }
    }
}
