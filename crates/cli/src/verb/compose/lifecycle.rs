//! What verbs of one call for each container share.

use super::work::Work;
use crate::context::Context;
use crate::failure::Failure;
use wharf_compose::plan::Observed;
use wharf_docker_api::client::Call;

/// Does the same to each container that is in one of the states.
pub(super) async fn each(
    work: &Work,
    context: &Context,
    services: &[String],
    states: &[&str],
    verbs: (&'static str, &'static str),
    call: impl Fn(&Observed) -> Call,
) -> Result<usize, Failure> {
    work.check(services)?;
    let run = work.run(context);
    let found: Vec<Observed> = run
        .of_services(services)
        .await?
        .into_iter()
        .filter(|one| states.contains(&one.state.as_str()))
        .collect();
    let acts = found.iter().map(|one| run.one(one, verbs, call(one)));
    for done in futures_util::future::join_all(acts).await {
        done?;
    }
    Ok(found.len())
}
