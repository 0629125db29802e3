//! What there is and the policy give what goes: a pure function.
//!
//! ```text
//! ended containers ─▶ images nobody uses any more, by age ─▶ the same by disk, longest unused first
//!                 └─▶ anonymous volumes nobody has any more, by age
//! ```

use super::policy::Policy;
use crate::images::glob;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// What there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) now_ns: i128,
    pub(super) containers: Vec<Container>,
    pub(super) images: Vec<Image>,
    pub(super) volumes: Vec<Volume>,
    /// Bytes of the data root's disk: used, and what there is for users in all.
    pub(super) disk: (u64, u64),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) labels: BTreeMap<String, String>,
    /// Images it is made of or mounts.
    pub(super) images: Vec<String>,
    pub(super) volumes: Vec<String>,
    /// When it ended; nothing while it runs, or when it never ran.
    pub(super) ended_ns: Option<i128>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) id: String,
    /// With a tag, and as they are known without one.
    pub(super) names: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) parent: Option<String>,
    pub(super) last_used_ns: i128,
    /// Bytes of what it is made of, by name.
    pub(super) pieces: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) anonymous: bool,
    pub(super) unused_since_ns: Option<i128>,
}

/// What goes, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) containers: Vec<String>,
    pub(super) images: Vec<String>,
    pub(super) volumes: Vec<String>,
    /// Volumes that are seen without a container for the first time.
    pub(super) newly_unused: Vec<String>,
}

pub(super) fn plan(facts: &Facts, policy: &Policy) -> Plan {
    let aged = |since: i128, age: Option<Duration>| {
        age.is_some_and(|age| facts.now_ns - since >= i128::try_from(age.as_nanos()).unwrap_or(i128::MAX))
    };
    let goes = |c: &&Container| {
        c.ended_ns.is_some_and(|ended| aged(ended, policy.exited_for))
            && !labelled(&c.labels, &policy.keep_labels)
            && !labelled(&c.labels, &policy.keep_container_labels)
    };
    let containers: Vec<String> = facts.containers.iter().filter(goes).map(|c| c.id.clone()).collect();
    let staying = || facts.containers.iter().filter(|c| !containers.contains(&c.id));

    let mut images = Images::new(facts, policy, staying().flat_map(|c| c.images.clone()).collect());
    while images.take(|image| {
        aged(image.last_used_ns, policy.images_unused_for)
            || (image.names.is_empty() && aged(image.last_used_ns, policy.dangling_after))
    }) {}
    while images.is_too_much(facts, policy)
        && images.take(|image| aged(image.last_used_ns, Some(policy.grace)))
    {}

    let in_use: BTreeSet<&String> = staying().flat_map(|c| &c.volumes).collect();
    let mut plan = Plan { images: images.gone, containers: containers.clone(), ..Plan::default() };
    for volume in facts.volumes.iter().filter(|v| v.anonymous && policy.anonymous_unused_for.is_some()) {
        if in_use.contains(&volume.name) || labelled(&volume.labels, &policy.keep_labels) {
            continue;
        }
        match volume.unused_since_ns {
            None => plan.newly_unused.push(volume.name.clone()),
            Some(since) if aged(since, policy.anonymous_unused_for) => plan.volumes.push(volume.name.clone()),
            Some(_) => {}
        }
    }
    plan
}

/// `key`, or `key=value`.
fn labelled(labels: &BTreeMap<String, String>, wanted: &[String]) -> bool {
    wanted.iter().any(|label| match label.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
        None => labels.contains_key(label),
    })
}

/// Images that are still there, and what went.
struct Images<'a> {
    /// Those that may go, the longest unused first.
    free: Vec<&'a Image>,
    /// How many images have each as the one they were built on.
    children: HashMap<&'a str, usize>,
    /// How many images have each piece.
    owners: HashMap<&'a str, usize>,
    bytes: u64,
    freed: u64,
    gone: Vec<String>,
}

