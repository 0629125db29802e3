//! News of a build as plain lines: `#3 [2/4] RUN …`, what it prints, `#3 DONE 0.2s`.

use std::collections::HashMap;
use std::fmt::Write;
use wharf_grpc::proto::control::{StatusResponse, Vertex};
use wharf_grpc::proto::ops::Timestamp;

/// What was said of a step.
#[derive(Default)]
struct Said {
    number: usize,
    began: bool,
    ended: bool,
    started_ns: i128,
    /// What it printed without an end of line, for standard output and error.
    rest: [String; 2],
}

/// Makes lines of the news of one build.
#[derive(Default)]
pub(crate) struct Plain {
    steps: HashMap<String, Said>,
    /// Digests that the engine gives to one step, by its name: number of the last.
    last: usize,
}

fn nanos(at: &Timestamp) -> i128 {
    i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos)
}

impl Plain {
    /// The lines of some news, each with its end.
    pub(crate) fn lines(&mut self, news: &StatusResponse) -> String {
        let mut out = String::new();
        for vertex in &news.vertexes {
            self.begin(&mut out, vertex);
        }
        for log in &news.logs {
            let Some(said) = self.steps.get_mut(&log.vertex) else { continue };
            let rest = &mut said.rest[usize::from(log.stream == 2)];
            rest.push_str(&String::from_utf8_lossy(&log.msg));
            let since = log.timestamp.as_ref().map_or(0, |at| nanos(at) - said.started_ns);
            while let Some(end) = rest.find('\n') {
                let line: String = rest.drain(..=end).collect();
                // What overwrites a line of a terminal is only its last state here.
                let line = line.trim_end().rsplit('\r').next().unwrap_or_default().to_owned();
                let _ = writeln!(out, "#{} {:.3} {line}", said.number, seconds(since));
            }
        }
        for warning in &news.warnings {
            if let Some(said) = self.steps.get(&warning.vertex) {
                let _ = writeln!(out, "#{} WARN: {}", said.number, String::from_utf8_lossy(&warning.short));
            }
        }
        for vertex in &news.vertexes {
            self.end(&mut out, vertex);
        }
        out
    }

    fn begin(&mut self, out: &mut String, vertex: &Vertex) {
        let next = self.last + 1;
        let said = self.steps.entry(vertex.digest.clone()).or_default();
        let Some(started) = vertex.started.as_ref().filter(|_| !said.began) else { return };
        self.last = next;
        (said.number, said.began, said.started_ns) = (next, true, nanos(started));
        let _ = writeln!(out, "#{next} {}", vertex.name);
    }

    fn end(&mut self, out: &mut String, vertex: &Vertex) {
        let Some(said) = self.steps.get_mut(&vertex.digest) else { return };
        let Some(completed) = vertex.completed.as_ref().filter(|_| said.began && !said.ended) else { return };
        said.ended = true;
        for rest in &mut said.rest {
            if !rest.is_empty() {
                let _ = writeln!(out, "#{} {}", said.number, std::mem::take(rest).trim_end());
            }
        }
        let number = said.number;
        let _ = match (vertex.error.as_str(), vertex.cached) {
            ("", true) => writeln!(out, "#{number} CACHED\n"),
            ("", false) => {
                writeln!(out, "#{number} DONE {:.1}s\n", seconds(nanos(completed) - said.started_ns))
            }
            (error, _) => writeln!(out, "#{number} ERROR: {error}\n"),
        };
    }
}

fn seconds(ns: i128) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_grpc::proto::control::VertexLog;

    #[test]
    fn one_step_after_another() {
        let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
        let step = |digest: &str, completed, error: &str| Vertex {
            digest: digest.into(),
            name: format!("[1/1] RUN {digest}"),
            started: at(1, 0),
            completed,
            error: error.into(),
            ..Vertex::default()
        };
        let log = |text: &'static str| VertexLog {
            vertex: "a".into(),
            timestamp: at(1, 500_000_000),
            stream: 1,
            msg: text.into(),
        };
        let mut plain = Plain::default();
        let mut say = |vertexes, logs| plain.lines(&StatusResponse { vertexes, logs, ..Default::default() });
        assert_eq!(say(vec![step("a", None, "")], vec![log("one\ntw")]), "#1 [1/1] RUN a\n#1 0.500 one\n");
        assert_eq!(say(vec![], vec![log("o\n")]), "#1 0.500 two\n");
        assert_eq!(say(vec![step("a", at(3, 0), "")], vec![log("rest")]), "#1 rest\n#1 DONE 2.0s\n\n");
        assert_eq!(say(vec![step("b", at(2, 0), "why")], vec![]), "#2 [1/1] RUN b\n#2 ERROR: why\n\n");
        let cached = Vertex { cached: true, ..step("c", at(1, 0), "") };
        assert!(say(vec![cached], vec![]).ends_with("#3 CACHED\n\n"));
    }
}
