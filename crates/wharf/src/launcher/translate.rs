//! Between the engine's values and the runtime's protocol.

use std::path::PathBuf;
use wharf_model::launcher::{ExitStatus, FailedStage, LaunchSpec, MonitorEvent, StreamSet, Usage};
use wharf_model::snapshots::RootMount;
use wharf_model::{Error, ErrorKind};
use wharf_runtime::error::Stage;
use wharf_runtime::protocol::{Event, Exit, Launch, LogFile, Reply, Rootfs, Streams};
use wharf_sys::cgroup::Stats;
use wharf_sys::erofs::Backing;

pub(super) fn launch(spec: LaunchSpec, seccomp_file: Option<PathBuf>) -> Launch {
    Launch {
        id: spec.id.to_string(),
        spec: spec.spec,
        root: match spec.root {
            RootMount::Overlay { lower, upper, work } => Rootfs::Overlay { lower, upper, work },
            RootMount::Bind { path } => Rootfs::Bind { path },
        },
        seccomp_file,
        log: spec.log.map(|log| LogFile {
            path: log.path,
            max_size: log.max_size,
            max_files: log.max_files,
            compress: log.compress,
            attributes: log.attributes,
        }),
        open_stdin: spec.open_stdin,
        stdin_once: spec.stdin_once,
        init: spec.init,
        attached: spec.attached.into_iter().map(streams).collect(),
        images: Vec::new(),
    }
}

/// The images of file systems that a container is made of.
pub(super) fn images(launch: &Launch) -> Vec<PathBuf> {
    let lower = match &launch.root {
        Rootfs::Overlay { lower, .. } => lower.as_slice(),
        Rootfs::Bind { .. } => &[],
    };
    let options = launch.spec.mounts.iter().flat_map(|mount| &mount.options);
    let mounted = options.filter_map(|option| option.strip_prefix("lowerdir+=")).map(PathBuf::from);
    lower.iter().cloned().chain(mounted).filter(|path| Backing::of(path).is_some()).collect()
}

pub(super) fn streams(streams: StreamSet) -> Streams {
    Streams { stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr }
}

pub(super) fn stage(stage: Stage) -> FailedStage {
    match stage {
        Stage::Setup => FailedStage::Setup,
        Stage::NotFound => FailedStage::NotFound,
        Stage::NotExecutable => FailedStage::NotExecutable,
    }
}

pub(super) fn exit(exit: &Exit) -> ExitStatus {
    ExitStatus { code: exit.code, at_ns: exit.at_ns.into(), oom_killed: exit.oom_killed }
}

pub(super) fn event(event: Event) -> MonitorEvent {
    match event {
        Event::Cloned { pid } => MonitorEvent::Cloned { pid },
        Event::Ready => MonitorEvent::Ready,
        Event::Running { pid } => MonitorEvent::Running { pid },
        Event::Failed { stage: at, message } => MonitorEvent::Failed { stage: stage(at), message },
        Event::Exited(e) => MonitorEvent::Exited(exit(&e)),
        Event::Warning { message } => MonitorEvent::Warning(message),
        Event::ExecExited { id, code } => MonitorEvent::ExecExited { id, code },
    }
}

pub(super) fn refusal(reply: Reply) -> Error {
    match reply {
        Reply::Failed { message, .. } => Error::new(ErrorKind::Internal, message),
        other => Error::internal(format!("the monitor said {other:?}")),
    }
}

pub(super) fn usage(stats: Stats) -> Usage {
    Usage {
        cpu_ns: (stats.cpu_total_ns, stats.cpu_user_ns, stats.cpu_system_ns),
        throttling: stats.throttling,
        memory: stats.memory,
        memory_peak: stats.memory_peak,
        memory_limit: stats.memory_limit,
        memory_stat: stats.memory_stat,
        memory_failures: stats.memory_failures,
        pids: stats.pids,
        pids_limit: stats.pids_limit,
        block: stats.block.iter().map(|b| (b.major, b.minor, b.read, b.write, b.reads, b.writes)).collect(),
    }
}
