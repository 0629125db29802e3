//! A command on a terminal: what a person types and sees.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// As for commands: patience for a busy machine, none for a hang.
const LIMIT: Duration = Duration::from_secs(60);

/// A running command with a terminal of its own as its controlling one.
pub struct Terminal {
    keyboard: File,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    child: Child,
}

#[derive(Default)]
struct Seen {
    text: String,
    /// Up to where [`Terminal::expect`] has looked.
    read: usize,
    ended: bool,
}

impl Terminal {
    /// Runs a command on a new terminal of 24 rows and 80 columns.
    ///
    /// # Panics
    /// When the terminal or the command cannot be made; `setsid` of util-linux is needed.
    pub fn run(command: &Command) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("open a terminal");
        grantpt(&controller).expect("grant the terminal");
        unlockpt(&controller).expect("unlock the terminal");
        let name = ptsname(&controller, Vec::new()).expect("name the terminal");
        let path = name.to_str().expect("a terminal's name").to_owned();
        let open =
            || File::options().read(true).write(true).open(&path).expect("open the terminal's other end");
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs().filter_map(|(n, v)| Some((n, v?))) {
            session.env(name, value);
        }
        resize(&controller, 24, 80);
        let child = session.stdin(open()).stdout(open()).stderr(open()).spawn().expect("run setsid");
        // Its copies of the other end close with the command's: only then does reading end.
        drop(session);
        let keyboard = File::from(controller);
        let screen = keyboard.try_clone().expect("clone the terminal");
        let seen = Arc::default();
        std::thread::spawn({
            let seen = Arc::clone(&seen);
            move || watch(screen, &seen)
        });
        Self { keyboard, seen, child }
    }

    /// Types.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("type");
    }

    /// Gives the terminal another size, as dragging a window's edge does.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.keyboard, rows, columns);
    }

    /// Waits for a text after those waited for before.
    ///
    /// # Panics
    /// When the output ends without it, or it does not come.
    pub fn expect(&self, text: &str) {
        let (lock, changed) = &*self.seen;
        let mut seen = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(at) = seen.text[seen.read..].find(text) {
                seen.read += at + text.len();
                return;
            }
            let rest = until.saturating_duration_since(Instant::now());
            let rest_of_text = &seen.text[seen.read..];
            assert!(
                !seen.ended && !rest.is_zero(),
                "{text:?} does not come; after the last: {rest_of_text:?}"
            );
            seen = changed.wait_timeout(seen, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the command's end; returns its exit code and all that was seen.
    ///
    /// # Panics
    /// When it does not end.
    pub fn end(mut self) -> (i32, String) {
        let (lock, changed) = &*self.seen;
        let seen = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = changed.wait_timeout_while(seen, LIMIT, |s| !s.ended);
        let (seen, _) = wait.unwrap_or_else(PoisonError::into_inner);
        if !seen.ended {
            let _ = self.child.kill();
            panic!("the command does not end: {:?}", seen.text);
        }
        let status = self.child.wait().expect("wait for the command");
        (status.code().unwrap_or(-1), seen.text.clone())
    }
}

fn resize(terminal: impl std::os::fd::AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("set the terminal's size");
}

fn watch(mut screen: File, seen: &(Mutex<Seen>, Condvar)) {
    let mut bytes = [0; 4096];
    loop {
        let count = screen.read(&mut bytes);
        let mut seen_now = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        match count {
            Ok(count) if count > 0 => seen_now.text.push_str(&String::from_utf8_lossy(&bytes[..count])),
            // EIO: nobody has the other end open any more.
            _ => seen_now.ended = true,
        }
        seen.1.notify_all();
        if seen_now.ended {
            return;
        }
    }
}
