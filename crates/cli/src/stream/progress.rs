//! The messages of build, pull, push and load.

use super::terminal::stdout_is_terminal;
use crate::failure::Failure;
use crate::format::size::decimal_with;
use std::io::{self, Write};
use wharf_docker_api::client::ResponseStream;
use wharf_docker_api::types::build::{Message, Progress};

/// Where messages are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    Stderr,
    Nowhere,
}

/// Shows messages until the stream ends; one with an error is the failure. `each` is given every message
/// before it is shown.
pub(crate) async fn show(
    stream: ResponseStream,
    target: Target,
    mut each: impl FnMut(&Message),
) -> Result<(), Failure> {
    let mut messages = stream.json::<Message>();
    let mut screen =
        Screen { is_terminal: target == Target::Stdout && stdout_is_terminal(), lines: Vec::new() };
    while let Some(message) = messages.next().await? {
        each(&message);
        if message.aux.is_some() {
            continue;
        }
        if let Some(detail) = &message.error_detail {
            let status = i32::try_from(detail.code).ok().filter(|code| *code > 0).unwrap_or(1);
            return Err(Failure::with_status(status, detail.message.clone()));
        }
        if !message.error.is_empty() {
            return Err(Failure::new(message.error));
        }
        let text = screen.render(&message);
        let result = match target {
            Target::Stdout => crate::context::print(text),
            Target::Stderr => io::stderr().write_all(text.as_bytes()).map_err(Failure::from),
            Target::Nowhere => Ok(()),
        };
        result?;
    }
    Ok(())
}

#[derive(Debug)]
struct Screen {
    is_terminal: bool,
    /// Ids with a line of their own, from the top.
    lines: Vec<String>,
}

impl Screen {
    fn render(&mut self, message: &Message) -> String {
        if !message.stream.is_empty() {
            self.lines.clear();
            return message.stream.clone();
        }
        let mut text = String::new();
        if !message.id.is_empty() {
            text.push_str(&message.id);
            text.push_str(": ");
        }
        text.push_str(&message.status);
        let bar = message.progress_detail.as_ref().map(bar).unwrap_or_default();
        if !self.is_terminal {
            // Progress is for terminals; elsewhere each step is said once.
            return if bar.is_empty() { text + "\n" } else { String::new() };
        }
        if !bar.is_empty() {
            text.push(' ');
            text.push_str(&bar);
        }
        if message.id.is_empty() {
            self.lines.clear();
            return text + "\n";
        }
        match self.lines.iter().position(|id| *id == message.id) {
            Some(at) => {
                let up = self.lines.len() - at;
                format!("\x1b[{up}A\x1b[2K\r{text}\r\x1b[{up}B")
            }
            None => {
                self.lines.push(message.id.clone());
                format!("\x1b[2K\r{text}\n")
            }
        }
    }
}

/// `[=====>     ]  1.2MB/3.4MB`; nothing without numbers.
fn bar(progress: &Progress) -> String {
    const WIDTH: i64 = 50;
    if progress.current <= 0 && progress.total <= 0 {
        return String::new();
    }
    let size = |bytes: i64| decimal_with(bytes as f64, 4);
    if progress.total <= 0 {
        return size(progress.current);
    }
    let filled = (progress.current.min(progress.total) * WIDTH / progress.total) as usize;
    let rest = WIDTH as usize - filled;
    let head = if filled < WIDTH as usize { ">" } else { "" };
    let blanks = " ".repeat(rest.saturating_sub(1));
    format!("[{}{head}{blanks}]  {}/{}", "=".repeat(filled), size(progress.current), size(progress.total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        let progress = |current, total| Progress { current, total, ..Progress::default() };
        assert_eq!(bar(&progress(0, 0)), "");
        assert_eq!(bar(&progress(1500, 0)), "1.5kB");
        let half = bar(&progress(5, 10));
        assert_eq!(half, format!("[{}>{}]  5B/10B", "=".repeat(25), " ".repeat(24)));
        assert!(bar(&progress(10, 10)).starts_with(&format!("[{}]", "=".repeat(50))));
    }

    #[test]
    fn files_get_lines_without_bars() {
        let mut screen = Screen { is_terminal: false, lines: vec![] };
        let status = |id: &str, text: &str, current| Message {
            id: id.into(),
            status: text.into(),
            progress_detail: Some(Progress { current, total: 9, ..Progress::default() })
                .filter(|_| current > 0),
            ..Message::default()
        };
        assert_eq!(screen.render(&status("abc", "Downloading", 3)), "");
        assert_eq!(screen.render(&status("abc", "Pull complete", 0)), "abc: Pull complete\n");
        let mut screen = Screen { is_terminal: true, lines: vec![] };
        screen.render(&status("abc", "Downloading", 3));
        screen.render(&status("def", "Downloading", 3));
        assert!(screen.render(&status("abc", "Done", 0)).starts_with("\x1b[2A"));
    }
}
