//! What `develop.watch` of services says.

use super::notify::below;
use crate::archive::ignore::Ignore;
use std::path::{Path, PathBuf};
use wharf_compose::Error;
use wharf_compose::project::Project;
use wharf_compose::project::service::Trigger;

/// One trigger of a service.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) service: String,
    pub(super) path: PathBuf,
    pub(super) trigger: Trigger,
    ignore: Ignore,
    include: Option<Ignore>,
    /// What the build leaves out, relative to its context.
    context: Option<(PathBuf, Ignore)>,
}

const ACTIONS: [&str; 5] = ["rebuild", "sync", "restart", "sync+restart", "sync+exec"];

/// The triggers of all services.
pub(super) fn of(project: &Project) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::new();
    for (name, service) in &project.services {
        for trigger in service.develop.iter().flat_map(|develop| &develop.watch) {
            let wrong = |what: &str| {
                Error::project(format!("service {name:?}: develop.watch of {:?}: {what}", trigger.path))
            };
            if !ACTIONS.contains(&trigger.action.as_str()) {
                return Err(wrong(&format!("unknown action {:?}", trigger.action)));
            }
            if trigger.action.starts_with("sync") && trigger.target.is_empty() {
                return Err(wrong("a target is required to sync"));
            }
            if trigger.action == "rebuild" && service.build.is_none() {
                return Err(wrong("can't watch service without a build section"));
            }
            let context = service.build.as_ref().map(|build| {
                let dir = PathBuf::from(&build.context);
                let ignore = std::fs::read_to_string(dir.join(".dockerignore")).unwrap_or_default();
                (dir, Ignore::parse(&ignore))
            });
            rules.push(Rule {
                service: name.clone(),
                path: PathBuf::from(&trigger.path),
                ignore: Ignore::parse(&trigger.ignore.join("\n")),
                include: (!trigger.include.is_empty()).then(|| Ignore::parse(&trigger.include.join("\n"))),
                context,
                trigger: trigger.clone(),
            });
        }
    }
    Ok(rules)
}

impl Rule {
    /// Whether it brings files into containers.
    pub(super) fn syncs(&self) -> bool {
        self.trigger.action.starts_with("sync")
    }

    /// Whether a changed path is one of its own.
    pub(super) fn matches(&self, path: &Path) -> bool {
        let Ok(relative) = path.strip_prefix(&self.path) else { return false };
        let is_git = relative.iter().any(|part| part == ".git");
        // What editors leave for a moment.
        let is_scratch = path.extension().is_some_and(|e| e == "swp" || e == "swx")
            || path.to_string_lossy().ends_with('~');
        let left_out = self.context.as_ref().is_some_and(|(dir, ignore)| {
            path.strip_prefix(dir).is_ok_and(|relative| ignore.excludes(relative))
        });
        let included = self
            .include
            .as_ref()
            .is_none_or(|include| relative.as_os_str().is_empty() || include.excludes(relative));
        !is_git && !is_scratch && !left_out && included && !self.ignore.excludes(relative)
    }

    /// Where a file is in the container.
    pub(super) fn target(&self, path: &Path) -> PathBuf {
        let target = Path::new(&self.trigger.target);
        match path.strip_prefix(&self.path) {
            Ok(relative) if !relative.as_os_str().is_empty() => target.join(relative),
            _ => target.to_owned(),
        }
    }

    /// All its files.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        below(&self.path).into_iter().filter(|path| self.matches(path)).collect()
    }
}
