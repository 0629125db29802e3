//! The container specification.
