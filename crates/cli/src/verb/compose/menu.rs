//! The keys of `up` in the foreground, and the line at the foot of the terminal that tells them.

use crate::context::note;
use crate::failure::Failure;
use crate::stream::terminal::{self, RawMode};
use std::io::{self, Read, Write};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// To leave the containers running.
    Detach,
    /// To begin or to end watching.
    Watch,
}

/// The menu, until it is dropped. Output scrolls above its line.
#[derive(Debug)]
pub(super) struct Menu {
    keys: mpsc::UnboundedReceiver<Key>,
    resized: Signal,
    watches: bool,
    _mode: RawMode,
}

impl Menu {
    /// Takes keys from now on.
    pub(super) fn show(watches: bool) -> Result<Self, Failure> {
        let resized = signal(SignalKind::window_change())
            .map_err(|e| Failure::new(format!("listen to the terminal's size: {e}")))?;
        let (sender, keys) = mpsc::unbounded_channel();
        let mode = RawMode::keys()?;
        // It waits for a key when the command ends, and ends with it.
        std::thread::Builder::new()
            .name("keys".into())
            .spawn(move || read(&mut io::stdin().lock(), &sender))
            .map_err(|e| Failure::new(format!("start a thread for keys: {e}")))?;
        let menu = Self { keys, resized, watches, _mode: mode };
        // The cursor may stand on the line at the foot.
        draw("\n\x1b[1A");
        menu.draw();
        Ok(menu)
    }

    /// The next key with a meaning.
    pub(super) async fn key(&mut self) -> Key {
        loop {
            tokio::select! {
                key = self.keys.recv() => match key {
                    Some(key) => return key,
                    // Nobody is at the keys any more.
                    None => std::future::pending().await,
                },
                _ = self.resized.recv() => self.draw(),
            }
        }
    }

    /// Tells whether files are watched.
    pub(super) fn watches(&mut self, watches: bool) {
        self.watches = watches;
        self.draw();
    }

    fn draw(&self) {
        if let Some([rows, columns]) = terminal::size() {
            draw(&foot(self.watches, rows, columns));
        }
    }
}

/// The next key of a menu that is shown; without one there is none.
pub(super) async fn key(menu: Option<&mut Menu>) -> Key {
    match menu {
        Some(menu) => menu.key().await,
        None => std::future::pending().await,
    }
}

impl Drop for Menu {
    fn drop(&mut self) {
        if let Some([rows, _]) = terminal::size() {
            // All lines scroll again, and the foot is empty.
            draw(&format!("\x1b7\x1b[r\x1b[{rows};1H\x1b[2K\x1b8"));
        }
    }
}

/// What makes all lines but the last scroll, and writes that one.
fn foot(watches: bool, rows: u32, columns: u32) -> String {
    let watch = if watches { "Disable Watch" } else { "Enable Watch" };
    let text: String = format!("   w {watch}   d Detach").chars().take(columns as usize).collect();
    // Where the cursor stands is lost when the region is set.
    let last = rows.saturating_sub(1).max(1);
    format!("\x1b7\x1b[1;{last}r\x1b[{rows};1H\x1b[2K\x1b[2m{text}\x1b[0m\x1b8")
}

fn draw(text: &str) {
    let mut out = io::stdout().lock();
    // Where the terminal is gone there is nobody to show it to.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn read(stdin: &mut impl Read, keys: &mpsc::UnboundedSender<Key>) {
    let mut byte = [0];
    // An end of the input, or an error, is the end of the keys.
    while matches!(stdin.read(&mut byte), Ok(1)) {
        let key = match byte[0] {
            b'd' | b'D' => Key::Detach,
            b'w' | b'W' => Key::Watch,
            _ => continue,
        };
        if keys.send(key).is_err() {
            return;
        }
    }
}

/// Says that there is nothing to watch.
pub(super) fn nothing_to_watch() {
    note("Watch is not yet configured: no service has a 'develop' section with 'watch'");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_meanings() {
        let (sender, mut keys) = mpsc::unbounded_channel();
        read(&mut &b"xw\x1b[Ad"[..], &sender);
        assert_eq!([keys.try_recv(), keys.try_recv()], [Ok(Key::Watch), Ok(Key::Detach)]);
        assert!(keys.try_recv().is_err());
    }

    #[test]
    fn the_foot_is_no_longer_than_the_terminal_is_wide() {
        assert!(
            foot(true, 24, 80)
                .contains("\x1b[1;23r\x1b[24;1H\x1b[2K\x1b[2m   w Disable Watch   d Detach\x1b")
        );
        assert!(foot(false, 1, 5).contains("\x1b[2m   w \x1b[0m"));
    }
}