impl<'a> Images<'a> {
    fn new(facts: &'a Facts, policy: &Policy, used: BTreeSet<String>) -> Self {
        let kept = |image: &Image| {
            image.names.iter().any(|name| policy.keep_references.iter().any(|pattern| glob(pattern, name)))
                || labelled(&image.labels, &policy.keep_labels)
        };
        let mut free: Vec<&Image> =
            facts.images.iter().filter(|image| !used.contains(&image.id) && !kept(image)).collect();
        free.sort_by_key(|image| image.last_used_ns);
        let (mut children, mut owners, mut bytes) = (HashMap::new(), HashMap::new(), 0);
        for image in &facts.images {
            if let Some(parent) = &image.parent {
                *children.entry(parent.as_str()).or_default() += 1;
            }
            for (name, size) in &image.pieces {
                let count: &mut usize = owners.entry(name.as_str()).or_default();
                bytes += if *count == 0 { *size } else { 0 };
                *count += 1;
            }
        }
        Self { free, children, owners, bytes, freed: 0, gone: Vec::new() }
    }

    fn is_too_much(&self, facts: &Facts, policy: &Policy) -> bool {
        let (used, total) = facts.disk;
        let full = policy.max_used_percent.is_some_and(|most| {
            u128::from(used.saturating_sub(self.freed)) * 100 > u128::from(total) * u128::from(most)
        });
        full || policy.keep_storage.is_some_and(|most| self.bytes > most)
    }

