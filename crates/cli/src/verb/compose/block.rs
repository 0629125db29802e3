//! The block of steps on a terminal: drawn anew at each change, and ten times a second while something is under way.

use crate::stream::terminal;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wharf_compose::run::report::Status;

/// How often times and spinners move.
const TICK: Duration = Duration::from_millis(100);
/// What turns before a step that is under way, a tick each.
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;

/// The block; it stays on the screen when this is dropped.
#[derive(Debug)]
pub(super) struct Block {
    shared: Arc<Shared>,
    ticker: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    title: &'static str,
    steps: Vec<Step>,
    /// Lines as they were last drawn; none where other output followed.
    drawn: usize,
    has_ended: bool,
}

#[derive(Debug)]
struct Step {
    what: String,
    state: String,
    status: Status,
    began: Instant,
    took: Option<Duration>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Block {
    pub(super) fn new() -> Self {
        let state = State { title: "Running", steps: Vec::new(), drawn: 0, has_ended: false };
        let shared = Shared { state: Mutex::new(state), changed: Condvar::new() };
        Self { shared: Arc::new(shared), ticker: Mutex::default() }
    }

    /// What heads it, such as `Running`.
    pub(super) fn title(&self, title: &'static str) {
        self.shared.lock().title = title;
    }

    /// A step has come to a state.
    pub(super) fn step(&self, what: &str, text: &str, status: Status) {
        let mut state = self.shared.lock();
        let is_done = status != Status::Working;
        match state.steps.iter_mut().find(|step| step.what == what) {
            Some(step) => {
                step.took = is_done.then(|| step.took.unwrap_or_else(|| step.began.elapsed()));
                text.clone_into(&mut step.state);
                step.status = status;
            }
            None => state.steps.push(Step {
                what: what.to_owned(),
                state: text.to_owned(),
                status,
                began: Instant::now(),
                took: is_done.then_some(Duration::ZERO),
            }),
        }
        state.draw();
        drop(state);
        self.tick();
    }

    /// Other output follows: what is drawn stays, and is drawn again below it at the next step.
    pub(super) fn leave(&self) {
        self.shared.lock().drawn = 0;
    }

    /// The same, and its steps are forgotten.
    pub(super) fn settle(&self) {
        let mut state = self.shared.lock();
        state.steps.clear();
        state.drawn = 0;
    }

    /// Wakes who draws between steps, or has somebody do it from now on.
    fn tick(&self) {
        let mut ticker = self.ticker.lock().unwrap_or_else(PoisonError::into_inner);
        if ticker.is_none() {
            let shared = Arc::clone(&self.shared);
            // Without it the times stand still, and nothing else is amiss.
            *ticker = std::thread::Builder::new().name("progress".into()).spawn(move || shared.run()).ok();
        }
        self.shared.changed.notify_one();
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.shared.lock().has_ended = true;
        self.shared.changed.notify_one();
        if let Some(ticker) = self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = ticker.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.lock();
        while !state.has_ended {
            if state.moves() {
                let waited = self.changed.wait_timeout(state, TICK);
                let (guard, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                state = guard;
                if waited.timed_out() && state.moves() && !state.has_ended {
                    state.draw();
                }
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl State {
    /// Whether it looks different after a while.
    fn moves(&self) -> bool {
        self.drawn > 0 && self.steps.iter().any(|step| step.status == Status::Working)
    }

    fn draw(&mut self) {
        let [rows, columns] =
            terminal::error_size().map_or([24, COLUMNS], |[rows, columns]| [rows as usize, columns as usize]);
        let text = self.text(rows, columns);
        // Where the terminal is gone there is nobody to tell.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// What draws it, over what was drawn before.
    fn text(&mut self, rows: usize, columns: usize) -> String {
        let done = self.steps.iter().filter(|step| step.status != Status::Working).count();
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        text.push_str(&format!("\x1b[2K[+] {} {done}/{}\n", self.title, self.steps.len()));
        // The newest are the ones that matter when not all have room.
        let room = rows.saturating_sub(2).max(1);
        let shown = &self.steps[self.steps.len().saturating_sub(room)..];
        let width = shown.iter().map(|step| step.what.chars().count()).max().unwrap_or(0);
        for step in shown {
            text.push_str(&step.text(width, columns));
        }
        self.drawn = shown.len() + 1;
        text
    }
}

impl Step {
    fn text(&self, width: usize, columns: usize) -> String {
        let took = self.took.unwrap_or_else(|| self.began.elapsed());
        let (mark, colour) = match self.status {
            Status::Working => {
                let turn = took.as_millis() / TICK.as_millis();
                (SPINNER[usize::try_from(turn % 10).unwrap_or(0)], "34")
            }
            Status::Done => ('✔', "32"),
            Status::Warning => ('!', "33"),
            Status::Failed => ('✘', "31"),
        };
        let time = format!("{:.1}s", took.as_secs_f64());
        // A line that is longer than the terminal is wide would be two, and the block be drawn askew.
        let room = columns.saturating_sub(" m   ".len() + time.len() + 1);
        let what: String = format!("{:<width$}", self.what).chars().take(room).collect();
        let rest = room.saturating_sub(what.chars().count());
        let said: String = self.state.lines().next().unwrap_or_default().chars().take(rest).collect();
        let gap = rest.saturating_sub(said.chars().count());
        format!("\x1b[2K \x1b[{colour}m{mark}\x1b[0m {what}  \x1b[{colour}m{said}\x1b[0m{:gap$} {time}\n", "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without what colours it.
    fn plain(text: &str) -> String {
        let mut pieces = text.split("\x1b[");
        let first = pieces.next().unwrap_or_default().to_owned();
        pieces.fold(first, |all, piece| {
            all + piece.split_once(char::is_alphabetic).map_or("", |(_, rest)| rest)
        })
    }

    #[test]
    fn lines_have_room_and_count() {
        let step = |what: &str, state: &str, status, took: Option<u64>| Step {
            what: what.into(),
            state: state.into(),
            status,
            began: Instant::now(),
            took: took.map(Duration::from_millis),
        };
        let mut state = State {
            title: "Running",
            steps: vec![
                step("Network n", "Created", Status::Done, Some(120)),
                step("Container web-1", &"x".repeat(100), Status::Failed, Some(1_500)),
                step("Container db-1", "Starting", Status::Working, None),
            ],
            drawn: 0,
            has_ended: false,
        };
        let text = plain(&state.text(24, 50));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "[+] Running 2/3");
        assert_eq!(lines[1], " ✔ Network n        Created                   0.1s");
        assert!(
            lines[2].starts_with(" ✘ Container web-1  xxx") && lines[2].ends_with(" 1.5s"),
            "{}",
            lines[2]
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 50), "{lines:?}");
        assert!(lines[3].starts_with(" ⠋ Container db-1   Starting"), "{}", lines[3]);
        // The next one is drawn over this one, and only the newest have room.
        assert!(state.text(4, 50).starts_with("\x1b[4A"));
        assert_eq!(plain(&state.text(4, 50)).lines().count(), 3);
    }
}
