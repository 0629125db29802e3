//! The Launcher seam.
