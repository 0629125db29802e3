//! A directory over a stream, as `tonistiigi/fsutil` sends it.
//!
//! ```text
//! sender    STAT STAT … STAT(none)      DATA 0 … DATA 0(empty)   …        FIN
//! receiver             REQ 0  REQ 3  …                           … FIN
//! ```

mod mode;
mod receive;
mod send;

pub use mode::{FileKind, go_mode, parse_mode};
pub use receive::{Piece, receive};
pub use send::{Tree, listen, send_tree};
