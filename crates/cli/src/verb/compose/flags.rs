//! Flags that several verbs of a project have.

use crate::failure::Failure;
use std::time::Duration;
use wharf_compose::plan::Recreate;
use wharf_compose::run::images::Policy;
use wharf_compose::run::up;

/// Of `up` and `create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Making {
    /// Make images before
    #[arg(long)]
    pub(crate) build: bool,
    /// Make containers anew even when nothing changed
    #[arg(long)]
    pub(crate) force_recreate: bool,
    /// Make no images, even when they are missing
    #[arg(long)]
    pub(crate) no_build: bool,
    /// Leave containers that are there
    #[arg(long)]
    pub(crate) no_recreate: bool,
    /// When to fetch images: always, missing, never or build
    #[arg(long, value_name = "string")]
    pub(crate) pull: Option<String>,
    /// Say nothing of how images are fetched
    #[arg(long)]
    pub(crate) quiet_pull: bool,
    /// Say nothing of how images are made
    #[arg(long)]
    pub(crate) quiet_build: bool,
    /// Remove containers of services that are not in the files
    #[arg(long)]
    pub(crate) remove_orphans: bool,
    /// How many containers, as SERVICE=NUMBER
    #[arg(long, value_name = "stringArray")]
    pub(crate) scale: Vec<String>,
    /// Answer every question by yes
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,
}

impl Making {
    /// What the work is done by.
    pub(crate) fn options(&self, services: &[String]) -> Result<up::Options, Failure> {
        let clash = [
            (self.build && self.no_build, "--build and --no-build are incompatible"),
            (self.force_recreate && self.no_recreate, "--force-recreate and --no-recreate are incompatible"),
        ];
        if let Some((_, message)) = clash.iter().find(|(clash, _)| *clash) {
            return Err(Failure::new(*message));
        }
        let pull = self.pull.clone().unwrap_or_default();
        if !["", "always", "missing", "never", "build", "if_not_present", "policy"].contains(&pull.as_str()) {
            return Err(Failure::new(format!(
                "invalid --pull option {pull:?}: always, missing, never or build"
            )));
        }
        let recreate = match (self.force_recreate, self.no_recreate) {
            (true, _) => Recreate::Force,
            (_, true) => Recreate::Never,
            _ => Recreate::Diverged,
        };
        Ok(up::Options {
            recreate,
            recreate_needed: if self.no_recreate { Recreate::Never } else { Recreate::Diverged },
            services: services.to_vec(),
            remove_orphans: self.remove_orphans || is_on("COMPOSE_REMOVE_ORPHANS"),
            ignore_orphans: is_on("COMPOSE_IGNORE_ORPHANS"),
            yes: self.yes,
            images: Policy {
                build: self.build || pull == "build",
                pull: if ["policy", "build"].contains(&pull.as_str()) { String::new() } else { pull },
                no_build: self.no_build,
                quiet_pull: self.quiet_pull,
                quiet_build: self.quiet_build,
            },
            ..up::Options::default()
        })
    }

    /// Sets how many containers services have.
    pub(crate) fn scale(&self, project: &mut wharf_compose::project::Project) -> Result<(), Failure> {
        scale(project, &self.scale)
    }
}

/// Sets how many containers services have, as `SERVICE=NUMBER`.
pub(crate) fn scale(project: &mut wharf_compose::project::Project, pairs: &[String]) -> Result<(), Failure> {
    for pair in pairs {
        let wrong = || Failure::new(format!("invalid --scale option {pair:?}. Should be SERVICE=NUM"));
        let (name, number) = pair.split_once('=').ok_or_else(wrong)?;
        let number: i64 = number.parse().map_err(|_| wrong())?;
        let service =
            project.services.get_mut(name).ok_or_else(|| Failure::new(format!("no such service: {name}")))?;
        service.scale = Some(number);
        if let Some(deploy) = &mut service.deploy {
            deploy.replicas = Some(number);
        }
    }
    Ok(())
}

/// Whether a variable says yes.
pub(crate) fn is_on(name: &str) -> bool {
    std::env::var(name).is_ok_and(|on| ["1", "true"].contains(&on.as_str()))
}

/// Seconds as a duration.
pub(crate) fn seconds(seconds: Option<u64>) -> Option<Duration> {
    seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs)
}