    /// Lets go the longest unused of those that are asked for, and that no image was built on; false without any.
    fn take(&mut self, wanted: impl Fn(&Image) -> bool) -> bool {
        let is_parent = |image: &Image| self.children.get(image.id.as_str()).is_some_and(|count| *count > 0);
        let Some(at) = self.free.iter().position(|image| !is_parent(image) && wanted(image)) else {
            return false;
        };
        let image = self.free.remove(at);
        if let Some(count) = image.parent.as_deref().and_then(|parent| self.children.get_mut(parent)) {
            *count -= 1;
        }
        for (name, size) in &image.pieces {
            if let Some(count) = self.owners.get_mut(name.as_str()) {
                *count -= 1;
                if *count == 0 {
                    self.bytes -= size;
                    self.freed += size;
                }
            }
        }
        self.gone.push(image.id.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i128 = 3_600_000_000_000;

    fn hours(count: u64) -> Option<Duration> {
        Some(Duration::from_secs(count * 3600))
    }

    fn image(id: &str, name: &str, used_hours_ago: i128, pieces: &[(&str, u64)]) -> Image {
        Image {
            id: id.into(),
            names: Some(name.to_owned()).filter(|n| !n.is_empty()).into_iter().collect(),
            last_used_ns: (100 - used_hours_ago) * HOUR,
            pieces: pieces.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect(),
            ..Image::default()
        }
    }

    /// Images of 10 bytes each, two of them with 100 bytes in common.
    fn facts() -> Facts {
        Facts {
            now_ns: 100 * HOUR,
            images: vec![
                image("new", "me/new:1", 1, &[("base", 100), ("new", 10)]),
                image("old", "me/old:1", 50, &[("base", 100), ("old", 10)]),
                image("older", "other:1", 60, &[("older", 10)]),
                image("unnamed", "", 5, &[("unnamed", 10)]),
                image("used", "used:1", 90, &[("used", 10)]),
            ],
            containers: vec![
                Container {
                    id: "ended".into(),
                    images: vec!["used".into()],
                    ended_ns: Some(80 * HOUR),
                    volumes: vec!["a1".into()],
                    ..Container::default()
                },
                Container { id: "runs".into(), volumes: vec!["a2".into()], ..Container::default() },
            ],
            volumes: ["a1", "a2", "a3", "named"]
                .map(|name| Volume {
                    name: name.into(),
                    anonymous: name != "named",
                    unused_since_ns: (name == "a3").then_some(90 * HOUR),
                    ..Volume::default()
                })
                .into(),
            disk: (800, 1000),
        }
    }

    fn gone(policy: &Policy) -> (String, String, String, String) {
        let plan = plan(&facts(), policy);
        (
            plan.containers.join(" "),
            plan.images.join(" "),
            plan.volumes.join(" "),
            plan.newly_unused.join(" "),
        )
    }

    fn images(policy: &Policy) -> String {
        gone(policy).1
    }

    #[test]
    fn nothing_goes_without_a_rule() {
        assert_eq!(plan(&facts(), &Policy::default()), Plan::default());
        assert!(Policy::default().rules().is_empty() && !Policy::default().enabled);
    }

    #[test]
    fn what_is_old_and_unused_goes() {
        let policy = Policy { images_unused_for: hours(24), ..Policy::default() };
        assert_eq!(images(&policy), "older old");
        assert_eq!(images(&Policy { dangling_after: hours(4), ..Policy::default() }), "unnamed");
        assert_eq!(images(&Policy { dangling_after: hours(6), ..Policy::default() }), "");
        // With its container goes what that alone used.
        let policy = Policy { exited_for: hours(20), ..policy };
        assert_eq!(gone(&policy), ("ended".into(), "used older old".into(), "".into(), "".into()));
        assert_eq!(gone(&Policy { exited_for: hours(21), ..policy }).0, "");
    }

    #[test]
    fn what_shall_stay_stays() {
        let keep = |references: &[&str], labels: &[&str]| Policy {
            images_unused_for: hours(0),
            exited_for: hours(0),
            anonymous_unused_for: hours(0),
            keep_references: references.iter().map(ToString::to_string).collect(),
            keep_labels: labels.iter().map(ToString::to_string).collect(),
            ..Policy::default()
        };
        assert_eq!(images(&keep(&["me/*:1", "used*"], &[])), "older unnamed");
        let mut facts = facts();
        let label = BTreeMap::from([("tier".to_owned(), "db".to_owned())]);
        facts.images[2].labels.clone_from(&label);
        facts.containers[0].labels.clone_from(&label);
        facts.volumes[2].labels.clone_from(&label);
        for wanted in ["tier", "tier=db"] {
            let plan = plan(&facts, &keep(&[], &[wanted]));
            assert!(plan.containers.is_empty() && plan.volumes.is_empty(), "{plan:?}");
            assert_eq!(plan.images.join(" "), "old unnamed new");
        }
        let mut policy = keep(&[], &["tier=web"]);
        assert_eq!(plan(&facts, &policy).containers, ["ended"]);
        policy.keep_container_labels = vec!["tier".into()];
        assert!(plan(&facts, &policy).containers.is_empty());
    }

    #[test]
    fn a_full_disk_takes_the_longest_unused_first() {
        let full = |most| Policy { max_used_percent: Some(most), ..Policy::default() };
        assert_eq!(images(&full(80)), "");
        assert_eq!(images(&full(79)), "older");
        // What two images share is free when both are gone.
        assert_eq!(images(&full(78)), "older old");
        assert_eq!(images(&full(77)), "older old unnamed");
        assert_eq!(images(&full(76)), "older old unnamed new");
        let few = |most| Policy { keep_storage: Some(most), ..Policy::default() };
        assert_eq!(
            (images(&few(150)), images(&few(149)), images(&few(10))),
            ("".into(), "older".into(), "older old unnamed new".into())
        );
        // What was used just now stays even then.
        assert_eq!(images(&Policy { grace: Duration::from_secs(7200), ..few(0) }), "older old unnamed");
    }

    #[test]
    fn steps_of_a_build_go_after_what_was_built_on_them() {
        let mut facts = facts();
        facts.images[0].parent = Some("unnamed".into());
        let policy = Policy { dangling_after: hours(1), ..Policy::default() };
        assert!(plan(&facts, &policy).images.is_empty());
        let policy = Policy { images_unused_for: hours(1), ..Policy::default() };
        assert_eq!(plan(&facts, &policy).images.join(" "), "older old new unnamed");
    }

    #[test]
    fn volumes_go_when_they_were_seen_unused_for_long() {
        let policy = Policy { anonymous_unused_for: hours(10), ..Policy::default() };
        assert_eq!(gone(&policy), ("".into(), "".into(), "a3".into(), "".into()));
        let policy = Policy { anonymous_unused_for: hours(11), exited_for: hours(1), ..policy };
        assert_eq!(gone(&policy), ("ended".into(), "".into(), "".into(), "a1".into()));
    }
}
