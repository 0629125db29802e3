//! Reading a blob while it is being fetched.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How far a transfer has come; shared by its writer and its reader.
#[derive(Clone, Default)]
pub(super) struct Follow(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    source: Option<File>,
    written: u64,
    end: Option<Result<(), String>>,
    /// Attempts: the content of one that was thrown away is not that of the next.
    restarted: bool,
}

impl Follow {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where the bytes are, and how many.
    pub(super) fn begin(&self, source: File, written: u64) {
        let mut state = self.state();
        if state.source.is_some() {
            state.restarted = true;
        }
        state.source.get_or_insert(source);
        state.written = written;
        self.0.1.notify_all();
    }

    /// Says that more bytes are there.
    pub(super) fn advance(&self, written: u64) {
        self.state().written = written;
        self.0.1.notify_all();
    }

    /// Says that all are there and verified, or why not. Only the first word counts.
    pub(super) fn end(&self, result: Result<(), String>) {
        self.state().end.get_or_insert(result);
        self.0.1.notify_all();
    }

    /// Whether the transfer was begun again: what was read of it before is not what is there.
    pub(super) fn was_restarted(&self) -> bool {
        self.state().restarted
    }

    /// A reader from the beginning, which waits for what is not there yet. Its end is that of the verified
    /// whole. Blocks until the transfer has begun.
    pub(super) fn reader(&self) -> io::Result<FollowReader> {
        let mut state = self.state();
        loop {
            if let Some(source) = state.source.take() {
                state.source = Some(source.try_clone()?);
                return Ok(FollowReader { follow: self.clone(), source, read: 0 });
            }
            if let Some(Err(why)) = &state.end {
                return Err(io::Error::other(why.clone()));
            }
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

pub(super) struct FollowReader {
    follow: Follow,
    source: File,
    read: u64,
}

impl Read for FollowReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = {
            let mut state = self.follow.state();
            loop {
                if state.restarted {
                    return Err(io::Error::other("the transfer was begun again"));
                }
                match &state.end {
                    Some(Err(why)) => return Err(io::Error::other(why.clone())),
                    Some(Ok(())) if state.written == self.read => return Ok(0),
                    _ => {}
                }
                if state.written > self.read {
                    break state.written - self.read;
                }
                state = self.follow.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let part = usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.source.read(&mut buffer[..part])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read += n as u64;
        Ok(n)
    }
}

/// Ends a transfer as failed when its task is dropped before it said how it went.
pub(super) struct EndGuard(pub(super) Follow);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.end(Err("the transfer was given up".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_reader_waits_for_the_writer() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let follow = Follow::default();
        let following = follow.clone();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            following.reader()?.read_to_end(&mut all).map(|_| all)
        });
        follow.begin(file.reopen().unwrap(), 0);
        for n in 1..=3 {
            file.write_all(b"ab").unwrap();
            follow.advance(n * 2);
        }
        follow.end(Ok(()));
        assert_eq!(reading.join().unwrap().unwrap(), b"ababab");
        let failed = Follow::default();
        drop(EndGuard(failed.clone()));
        assert!(failed.reader().is_err());
    }
}
