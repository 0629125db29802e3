//! How things are shown: columns, sizes, times.

pub(crate) mod list;
pub(crate) mod size;
pub(crate) mod table;
pub(crate) mod time;
