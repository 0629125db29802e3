//! Who is told how it goes.

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is under way.
    Working,
    /// It is done.
    Done,
    /// It was done before, or is not to be done.
    Warning,
    /// It failed.
    Failed,
}

/// What a container wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// To standard output.
    Stdout,
    /// To standard error.
    Stderr,
    /// Of our own about it.
    Note,
}

/// Told of steps, warnings and output. Called from one thread.
pub trait Report {
    /// A step of something, such as `Container web-1`, has come to a state.
    fn step(&self, what: &str, state: &str, status: Status);

    /// Something the user should know.
    fn warn(&self, message: &str);

    /// Something for whoever looks for a fault.
    fn debug(&self, message: &str);

    /// A line that a container wrote, without its end.
    fn line(&self, source: &str, line: &str, stream: Stream);

    /// Something that a build or a pull said.
    fn output(&self, text: &str);

    /// A question; whether the answer was yes.
    fn confirm(&self, question: &str) -> bool;
}
