//! The kernel's security modules as the engine uses them: which profile and labels containers get.

pub mod apparmor;
pub mod relabel;
pub mod selinux;

use apparmor::AppArmor;
use selinux::Selinux;

/// What there is of them.
#[derive(Default)]
pub struct Modules {
    /// Profiles.
    pub apparmor: AppArmor,
    /// Labels; `None` when the engine gives containers none.
    pub selinux: Option<Selinux>,
}
