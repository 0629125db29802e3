//! How a project's work is shown: steps, as plain lines or as a block that is drawn anew, and containers' lines with their names.

use super::block::Block;
use crate::context::note;
use crate::stream::terminal;
use std::cell::RefCell;
use std::io::{self, Write};
use wharf_compose::run::report::{Report, Status, Stream};

/// Colours of names, one after the other.
const COLOURS: [&str; 10] = ["36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1"];

/// How steps are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Terminal,
    Plain,
    Json,
    Quiet,
}

/// Shows work.
#[derive(Debug)]
pub(crate) struct Screen {
    progress: Progress,
    colour: bool,
    prefix: bool,
    dry_run: bool,
    yes: bool,
    verbose: bool,
    state: RefCell<State>,
    block: Block,
}

#[derive(Debug, Default)]
struct State {
    sources: Vec<String>,
    width: usize,
}

impl Screen {
    /// As flags and the terminal say.
    pub(crate) fn new(globals: &super::Globals) -> Self {
        let is_terminal = rustix::termios::isatty(io::stderr());
        let named = globals.progress.clone().or_else(|| std::env::var("COMPOSE_PROGRESS").ok());
        let ansi = globals.ansi.clone().or_else(|| std::env::var("COMPOSE_ANSI").ok());
        let progress = match named.as_deref() {
            Some("plain") => Progress::Plain,
            Some("tty") => Progress::Terminal,
            Some("json") => Progress::Json,
            Some("quiet") => Progress::Quiet,
            _ if is_terminal && ansi.as_deref() != Some("never") => Progress::Terminal,
            _ => Progress::Plain,
        };
        let colour = match ansi.as_deref() {
            Some("always") => true,
            Some("never") => false,
            _ => terminal::stdout_is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        Self {
            progress,
            colour,
            prefix: true,
            dry_run: globals.dry_run,
            yes: false,
            verbose: globals.verbose,
            state: RefCell::default(),
            block: Block::new(),
        }
    }

    /// Without colours, or without names before lines, or with every question answered by yes.
    pub(crate) fn with(mut self, no_colour: bool, no_prefix: bool, yes: bool) -> Self {
        self.colour &= !no_colour;
        self.prefix = !no_prefix;
        self.yes = yes;
        self
    }

    /// What heads the steps, where it is not `Running`.
    pub(crate) fn titled(self, title: &'static str) -> Self {
        self.block.title(title);
        self
    }

    /// Nothing of steps.
    pub(crate) fn quiet(mut self) -> Self {
        self.progress = Progress::Quiet;
        self
    }

    /// Makes room for the longest of these names.
    pub(crate) fn sources<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut state = self.state.borrow_mut();
        for name in names {
            state.width = state.width.max(name.chars().count());
        }
    }

    /// Leaves the block that was drawn where it is: other output follows.
    pub(crate) fn settle(&self) {
        self.block.settle();
    }
}

impl Report for Screen {
    fn step(&self, what: &str, state: &str, status: Status) {
        let dry = if self.dry_run { "DRY-RUN MODE - " } else { "" };
        match self.progress {
            Progress::Quiet => {}
            Progress::Plain => note(format!("{dry} {what}  {state}")),
            Progress::Json => {
                let status = match status {
                    Status::Working => "Working",
                    Status::Done => "Done",
                    Status::Warning => "Warning",
                    Status::Failed => "Error",
                };
                note(
                    serde_json::json!({"id": what, "status": status, "text": state, "dry-run": self.dry_run}),
                );
            }
            Progress::Terminal => self.block.step(what, state, status),
        }
    }

    fn warn(&self, message: &str) {
        self.block.leave();
        if self.progress != Progress::Quiet {
            note(format!("WARN[0000] {message}"));
        }
    }

    fn debug(&self, message: &str) {
        if self.verbose {
            self.block.leave();
            note(format!("DEBUG[0000] {message}"));
        }
    }

    fn line(&self, source: &str, line: &str, stream: Stream) {
        self.block.leave();
        let mut state = self.state.borrow_mut();
        let index = match state.sources.iter().position(|known| known == source) {
            Some(index) => index,
            None => {
                state.sources.push(source.to_owned());
                state.sources.len() - 1
            }
        };
        state.width = state.width.max(source.chars().count());
        let width = state.width + 1;
        let text = match (stream, self.prefix, self.colour) {
            (Stream::Note, _, true) => {
                format!("\x1b[{}m{source} {line}\x1b[0m\n", COLOURS[index % COLOURS.len()])
            }
            (Stream::Note, _, false) => format!("{source} {line}\n"),
            (_, false, _) => format!("{line}\n"),
            (_, true, true) => {
                format!("\x1b[{}m{source:<width$} | \x1b[0m{line}\n", COLOURS[index % COLOURS.len()])
            }
            (_, true, false) => format!("{source:<width$} | {line}\n"),
        };
        // A reader that went away ends the command by the signal of the pipe, or by its own end.
        let _ = match stream {
            Stream::Stderr => io::stderr().lock().write_all(text.as_bytes()),
            Stream::Stdout | Stream::Note => io::stdout().lock().write_all(text.as_bytes()),
        };
    }

    fn output(&self, text: &str) {
        self.block.leave();
        if self.progress != Progress::Quiet {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }

    fn confirm(&self, question: &str) -> bool {
        if self.yes {
            return true;
        }
        terminal::stdin_is_terminal() && crate::context::confirm(question).unwrap_or(false)
    }
}
