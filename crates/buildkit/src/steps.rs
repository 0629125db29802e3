//! The builder's news as steps of BuildKit's progress.

use crate::error::status;
use crate::place;
use crate::progress::{Part, Progress, Step};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use wharf_build::{Output, Sink, StepNews};
use wharf_engine::images::Event;
use wharf_grpc::{Code, Status};
use wharf_model::Error;
use wharf_oci::reference::Reference;

/// Follows one run of the builder.
#[derive(Clone)]
pub(crate) struct Steps(Arc<Mutex<Following>>);

struct Following {
    progress: Progress,
    /// The Dockerfile has one stage without a name: it goes without saying.
    is_plain: bool,
    step: Option<Step>,
    line: usize,
    parts: HashMap<String, Part>,
}

impl Steps {
    pub(crate) fn new(progress: &Progress, is_plain: bool) -> Self {
        let progress = progress.clone();
        let following = Following { progress, is_plain, step: None, line: 0, parts: HashMap::new() };
        Self(Arc::new(Mutex::new(following)))
    }

    /// Where the builder tells.
    pub(crate) fn sink(&self) -> Sink {
        let following = Arc::clone(&self.0);
        Arc::new(move |output| following.lock().unwrap_or_else(PoisonError::into_inner).hear(output))
    }

    /// The build failed in the step it was at: what clients read of it.
    pub(crate) fn failed(&self, error: &Error, filename: &str, text: &str) -> Status {
        let mut following = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut status = status(error);
        if let Some(message) = exit(&status.message) {
            status = Status::new(Code::Unknown, message);
        }
        if let Some(step) = following.step.take() {
            step.failed(&status.message);
        }
        place::at(status, filename, text, following.line)
    }
}

impl Following {
    fn hear(&mut self, output: Output) {
        match output {
            Output::Step(news) => {
                self.finish();
                self.line = news.line;
                self.step = self.name(&news).map(|name| self.progress.step(name));
            }
            Output::Cached => drop(self.step.as_mut().map(Step::cached)),
            Output::Done => self.finish(),
            Output::Text(text) => self.print(1, text),
            Output::ErrorText(text) => self.print(2, text),
            Output::Pull(event) => self.pull(event),
            // Words of the classic builder.
            Output::Said(_) | Output::Built(_) => {}
        }
    }

    fn print(&mut self, stream: i64, text: String) {
        if let Some(step) = &mut self.step {
            step.print(stream, text);
        }
    }

    fn finish(&mut self) {
        self.parts.clear();
        if let Some(step) = self.step.take() {
            step.done();
        }
    }

    /// `[stage 2/3] RUN …`; nothing for a step that makes no files.
    fn name(&self, news: &StepNews) -> Option<String> {
        let (at, of) = news.place?;
        let width = of.to_string().len();
        let stage = if self.is_plain { String::new() } else { format!("{} ", news.stage) };
        Some(format!("[{stage}{at:>width$}/{of}] {}", shown(news)))
    }

    fn pull(&mut self, event: Event) {
        let Some(step) = &self.step else { return };
        match event {
            Event::Downloading { id, current, total } => {
                let part = self.parts.entry(id).or_insert_with_key(|id| step.part(id.as_str()));
                part.at(current, total);
            }
            Event::Downloaded { id } => {
                if let Some(part) = self.parts.remove(&id) {
                    part.done();
                }
            }
            Event::Extracting { id, .. } => {
                let name = format!("extracting {id}");
                let part = self.parts.entry(name).or_insert_with_key(|name| step.part(name.as_str()));
                part.at(0, 0);
            }
            Event::Pulled { id } => {
                if let Some(part) = self.parts.remove(&format!("extracting {id}")) {
                    part.done();
                }
            }
            _ => {}
        }
    }
}

/// A step's text; an image is named in full.
fn shown(news: &StepNews) -> String {
    let reference = news.image.as_ref().and_then(|image| image.parse::<Reference>().ok());
    reference.map_or_else(|| news.text.clone(), |reference| format!("FROM {}", reference.or_latest()))
}

/// The classic builder's words for a command's exit code in BuildKit's.
fn exit(message: &str) -> Option<String> {
    let (command, code) =
        message.strip_prefix("The command '")?.rsplit_once("' returned a non-zero code: ")?;
    Some(format!("process \"{command}\" did not complete successfully: exit code: {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(text: &str, place: Option<(usize, usize)>) -> StepNews {
        let image = text.starts_with("FROM").then(|| "busybox".to_owned());
        StepNews { number: 1, stage: "stage-0".to_owned(), place, line: 2, text: text.to_owned(), image }
    }

    #[tokio::test]
    async fn a_failing_step() {
        let progress = Progress::new("b");
        let steps = Steps::new(&progress, true);
        let sink = steps.sink();
        sink(Output::Step(news("FROM --platform=linux/amd64 busybox AS x", Some((1, 10)))));
        sink(Output::Cached);
        sink(Output::Done);
        sink(Output::Step(news("ENV a=b", None)));
        sink(Output::Done);
        sink(Output::Step(news("RUN false", Some((10, 10)))));
        sink(Output::Text("text".to_owned()));
        let error = Error::invalid("The command '/bin/sh -c false' returned a non-zero code: 1");
        let status = steps.failed(&error, "Dockerfile", "FROM busybox\nRUN false\n");
        let words = "process \"/bin/sh -c false\" did not complete successfully: exit code: 1";
        assert_eq!((status.message.as_str(), status.details.len()), (words, 1));
        let (told, _) = progress.after(0).await.unwrap();
        let steps: Vec<(&str, bool, &str)> =
            told.vertexes.iter().map(|v| (v.name.as_str(), v.cached, v.error.as_str())).collect();
        let from = "[ 1/10] FROM docker.io/library/busybox:latest";
        let run = "[10/10] RUN false";
        assert_eq!(steps, [(from, false, ""), (from, true, ""), (run, false, ""), (run, false, words)]);
        assert_eq!(told.logs.len(), 1);
    }
}
