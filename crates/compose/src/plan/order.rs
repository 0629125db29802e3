//! Who has to be before whom.

use crate::project::Project;
use std::collections::BTreeMap;

/// For each service those it has to wait for.
pub fn needed(project: &Project) -> BTreeMap<&str, Vec<&str>> {
    let those = |name: &str| {
        let on = project.services[name].depends_on.keys().map(String::as_str);
        on.filter(|needed| project.services.contains_key(*needed)).collect()
    };
    project.services.keys().map(|name| (name.as_str(), those(name))).collect()
}

/// Services in groups: all that a group needs is in those before.
pub fn levels(project: &Project) -> Vec<Vec<&str>> {
    let mut waiting = needed(project);
    let mut levels = Vec::new();
    while !waiting.is_empty() {
        let ready: Vec<&str> = waiting
            .iter()
            .filter(|(_, needs)| needs.iter().all(|needed| !waiting.contains_key(needed)))
            .map(|(name, _)| *name)
            .collect();
        // A validated project has no cycles; without this one would go round for ever.
        if ready.is_empty() {
            levels.push(waiting.keys().copied().collect());
            break;
        }
        ready.iter().for_each(|name| drop(waiting.remove(name)));
        levels.push(ready);
    }
    levels
}
