//! Counters, in the text format of Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "other"];
const STATUSES: [u16; 19] =
    [200, 201, 202, 204, 206, 304, 307, 400, 401, 403, 404, 405, 409, 413, 416, 429, 500, 503, 0];
/// Upper bounds of the durations' buckets, in microseconds.
const BOUNDS: [u64; 10] = [100, 250, 500, 1000, 5000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000];

#[derive(Default)]
pub(super) struct Metrics {
    requests: [[AtomicU64; STATUSES.len()]; METHODS.len()],
    buckets: [AtomicU64; BOUNDS.len()],
    durations: AtomicU64,
    duration_micros: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) connections: AtomicI64,
    pub(super) uploads_finished: AtomicU64,
    pub(super) collections: AtomicU64,
    pub(super) collected_blobs: AtomicU64,
    pub(super) collected_bytes: AtomicU64,
    /// As of the last collection, with what came since.
    /// Manifests that the last collection could not read.
    pub(super) unreadable: AtomicU64,
    pub(super) stored_bytes: AtomicU64,
    pub(super) stored_blobs: AtomicU64,
    pub(super) refused_credentials: AtomicU64,
    pub(super) mirrored: AtomicU64,
}

/// What is counted elsewhere.
pub(super) struct Elsewhere {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) uploads: usize,
}

fn index<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().position(|a| a == one).unwrap_or(all.len() - 1)
}

impl Metrics {
    pub(super) fn request(&self, method: &str, status: u16, took: Duration) {
        let counter = &self.requests[index(&METHODS, &method)][index(&STATUSES, &status)];
        counter.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.durations.fetch_add(1, Ordering::Relaxed);
        self.duration_micros.fetch_add(micros, Ordering::Relaxed);
        if let Some(at) = BOUNDS.iter().position(|bound| micros <= *bound) {
            self.buckets[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The text of `/metrics`.
    pub(super) fn text(&self, elsewhere: &Elsewhere) -> String {
        let mut out = String::with_capacity(4096);
        head(&mut out, "requests_total", "counter", "Requests, by method and status (0: any other).");
        for (method, row) in METHODS.iter().zip(&self.requests) {
            for (status, count) in STATUSES.iter().zip(row) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let _ = writeln!(
                        out,
                        "wharf_registry_requests_total{{method=\"{method}\",status=\"{status}\"}} {count}"
                    );
                }
            }
        }
        head(&mut out, "request_seconds", "histogram", "Until the answer's head is sent.");
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(&self.buckets) {
            below += count.load(Ordering::Relaxed);
            let seconds = Duration::from_micros(*bound).as_secs_f64();
            let _ = writeln!(out, "wharf_registry_request_seconds_bucket{{le=\"{seconds}\"}} {below}");
        }
        let all = self.durations.load(Ordering::Relaxed);
        let sum = Duration::from_micros(self.duration_micros.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(out, "wharf_registry_request_seconds_bucket{{le=\"+Inf\"}} {all}");
        let _ = writeln!(out, "wharf_registry_request_seconds_sum {sum}");
        let _ = writeln!(out, "wharf_registry_request_seconds_count {all}");
        let counters = [
            ("received_bytes_total", &self.bytes_in, "Bytes of blobs and manifests received."),
            ("sent_bytes_total", &self.bytes_out, "Bytes of answers' bodies."),
            ("uploads_finished_total", &self.uploads_finished, "Uploads that became blobs."),
            ("refused_credentials_total", &self.refused_credentials, "Requests with wrong credentials."),
            ("collections_total", &self.collections, "Garbage collections."),
            ("collected_blobs_total", &self.collected_blobs, "Blobs removed by collections."),
            ("mirrored_total", &self.mirrored, "Manifests and blobs fetched from other registries."),
            ("collected_bytes_total", &self.collected_bytes, "Bytes removed by collections."),
        ];
        for (name, counter, help) in counters {
            single(&mut out, name, "counter", help, counter.load(Ordering::Relaxed));
        }
        single(&mut out, "cache_hits_total", "counter", "Manifests found in memory.", elsewhere.hits);
        single(&mut out, "cache_misses_total", "counter", "Manifests not found in memory.", elsewhere.misses);
        let connections = u64::try_from(self.connections.load(Ordering::Relaxed)).unwrap_or(0);
        single(&mut out, "connections", "gauge", "Connections open.", connections);
        single(&mut out, "uploads", "gauge", "Uploads begun and not ended.", elsewhere.uploads as u64);
        let unreadable = self.unreadable.load(Ordering::Relaxed);
        let help = "Manifests that the last collection could not read.";
        single(&mut out, "unreadable_manifests", "gauge", help, unreadable);
        let (bytes, blobs) = (&self.stored_bytes, &self.stored_blobs);
        single(&mut out, "stored_bytes", "gauge", "Bytes of blobs stored.", bytes.load(Ordering::Relaxed));
        single(&mut out, "stored_blobs", "gauge", "Blobs stored.", blobs.load(Ordering::Relaxed));
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP wharf_registry_{name} {help}\n# TYPE wharf_registry_{name} {kind}");
}

fn single(out: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    head(out, name, kind, help);
    let _ = writeln!(out, "wharf_registry_{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text() {
        let metrics = Metrics::default();
        metrics.request("GET", 200, Duration::from_micros(80));
        metrics.request("GET", 200, Duration::from_secs(60));
        metrics.request("BREW", 418, Duration::from_millis(1));
        let text = metrics.text(&Elsewhere { hits: 3, misses: 1, uploads: 2 });
        for line in [
            "wharf_registry_requests_total{method=\"GET\",status=\"200\"} 2",
            "wharf_registry_requests_total{method=\"other\",status=\"0\"} 1",
            "wharf_registry_request_seconds_bucket{le=\"0.0001\"} 1",
            "wharf_registry_request_seconds_bucket{le=\"10\"} 2",
            "wharf_registry_request_seconds_bucket{le=\"+Inf\"} 3",
            "wharf_registry_cache_hits_total 3",
            "wharf_registry_uploads 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
