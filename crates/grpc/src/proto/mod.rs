//! BuildKit's messages, field by field as its `.proto` files number them; fields that nobody here reads or writes are left out.

pub mod control;
pub mod files;
pub mod gateway;
pub mod ops;
pub mod session;
