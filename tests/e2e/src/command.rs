//! Commands that cannot hang a test.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A debug build on two busy cores needs some patience; a hang needs none.
const LIMIT: Duration = Duration::from_secs(60);

/// A finished command.
#[derive(Debug, Clone)]
pub struct Done {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// Standard output of a command that must have succeeded, without the last newline.
    ///
    /// # Panics
    /// When it failed.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "failed: {}{}", self.out, self.err);
        self.out.trim_end_matches('\n').to_owned()
    }
}

/// Runs a command with an input to its end.
///
/// # Panics
/// When it cannot be started, or takes longer than a minute.
pub fn run_limited(command: &mut Command, input: &str) -> Done {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("start {shown}: {e}"));
    if let Some(mut stdin) = child.stdin.take() {
        // A command need not read its input.
        let _ = stdin.write_all(input.as_bytes());
    }
    let out = collect(child.stdout.take());
    let err = collect(child.stderr.take());
    let code = wait(&mut child, &shown);
    Done { code, out: out.join().unwrap_or_default(), err: err.join().unwrap_or_default() }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read until a failure is what there is.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, shown: &str) -> i32 {
    let until = Instant::now() + LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.code().unwrap_or(-1),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(3)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{shown}: not done within {} s", LIMIT.as_secs());
            }
        }
    }
}
