//! The builder's `StepRunner` seam on the engine's containers.

use async_trait::async_trait;
use std::sync::Arc;
use wharf_build::{Step, StepRunner, Stream};
use wharf_engine::containers::{Containers, StepSpec};

/// Runs build steps as containers.
pub(super) struct Steps(pub(super) Arc<Containers>);

#[async_trait]
impl StepRunner for Steps {
    async fn run(
        &self,
        step: &Step,
        output: &(dyn Fn(Stream, wharf_build::Bytes) + Send + Sync),
    ) -> wharf_model::Result<i32> {
        let spec = StepSpec {
            id: step.id.parse()?,
            argv: step.argv.clone(),
            env: step.env.clone(),
            user: step.user.clone(),
            working_dir: step.working_dir.clone(),
            network: step.network.clone(),
            host: step.host.clone(),
            mounts: step.mounts.clone(),
            privileged: step.privileged,
            held: Arc::clone(&step.held),
        };
        let pass = |is_error: bool, bytes| output(if is_error { Stream::Err } else { Stream::Out }, bytes);
        self.0.run_step(spec, &pass).await
    }
}
