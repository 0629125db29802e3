//! Standard input, read on a thread: it may be a file, a pipe or a terminal, and only a read tells when
//! something is there.

use std::io::Read;
use tokio::sync::mpsc;

/// Bytes read at a time.
const CHUNK: usize = 32 * 1024;
/// Chunks that wait to be sent; then reading waits.
const PENDING: usize = 2;

/// Reads standard input until its end. The thread ends with the process.
pub(crate) fn read() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(PENDING);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        loop {
            match stdin.read(&mut buffer) {
                // The end, or an error such as a terminal that went away: no more input.
                Ok(0) => return,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
                Ok(len) => {
                    if sender.blocking_send(buffer[..len].to_vec()).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}
