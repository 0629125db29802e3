//! `GET /containers/{id}/top`: the processes, as `ps -ef` shows them, read from procfs.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wharf_docker_api::types::container::TopResponse;
use wharf_engine::clock::now_ns;

const TITLES: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
/// USER_HZ is 100 on every architecture we build for.
const TICKS: u64 = 100;

pub(crate) async fn top(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let record = api.containers.find(&id)?.record();
    if !record.status.is_running() {
        return Err(ApiError::new(StatusCode::CONFLICT, format!("container {} is not running", record.id)));
    }
    if let Some(args) = params.get("ps_args").filter(|a| !matches!(*a, "-ef" | "ef" | "-e -f")) {
        return Err(ApiError::bad_request(format!(
            "ps arguments {args:?} are not supported yet: use none, or -ef"
        )));
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let pids = api.containers.processes(&record).await?;
    let processes = pids.into_iter().filter_map(|pid| row(pid, &passwd)).collect();
    Ok(Json(TopResponse { titles: TITLES.map(str::to_owned).to_vec(), processes }).into_response())
}

/// A process's row; `None` when it ended meanwhile.
fn row(pid: i32, passwd: &str) -> Option<Vec<String>> {
    use std::os::unix::fs::MetadataExt;
    let directory = format!("/proc/{pid}");
    let uid = std::fs::metadata(&directory).ok()?.uid();
    let stat = std::fs::read_to_string(format!("{directory}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    let command = std::fs::read(format!("{directory}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
    let command = if command.is_empty() { format!("[{}]", head.split_once('(')?.1) } else { command };
    let seconds = (number(11) + number(12)) / TICKS;
    let age = boot_seconds().saturating_sub(number(19) / TICKS).max(1);
    Some(vec![
        user_name(uid, passwd),
        pid.to_string(),
        fields.get(1)?.to_string(),
        (seconds * 100 / age).min(99).to_string(),
        start_text(number(19) / TICKS),
        terminal(number(4)),
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        command,
    ])
}

fn user_name(uid: u32, passwd: &str) -> String {
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}

/// Seconds since boot (proc_uptime(5)).
fn boot_seconds() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split('.').next().and_then(|s| s.parse().ok()).unwrap_or(0)
}

fn start_text(started: u64) -> String {
    let at = (now_ns() / 1_000_000_000) as i64 - boot_seconds() as i64 + started as i64;
    time::OffsetDateTime::from_unix_timestamp(at)
        .map(|t| format!("{:02}:{:02}", t.hour(), t.minute()))
        .unwrap_or_default()
}

fn terminal(number: u64) -> String {
    match (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00) {
        (0, 0) => "?".to_owned(),
        (136..=143, minor) => format!("pts/{minor}"),
        (4, minor) => format!("tty{minor}"),
        _ => "?".to_owned(),
    }
}
