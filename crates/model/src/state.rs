//! The container state machine.
