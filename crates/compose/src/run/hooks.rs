//! `post_start` and `pre_stop`: commands in containers of services.

use super::report::Stream;
use super::{Run, container};
use crate::error::Error;
use crate::plan::Observed;
use crate::project::service::Hook;
use tokio::io::AsyncReadExt;
use wharf_docker_api::client::{Call, Demux};
use wharf_docker_api::types::IdResponse;
use wharf_docker_api::types::exec::{ExecCreateRequest, ExecInspect, ExecStartRequest};

/// Bytes read at a time.
const CHUNK: usize = 32 * 1024;

impl Run<'_> {
    /// Runs hooks one after the other; the first that fails is the failure.
    pub(super) async fn hooks(&self, one: &Observed, hooks: &[Hook]) -> Result<(), Error> {
        for hook in hooks.iter().filter(|_| !self.dry_run) {
            let status = self.exec(one, hook).await?;
            if status != 0 {
                return Err(Error::project(format!(
                    "container {}: hook exited with status {status}",
                    one.name
                )));
            }
        }
        Ok(())
    }

    /// Runs a command in a container, its output told line by line; its exit status.
    pub async fn exec(&self, one: &Observed, hook: &Hook) -> Result<i64, Error> {
        let env = hook.environment.iter().map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        });
        let request = ExecCreateRequest {
            user: hook.user.clone(),
            privileged: hook.privileged,
            attach_stdout: true,
            attach_stderr: true,
            env: Some(env.collect()),
            working_dir: hook.working_dir.clone(),
            cmd: Some(hook.command.0.clone().unwrap_or_default()),
            ..ExecCreateRequest::default()
        };
        let made: IdResponse =
            self.client.json(Call::post(container(&one.id, "/exec")).json(&request)?).await?;
        let start = Call::post(format!("/exec/{}/start", made.id)).json(&ExecStartRequest::default())?;
        let mut connection = self.client.hijack(start).await?;
        let mut demux = Demux::default();
        let mut buffer = vec![0; CHUNK];
        let mut text = String::new();
        loop {
            let len = connection
                .reader
                .read(&mut buffer)
                .await
                .map_err(|e| Error::from(wharf_docker_api::client::Error::from(e)))?;
            if len == 0 {
                break;
            }
            demux.feed(&buffer[..len]);
            while let Some(frame) = demux.next_frame()? {
                text.push_str(&String::from_utf8_lossy(&frame.data));
            }
        }
        text.lines().for_each(|line| self.report.line(&one.short_name(), line, Stream::Stdout));
        let ended: ExecInspect = self.client.json(Call::get(format!("/exec/{}/json", made.id))).await?;
        Ok(ended.exit_code.unwrap_or(0))
    }
}
