//! Which tags the retention rules keep. Those that belong to a digest (signatures, attestations) stay as long as it does.

use super::entries::Folder;
use super::settings::{Retention, Settings, any};
use super::store::Store;
use std::time::Duration;
use wharf_model::Result;
use wharf_signing::format::{is_attachment, subject_of};

/// The tags of a repository that go. Those that are immutable never do.
pub(super) fn superfluous(store: &Store, settings: &Settings, repository: &str) -> Result<Vec<String>> {
    let mut gone = by_rules(store, settings, repository)?;
    gone.extend(orphans(store, settings, repository)?);
    gone.retain(|tag| !settings.is_immutable(repository, tag));
    Ok(gone)
}

/// Tags that belong to a digest which is gone for as long as manifests without tags are kept.
fn orphans(store: &Store, settings: &Settings, repository: &str) -> Result<Vec<String>> {
    let Some(untagged) = settings.gc.untagged else { return Ok(Vec::new()) };
    let mut gone = Vec::new();
    store.entries.each(Folder::Tags(repository), &mut |tag| {
        if let Some(subject) = subject_of(tag)
            && !store.entries.has(Folder::Manifests(repository), subject.as_str())?
            && store.entries.age(Folder::Tags(repository), tag)?.is_some_and(|age| age >= untagged.0)
        {
            gone.push(tag.to_owned());
        }
        Ok(())
    })?;
    Ok(gone)
}

fn by_rules(store: &Store, settings: &Settings, repository: &str) -> Result<Vec<String>> {
    let rules: Vec<&Retention> =
        settings.retention.iter().filter(|r| any(&r.repositories, repository)).collect();
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let mut tags = Vec::new();
    store.entries.each(Folder::Tags(repository), &mut |tag| {
        if !is_attachment(tag)
            && let Some(age) = store.entries.age(Folder::Tags(repository), tag)?
        {
            tags.push((age, tag.to_owned()));
        }
        Ok(())
    })?;
    Ok(choose(&rules, tags))
}

/// Of tags with their ages those that some rule is about and no rule keeps.
fn choose(rules: &[&Retention], mut tags: Vec<(Duration, String)>) -> Vec<String> {
    tags.sort();
    let about = |rule: &Retention, tag: &str| rule.tags.is_empty() || any(&rule.tags, tag);
    let mut gone = Vec::new();
    let mut counts = vec![0; rules.len()];
    for (age, tag) in tags {
        let (mut meant, mut kept) = (false, false);
        for (rule, count) in rules.iter().zip(&mut counts).filter(|(rule, _)| about(rule, &tag)) {
            meant = true;
            *count += 1;
            kept |= rule.keep_last.is_some_and(|last| *count <= last);
            kept |= rule.keep_within.is_some_and(|within| age < within.0);
            kept |= any(&rule.keep, &tag);
        }
        if meant && !kept {
            gone.push(tag);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_number_age_and_name() {
        let settings = Settings::parse(
            r#"{"retention": [
                {"repositories": ["a"], "tags": ["build-*"], "keep-last": 2, "keep-within": "1h"},
                {"repositories": ["a"], "tags": ["*-keep", "nightly-*"], "keep": ["*-keep"]}]}"#,
        )
        .unwrap();
        let rules: Vec<&Retention> = settings.retention.iter().collect();
        let tag = |minutes: u64, name: &str| (Duration::from_secs(minutes * 60), name.to_owned());
        let gone = choose(
            &rules,
            vec![
                tag(500, "build-1"),
                tag(500, "latest"),
                tag(500, "nightly-1"),
                tag(400, "build-keep"),
                tag(300, "build-3"),
                tag(30, "build-4"),
                tag(20, "build-5"),
                tag(10, "build-6"),
            ],
        );
        assert_eq!(gone, ["build-3", "build-1", "nightly-1"]);
    }
}
