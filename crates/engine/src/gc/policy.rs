//! What garbage collection shall remove. What is not said stays.

use std::time::Duration;

/// The rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// It runs by itself.
    pub enabled: bool,
    /// How often.
    pub interval: Duration,
    /// What was used within this time stays, however full the disk is: somebody is about to use it again.
    pub grace: Duration,
    /// Images without a container go when they were not used for so long.
    pub images_unused_for: Option<Duration>,
    /// Images without a name and without a container go after so long.
    pub dangling_after: Option<Duration>,
    /// Ended containers go after so long.
    pub exited_for: Option<Duration>,
    /// Volumes that were made without a name go when no container had them for so long.
    pub anonymous_unused_for: Option<Duration>,
    /// When more of the data root's disk is used, images without a container go, the longest unused first.
    pub max_used_percent: Option<u8>,
    /// The same when images take more bytes than that.
    pub keep_storage: Option<u64>,
    /// Patterns of names of images that stay.
    pub keep_references: Vec<String>,
    /// Labels, `key` or `key=value`, of images, containers and volumes that stay.
    pub keep_labels: Vec<String>,
    /// The same, of containers alone.
    pub keep_container_labels: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_secs(3600),
            grace: Duration::from_secs(600),
            images_unused_for: None,
            dangling_after: None,
            exited_for: None,
            anonymous_unused_for: None,
            max_used_percent: None,
            keep_storage: None,
            keep_references: Vec::new(),
            keep_labels: Vec::new(),
            keep_container_labels: Vec::new(),
        }
    }
}

impl Policy {
    /// Its rules in words, the first what makes things go; none for a policy that removes nothing.
    pub fn rules(&self) -> Vec<String> {
        let aged = [
            ("containers ended for", self.exited_for),
            ("images without a name unused for", self.dangling_after),
            ("images unused for", self.images_unused_for),
            ("anonymous volumes unused for", self.anonymous_unused_for),
        ];
        let aged = aged.into_iter().filter_map(|(what, time)| Some(format!("{what} {}", words(time?))));
        let percent =
            self.max_used_percent.map(|most| format!("images while the disk is more than {most}% full"));
        let storage = self.keep_storage.map(|most| format!("images while they take more than {most} bytes"));
        aged.chain(percent).chain(storage).collect()
    }
}

/// `36h`, `10m`, `1h0m5s`.
pub fn words(time: Duration) -> String {
    let all = time.as_secs();
    match (all / 3600, all / 60 % 60, all % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (hours, 0, 0) => format!("{hours}h"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}
